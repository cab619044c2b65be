"""The models of this deployment under their names, and the one place that picks one for a request."""

from collections.abc import AsyncGenerator, Mapping

import msgspec

from app.core.messages import ModelAnswer, ModelRequest
from app.gateway.model import Model, ModelError, ModelEvent

SPEC_HELP = "use `local`, `scripted:/path/rules.json`, `openai:MODEL` or `anthropic:MODEL`"


class Gateway:
    """A `Model` over several: a request's `model` None means `default`, a known name means that model.

    An unknown name goes on to the default model where that is a provider with many (`forward_unknown`), else it is a
    `not_found` that names the known ones.
    """

    def __init__(self, models: Mapping[str, Model], default: str, *, forward_unknown: bool = False) -> None:
        if default not in models:
            raise ValueError(f"the default model {default!r} is not one of {', '.join(models) or 'none'}")
        self._models = dict(models)
        self._default = default
        self._forward_unknown = forward_unknown

    @property
    def name(self) -> str:
        return self._models[self._default].name

    @property
    def known(self) -> tuple[str, ...]:
        """The names a request may give, the default first."""
        return (self._default, *(name for name in self._models if name != self._default))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield what the picked model yields, and see to it that an answer is the last of it.

        Raises `ModelError` only: what else a model may raise becomes `internal`. An empty answer passes: to
        replace it is the caller's part.
        """
        model, sent = self._pick(request)
        events = model.stream(sent)
        answered = False
        try:
            async for event in events:
                answered = isinstance(event, ModelAnswer)
                yield event
        except ModelError:
            raise
        except Exception as error:
            message = f"The model {model.name} failed."
            raise ModelError("internal", message, transient=False) from error
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        if not answered:
            message = f"The model {model.name} stopped without an answer."
            raise ModelError("malformed_answer", message, transient=True)

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        """None: no prices are configured."""
        return None

    async def load(self) -> None:
        """Load the default model before the first call."""
        await self._models[self._default].load()

    async def close(self) -> None:
        """Close every model."""
        for model in self._models.values():
            await model.close()

    def _pick(self, request: ModelRequest) -> tuple[Model, ModelRequest]:
        default = self._models[self._default]
        if request.model is None:
            return default, request
        named = self._models.get(request.model)
        if named is not None:
            return named, msgspec.structs.replace(request, model=None)
        if self._forward_unknown:
            return default, request
        message = f"There is no model {request.model[:80]!r} here; there is {', '.join(self.known)}."
        raise ModelError("not_found", message, transient=False)


def build_gateway(spec: str, *, base_url: str | None = None, api_key: str | None = None) -> Gateway:
    """A gateway with one model, known by its short name (`local`, `scripted`, or the provider's model name).

    Raises `ValueError` for a spec that is not understood, `LocalModelUnavailable` where `local` is not installed.
    """
    kind, _, argument = spec.partition(":")
    model = build_model(spec, base_url=base_url, api_key=api_key)
    if kind in ("openai", "anthropic"):
        return Gateway({argument: model}, argument, forward_unknown=True)
    return Gateway({kind: model}, kind)


def build_model(spec: str, *, base_url: str | None = None, api_key: str | None = None) -> Model:
    """One model from its spec. Libraries are imported only for the kind of model that is asked for."""
    kind, _, argument = spec.partition(":")
    match kind:
        case "local" if not argument:
            from app.gateway.local import LocalModel

            return LocalModel()
        case "scripted" if argument:
            from app.gateway.scripted import ScriptedModel

            return ScriptedModel.from_file(argument)
        case "openai" | "anthropic" if argument:
            from app.gateway.provider import ProviderModel

            if api_key is None and base_url is None:
                raise ValueError(
                    f"the model {spec!r} needs an API key, or the base URL of a server that takes none"
                )
            return ProviderModel(kind, argument, base_url=base_url, api_key=api_key)
        case _:
            raise ValueError(f"the model {spec!r} is not understood: {SPEC_HELP}")
