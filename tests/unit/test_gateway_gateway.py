"""Picking a model, and what the gateway promises about its stream."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.core.messages import ChatMessage, ModelAnswer, ModelRequest
from app.gateway.gateway import Gateway, build_gateway
from app.gateway.model import ModelError, ModelEvent, TextDelta
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


@pytest.mark.parametrize("spec", ["", "locla", "local:x", "scripted:", "openai:", "openai"])
def test_a_wrong_spec_shows_the_right_forms(spec: str) -> None:
    with pytest.raises(ValueError, match="is not understood: use `local`"):
        build_gateway(spec)


def test_a_provider_needs_a_key_or_an_address() -> None:
    with pytest.raises(ValueError, match="needs an API key"):
        build_gateway("openai:gpt-5")
