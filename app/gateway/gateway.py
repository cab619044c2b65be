"""The models of this deployment: one that is picked for a request, and those that stand in when it fails."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

import msgspec

from app.core.events import Tier
from app.core.messages import ModelAnswer, ModelRequest
from app.core.reasons import Reason
from app.core.texts import Locale
from app.gateway.attempt import Attempt
from app.gateway.chain import REQUEST_FAULTS, Again, Link, Rests, following
from app.gateway.model import AttemptBegun, AttemptFailed, Model, ModelError, ModelEvent
from app.gateway.prices import Prices

TIMEOUT_SECONDS = 120.0
SPEC_HELP = "use `local`, `scripted:/path/rules.json`, `openai:MODEL` or `anthropic:MODEL`"
PROVIDERS = ("openai", "anthropic")


class Gateway:
    """A `Model` over several, with a fallback chain: main, then `recovery`, then `emergency`, each with `retries`
    further attempts of at most `timeout_seconds` (`app/gateway/chain.py` says which attempt follows which failure).

    A request's `model` concerns the main tier: None means `default`, a known name means that model, an unknown name
    goes on to the default model where that is a provider with many (`forward_unknown`), else it is a `not_found` that
    names the known ones. The other tiers use their own models. `sleep`, `chance` (from [0, 1)) and `now` (seconds)
    are the clock and the dice. `locale` is the language of what is said of a model that somebody asked for.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        default: str,
        *,
        forward_unknown: bool = False,
        recovery: Model | None = None,
        emergency: Model | None = None,
        retries: int = 0,
        timeout_seconds: float = TIMEOUT_SECONDS,
        prices: Sequence[tuple[str, float, float]] = (),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
        locale: Locale = "en",
    ) -> None:
        if default not in models:
            raise ValueError(f"the default model {default!r} is not one of {', '.join(models) or 'none'}")
        self._models = dict(models)
        self._default = default
        self._forward_unknown = forward_unknown
        others: tuple[tuple[Tier, Model | None], ...] = (("recovery", recovery), ("emergency", emergency))
        self._fallbacks: list[tuple[Tier, Model]] = [
            (tier, model) for tier, model in others if model is not None
        ]
        self._retries = retries
        self._timeout_seconds = timeout_seconds
        self._prices = Prices(prices)
        self._sleep = sleep
        self._chance = chance
        self._now = now
        self._locale: Locale = locale
        self._rests = Rests()

    @property
    def name(self) -> str:
        """The main tier's default model, and those that stand in for it: `openai/gpt-5, then local/SmolLM2…`."""
        return ", then ".join(
            [self._models[self._default].name, *(model.name for _, model in self._fallbacks)]
        )

    @property
    def known(self) -> tuple[str, ...]:
        """The names a request may give, the default first."""
        return (self._default, *(name for name in self._models if name != self._default))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield each attempt as it begins and fails, the deltas of the one that speaks, and its answer at last.

        Nothing follows an attempt that has shown text or thinking: its failure is the call's. Raises `ModelError` only:
        that of the last attempt; what else a model may raise becomes `internal`. An empty answer is tried again like a
        failure; where nothing follows it passes, and to replace it is the caller's part.
        """
        links = self._chain(request)
        if request.model is None:
            links = self._rests.awake(links, self._now())
        place, retried, number = 0, 0, 0
        while True:
            link = links[place]
            number += 1
            yield AttemptBegun(number, link.tier, link.shown)
            attempt = Attempt(link.model, link.request, tier=link.tier, timeout_seconds=self._timeout_seconds)
            async with aclosing(attempt.deltas()) as deltas:
                async for delta in deltas:
                    yield delta
            failure = failure_of(attempt, link)
            again = self._following(request, link, attempt, failure, retried, place + 1 < len(links))
            self._noted(request, link, failure, again)
            if again is None or failure is None:
                break
            yield self._failed(number, link, attempt, failure)
            if again.wait_seconds > 0:
                await self._sleep(again.wait_seconds)
            place, retried = (place + 1, 0) if again.next_tier else (place, retried + 1)
        if attempt.answer is None:
            raise attempt.failure or ModelError("internal", Reason("model_call_ended"), transient=False)
        for held in attempt.held:
            yield held
        yield attempt.answer

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        """By the name of the model that answered; None where it has no price (see `Prices`)."""
        return self._prices.cost_usd(answer)

    async def load(self) -> None:
        """Load the main tier's default model before the first call. The others load at their first call, so that a
        model that is hardly ever needed costs neither start time nor memory.
        """
        await self._models[self._default].load()

    async def close(self) -> None:
        """Close every model, once."""
        models = [*self._models.values(), *(model for _, model in self._fallbacks)]
        for model in {id(model): model for model in models}.values():
            await model.close()

    def _chain(self, request: ModelRequest) -> tuple[Link, ...]:
        """What this request is sent to, in its order. Raises `not_found` for a name that nobody knows."""
        model, sent = self._pick(request)
        shown = model.name if sent.model is None else f"{model.name.partition('/')[0]}/{sent.model}"
        own = msgspec.structs.replace(request, model=None)
        fallbacks = [Link(tier, other, own, other.name) for tier, other in self._fallbacks]
        return (Link("main", model, sent, shown), *fallbacks)

    def _pick(self, request: ModelRequest) -> tuple[Model, ModelRequest]:
        default = self._models[self._default]
        if request.model is None:
            return default, request
        named = self._models.get(request.model)
        if named is not None:
            return named, msgspec.structs.replace(request, model=None)
        if self._forward_unknown:
            return default, request
        reason = Reason("no_model", {"name": request.model[:80], "known": ", ".join(self.known)})
        raise ModelError("not_found", reason, transient=False)

    def _following(
        self,
        request: ModelRequest,
        link: Link,
        attempt: Attempt,
        failure: ModelError | None,
        retried: int,
        more_tiers: bool,
    ) -> Again | None:
        """None: this attempt was the last, for better or worse."""
        if failure is None or attempt.shown:
            return None
        if failure.error_class == "not_found" and link.request.model is not None:
            # Somebody asked for exactly this model: another one in its place would hide the mistake.
            reason = Reason("no_model_of_provider", {"name": str(request.model)[:80]})
            attempt.failure = ModelError("not_found", reason, transient=False)
            return None
        return following(
            failure, retried=retried, retries=self._retries, more_tiers=more_tiers, chance=self._chance()
        )

    def _noted(
        self, request: ModelRequest, link: Link, failure: ModelError | None, again: Again | None
    ) -> None:
        """Remember how the tier did, once it is done with; a model that a request has picked is no part of it."""
        if link.tier == "main" and request.model is not None:
            return
        if failure is None:
            self._rests.worked(link.tier)
        elif (again is None or again.next_tier) and failure.error_class not in REQUEST_FAULTS:
            self._rests.failed(link.tier, self._now())

    def _failed(self, number: int, link: Link, attempt: Attempt, failure: ModelError) -> AttemptFailed:
        event = AttemptFailed(
            number,
            link.tier,
            link.shown,
            failure.error_class,
            failure.told(self._locale),
            attempt.duration_ms,
        )
        if attempt.answer is None:
            return event
        cost_usd = self.cost_usd(attempt.answer)
        return msgspec.structs.replace(event, usage=attempt.answer.usage, cost_usd=cost_usd)


def failure_of(attempt: Attempt, link: Link) -> ModelError | None:
    """An empty answer counts as a failure."""
    if attempt.is_empty:
        return ModelError("empty_answer", Reason("model_empty", {"name": link.shown}), transient=True)
    return attempt.failure


class Access(msgspec.Struct, frozen=True):
    """How a provider is reached. `base_url` None: its own address."""

    base_url: str | None = None
    api_key: str | None = None


def build_gateway(
    spec: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    access: Mapping[str, Access] | None = None,
    recovery: str = "",
    emergency: str = "",
    retries: int = 0,
    timeout_seconds: float = TIMEOUT_SECONDS,
    prices: Sequence[tuple[str, float, float]] = (),
    local_max_tokens: int | None = None,
    locale: Locale = "en",
) -> Gateway:
    """A gateway whose main tier is one model, known by its short name (`local`, `scripted`, or the provider's model
    name). `recovery` and `emergency` are specs too, or empty.

    `access` says how to reach `openai` and `anthropic`; `base_url` and `api_key` stand in for it where only the main
    tier needs one. `prices` are (model, US dollars per million prompt tokens, per million completion tokens).

    Raises `ValueError` for a spec that is not understood, `LocalModelUnavailable` where `local` is not installed.
    """
    kind, _, argument = spec.partition(":")
    known = dict(access or {})
    if base_url is not None or api_key is not None:
        known[kind] = Access(base_url, api_key)
    built: dict[str, Model] = {}  # one model a spec: the local one would take its memory twice
    for each in (spec, *filter(None, (recovery, emergency))):
        if each not in built:
            reached = known.get(each.partition(":")[0], Access())
            built[each] = build_model(
                each,
                base_url=reached.base_url,
                api_key=reached.api_key,
                timeout_seconds=timeout_seconds,
                local_max_tokens=local_max_tokens,
            )
    name = argument if kind in PROVIDERS else kind
    return Gateway(
        {name: built[spec]},
        name,
        forward_unknown=kind in PROVIDERS,
        recovery=built.get(recovery) if recovery else None,
        emergency=built.get(emergency) if emergency else None,
        retries=retries,
        timeout_seconds=timeout_seconds,
        prices=prices,
        locale=locale,
    )


def build_model(
    spec: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    local_max_tokens: int | None = None,
) -> Model:
    """One model from its spec. Libraries are imported only for the kind of model that is asked for.

    `local_max_tokens`: of an answer of the local model; None: its own limit.
    """
    kind, _, argument = spec.partition(":")
    match kind:
        case "local" if not argument:
            from app.gateway.local import ANSWER_TOKENS_MAX, LocalModel

            return LocalModel(answer_tokens=local_max_tokens or ANSWER_TOKENS_MAX)
        case "scripted" if argument:
            from app.gateway.scripted import ScriptedModel

            return ScriptedModel.from_file(argument)
        case "openai" | "anthropic" if argument:
            from app.gateway.provider import Limits, ProviderModel

            if api_key is None and base_url is None:
                raise ValueError(
                    f"the model {spec!r} needs an API key, or the base URL of a server that takes none"
                )
            limits = Limits.within(timeout_seconds)
            return ProviderModel(kind, argument, base_url=base_url, api_key=api_key, limits=limits)
        case _:
            raise ValueError(f"the model {spec!r} is not understood: {SPEC_HELP}")
