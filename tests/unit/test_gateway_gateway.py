"""Picking a model, and what the gateway promises about its stream."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, Usage
from app.gateway.gateway import Access, Gateway, build_gateway
from app.gateway.model import AttemptBegun, ModelError, ModelEvent, TextDelta
from app.gateway.scripted import ScriptedModel

HELLO = (ChatMessage("user", "hello"),)


class Odd:
    """A model that breaks the rules of the interface."""

    name = "odd/one"

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self.closed = False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta("half")
        if self._fails:
            raise RuntimeError("secret detail")

    async def close(self) -> None:
        self.closed = True


async def text_of(gateway: Gateway, model: str | None) -> str:
    events = [event async for event in gateway.stream(ModelRequest(HELLO, model=model))]
    assert isinstance(events[-1], ModelAnswer)
    return events[-1].text


async def test_a_request_picks_by_name() -> None:
    gateway = Gateway({"a": ScriptedModel.of("from a"), "b": ScriptedModel.of("from b")}, "b")
    assert await text_of(gateway, None) == "from b"
    assert await text_of(gateway, "a") == "from a"
    assert gateway.known == ("b", "a")


async def test_an_unknown_name_is_not_found_and_names_the_known() -> None:
    gateway = Gateway({"a": ScriptedModel()}, "a")
    with pytest.raises(ModelError, match=r"no model 'x' here; there is a\.") as caught:
        await text_of(gateway, "x")
    assert caught.value.error_class == "not_found"
    assert caught.value.told("zh") == "此处没有模型 'x'；可用模型：a。"


async def test_an_unknown_name_goes_on_to_a_provider() -> None:
    model = ScriptedModel.of("ok")
    assert await text_of(Gateway({"a": model}, "a", forward_unknown=True), "x") == "ok"
    assert model.requests[-1].model == "x"


async def test_only_model_errors_come_out() -> None:
    with pytest.raises(ModelError, match=r"^The model odd/one failed\.$") as caught:
        await text_of(Gateway({"a": Odd(fails=True)}, "a"), None)
    assert caught.value.error_class == "internal"


async def test_a_stream_without_an_answer_is_an_error() -> None:
    with pytest.raises(ModelError, match="stopped without an answer") as caught:
        await text_of(Gateway({"a": Odd(fails=False)}, "a"), None)
    assert caught.value.error_class == "malformed_answer"


async def test_close_closes_all() -> None:
    models = {"a": Odd(fails=False), "b": Odd(fails=False)}
    await Gateway(models, "a").close()
    assert all(model.closed for model in models.values())


def test_the_default_must_be_known() -> None:
    with pytest.raises(ValueError, match="'b' is not one of a"):
        Gateway({"a": ScriptedModel()}, "b")


async def test_specs(tmp_path: Path) -> None:
    script = tmp_path / "demo.json"
    script.write_text("[]")
    assert build_gateway(f"scripted:{script}").name == "scripted/demo"
    provider = build_gateway("openai:gpt-5", base_url="http://127.0.0.1:9/v1")
    assert (provider.name, provider.known) == ("openai/gpt-5", ("gpt-5",))
    assert build_gateway("anthropic:claude", api_key="k").name == "anthropic/claude"


async def test_a_gateway_with_every_tier(tmp_path: Path) -> None:
    script = tmp_path / "demo.json"
    script.write_text('[{"answer": {"text": "from the script"}}]')
    gateway = build_gateway(
        "openai:gpt-5",
        access={"openai": Access("http://127.0.0.1:9/v1"), "anthropic": Access(api_key="k")},
        recovery="anthropic:claude",
        emergency=f"scripted:{script}",
        prices=[("demo", 1.0, 1.0)],
    )
    assert gateway.name == "openai/gpt-5, then anthropic/claude, then scripted/demo"
    assert gateway.known == ("gpt-5",)
    assert gateway.cost_usd(ModelAnswer("scripted/demo", usage=Usage(1, 1))) == 2e-6
    await gateway.close()


async def test_scripts_can_be_the_tiers_of_a_chain(tmp_path: Path) -> None:
    down, up = tmp_path / "down.json", tmp_path / "up.json"
    down.write_text('[{"answer": {"error": {"class": "unauthorized", "message": "No key."}}}]')
    up.write_text('[{"answer": {"text": "from recovery"}}]')
    gateway = build_gateway(f"scripted:{down}", recovery=f"scripted:{up}")
    events = [event async for event in gateway.stream(ModelRequest(HELLO))]
    assert [event.model for event in events if isinstance(event, AttemptBegun)] == [
        "scripted/down",
        "scripted/up",
    ]
    assert isinstance(events[-1], ModelAnswer)
    assert events[-1].text == "from recovery"


async def test_a_spec_that_stands_twice_is_one_model(tmp_path: Path) -> None:
    spec = f"scripted:{tmp_path / 'demo.json'}"
    (tmp_path / "demo.json").write_text("[]")
    gateway = build_gateway(spec, emergency=spec)
    assert gateway._fallbacks == [("emergency", gateway._models["scripted"])]


def test_every_tier_needs_a_right_spec_and_its_key() -> None:
    access = {"openai": Access(api_key="k")}
    with pytest.raises(ValueError, match="'locla' is not understood"):
        build_gateway("openai:gpt-5", access=access, recovery="locla")
    with pytest.raises(ValueError, match="'anthropic:claude' needs an API key"):
        build_gateway("openai:gpt-5", access=access, emergency="anthropic:claude")


@pytest.mark.parametrize("spec", ["", "locla", "local:x", "scripted:", "openai:", "openai"])
def test_a_wrong_spec_shows_the_right_forms(spec: str) -> None:
    with pytest.raises(ValueError, match="is not understood: use `local`"):
        build_gateway(spec)


def test_a_provider_needs_a_key_or_an_address() -> None:
    with pytest.raises(ValueError, match="needs an API key"):
        build_gateway("openai:gpt-5")
