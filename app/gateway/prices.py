"""What an answer cost: prices by model name, from the settings."""

from collections.abc import Iterable

import msgspec

from app.core.messages import ModelAnswer

TOKENS_PRICED = 1_000_000
NAME_ENDS = "-@:/. "
"""A price also holds for names that go on behind it with one of these: `gpt-4o` for `gpt-4o-2024-11-20`."""


class Price(msgspec.Struct, frozen=True):
    """US dollars per million tokens."""

    model: str
    prompt_usd: float
    completion_usd: float


class Prices:
    """Prices by model name; case does not count.

    A model has the price whose name is its own, or else the longest one that its name begins with, up to one of
    `-@:/.` or a space: `gpt-4o` is also the price of `gpt-4o-2024-11-20`, never of `gpt-4`. It is the price of
    `gpt-4o-mini` too, unless that has an entry of its own. Names may be given with or without the provider
    (`openai/gpt-4o`).
    """

    def __init__(self, prices: Iterable[tuple[str, float, float]] = ()) -> None:
        self._prices = sorted(
            (Price(model.lower(), prompt, completion) for model, prompt, completion in prices),
            key=lambda price: -len(price.model),
        )

    def of(self, model: str) -> Price | None:
        """The price of a model; None where none is configured."""
        names = {model.lower(), model.lower().partition("/")[2]} - {""}
        return next(
            (price for price in self._prices if any(is_named(name, price.model) for name in names)), None
        )

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        """None where the model has no price, or where its provider did not count the tokens."""
        price = self.of(answer.model)
        if price is None or not answer.usage.total_tokens:
            return None
        usage = answer.usage
        total = usage.prompt_tokens * price.prompt_usd + usage.completion_tokens * price.completion_usd
        return total / TOKENS_PRICED


def is_named(name: str, priced: str) -> bool:
    """Whether a price's name is the model's, or its beginning up to a boundary. An empty name is nobody's."""
    if not priced or not name.startswith(priced):
        return False
    return len(name) == len(priced) or name[len(priced)] in NAME_ENDS
