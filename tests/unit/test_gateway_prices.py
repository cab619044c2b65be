"""What answers cost."""

import pytest

from app.core.messages import ModelAnswer, Usage
from app.gateway.gateway import Gateway
from app.gateway.prices import Prices
from app.gateway.scripted import ScriptedModel

PRICES = [("gpt-4o", 2.5, 10.0), ("gpt-4o-mini", 0.15, 0.6), ("Scripted", 1.0, 1.0), ("", 9.0, 9.0)]


@pytest.mark.parametrize(
    ("model", "priced"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("GPT-4o", "gpt-4o"),
        ("scripted/demo", "scripted"),
        ("gpt-4", None),
        ("gpt-4ox", None),
        ("local/SmolLM2", None),
    ],
)
def test_the_longest_name_that_fits_is_the_price(model: str, priced: str | None) -> None:
    price = Prices(PRICES).of(model)
    assert (price and price.model) == priced


def test_prices_are_for_a_million_tokens() -> None:
    gateway = Gateway({"a": ScriptedModel()}, "a", prices=PRICES)
    assert gateway.cost_usd(ModelAnswer("gpt-4o", usage=Usage(2_000_000, 100_000))) == pytest.approx(6.0)


def test_without_a_price_or_a_count_nobody_knows() -> None:
    gateway = Gateway({"a": ScriptedModel()}, "a", prices=PRICES)
    assert gateway.cost_usd(ModelAnswer("local/SmolLM2", usage=Usage(10, 10))) is None
    assert gateway.cost_usd(ModelAnswer("gpt-4o")) is None
    assert Gateway({"a": ScriptedModel()}, "a").cost_usd(ModelAnswer("gpt-4o", usage=Usage(10, 10))) is None
