"""What an agent mode asks for (intents) and what it is sent back (outcomes).

A mode is a plain generator of intents, sent outcomes, returning the final answer. It has no I/O, no clock, no
randomness and no ids of its own, so that running it again on recorded outcomes gives the same intents.
"""

import hashlib
from collections.abc import Generator

import msgspec
from msgspec import UNSET

from app.core.events import Note, PhasePolicy, RunLimits
from app.core.meeting_events import ExpertCard
from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall, ToolSpec
from app.core.texts import Locale

KEY_HEX_DIGITS = 32


class CallModel(msgspec.Struct, frozen=True, tag="call_model", omit_defaults=True):
    """Ask the model. Its text is streamed to readers while it comes; `aside`: as thinking, since it is no answer.

    `final`: the mode ends with this call, whatever the model says, and its text is the answer.
    """

    request: ModelRequest
    aside: bool = False
    speaker: str = ""
    round: int = 0
    purpose: str = ""
    final: bool = False


class CallTool(msgspec.Struct, frozen=True, tag="call_tool"):
    call: ToolCall


class TakeMinute(msgspec.Struct, frozen=True, tag="take_minute"):
    """Put a note on record. Its outcome says nothing more than that it is there."""

    note: Note


class Listen(msgspec.Struct, frozen=True, tag="listen"):
    """Ask for what people have said to the run since. Stands alone in its tuple, is no step, and never waits."""


class ChildSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run that another one starts. `tools` None: all of the parent's. `agent` is who it is called in the log."""

    input: str
    agent: str
    mode: str = "react"
    system_prompt: str = ""
    tools: tuple[str, ...] | None = None
    model: str | None = None
    limits: RunLimits = RunLimits()
    expert_id: str = ""


class StartRun(msgspec.Struct, frozen=True, tag="start_run"):
    """Start a child run; it goes on by itself. The outcome is its id."""

    spec: ChildSpec


class AwaitRun(msgspec.Struct, frozen=True, tag="await_run"):
    """Wait for the first of these child runs to end; with `or_word`, also for a person to say something. Stands alone
    in its tuple."""

    children: tuple[str, ...]
    or_word: bool = False


class TellRun(msgspec.Struct, frozen=True, tag="tell_run"):
    """Say something to a child run, which hears it when it listens next."""

    to: str
    content: str


Intent = CallModel | CallTool | TakeMinute | Listen | StartRun | AwaitRun | TellRun


class ModelFailure(msgspec.Struct, frozen=True):
    """A model call that failed for good. `message` is one sentence for people, `partial` what there was of the answer.

    A call with a speaker also fails as `interrupted` (a person cut it short) and as `budget_exceeded`, for the meeting
    to go on or to conclude; without one, a budget ends the run.
    """

    error_class: str
    message: str
    partial: str = ""


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool said, also when it failed: then `error_class` is set."""

    call_id: str
    name: str
    content: str
    error_class: str | None = None


class Noted(msgspec.Struct, frozen=True):
    """The note is on record."""


class Heard(msgspec.Struct, frozen=True):
    """What people have said to the run since it last listened, in their order."""

    messages: tuple[str, ...] = ()


class Started(msgspec.Struct, frozen=True):
    """The child run is on its way."""

    child: str


class RunEnded(msgspec.Struct, frozen=True):
    """A child run has ended; `child` is empty where a person has spoken instead (then listen)."""

    child: str = ""
    content: str = ""
    error_class: str | None = None
    tokens: int = 0


Outcome = ModelAnswer | ModelFailure | ToolResult | Noted | Heard | Started | RunEnded


class RunStart(msgspec.Struct, frozen=True):
    """What a mode knows when it starts. `history` ends before `input`; `sources` are names of attached files.

    `summary` stands for what was said before `history`. Where `unsummarized` is not empty, it stands between the two
    and is to be summarised first; it ends at offset `unsummarized_until`. `lessons` is the text of past experiences.
    """

    input: str
    system_prompt: str = ""
    history: tuple[ChatMessage, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    limits: RunLimits = RunLimits()
    model: str | None = None
    sources: tuple[str, ...] = ()
    phases: tuple[PhasePolicy, ...] = ()
    locale: Locale = "en"
    summary: str = ""
    unsummarized: tuple[ChatMessage, ...] = ()
    unsummarized_until: int = 0
    experts: tuple[ExpertCard, ...] = ()
    rounds: int = 0
    lessons: str = ""


class RunAborted(Exception):
    """A mode gives up: `error_class` and one sentence for people. The run ends as failed with them."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


Mode = Generator[tuple[Intent, ...], tuple[Outcome, ...], str]
"""Several intents at once are carried out at once; their outcomes come back in the same order."""

_encoder = msgspec.json.Encoder(order="deterministic")


def intent_key(intent: Intent) -> str:
    """Digest of the operation and its resolved arguments: the same for the same intent, always (SHA-256, 128 bits).

    Without a request's `shape` and `brief`, and without `final`: runs recorded before there were any still replay, and
    so do those recorded before a mode said more in them.
    """
    if isinstance(intent, CallModel):
        bare = msgspec.structs.replace(intent.request, shape=UNSET, brief=UNSET)
        intent = msgspec.structs.replace(intent, request=bare, final=False)
    return hashlib.sha256(_encoder.encode(intent)).hexdigest()[:KEY_HEX_DIGITS]


def ask_model(
    request: ModelRequest, *, aside: bool = False, final: bool = False
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], ModelAnswer]:
    """One model call from within a mode (`yield from`). Raises `RunAborted` if it failed for good."""
    (outcome,) = yield (CallModel(request, aside, final=final),)
    match outcome:
        case ModelAnswer():
            return outcome
        case ModelFailure(error_class, message):
            raise RunAborted(error_class, message)
        case ToolResult() | Noted() | Heard() | Started() | RunEnded():
            raise TypeError("a model call was sent the outcome of something else")


def use_tools(
    calls: tuple[ToolCall, ...],
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], tuple[ToolResult, ...]]:
    """Several tool calls at once from within a mode (`yield from`)."""
    outcomes = yield tuple(CallTool(call) for call in calls)
    return tuple(outcome for outcome in outcomes if isinstance(outcome, ToolResult))


def take_minute(note: Note) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], None]:
    """Put a note on record from within a mode (`yield from`)."""
    yield (TakeMinute(note),)


def start_run(spec: ChildSpec) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], str]:
    """The id of a new child run (`yield from`)."""
    (outcome,) = yield (StartRun(spec),)
    return outcome.child if isinstance(outcome, Started) else ""


def await_run(
    children: tuple[str, ...], *, or_word: bool = False
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], RunEnded]:
    """The first of these child runs that ends (`yield from`)."""
    (outcome,) = yield (AwaitRun(children, or_word),)
    if not isinstance(outcome, RunEnded):
        raise TypeError("waiting for a child run was sent the outcome of something else")
    return outcome


def tell_run(to: str, content: str) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], None]:
    """Say something to a child run (`yield from`)."""
    yield (TellRun(to, content),)


def listen() -> Generator[tuple[Intent, ...], tuple[Outcome, ...], tuple[str, ...]]:
    """What people have said to the run since (`yield from`): before each model call, and before the end."""
    (outcome,) = yield (Listen(),)
    return outcome.messages if isinstance(outcome, Heard) else ()


def opening(start: RunStart) -> tuple[ChatMessage, ...]:
    """The messages that every mode begins with: system prompt, history, and the input with its attached files named,
    behind what past experience teaches."""
    attached = f"\n\n[Attached files: {', '.join(start.sources)}]" if start.sources else ""
    before = f"Earlier in this conversation (a summary):\n{start.summary}" if start.summary else ""
    prompt = "\n\n".join(filter(None, (start.system_prompt, before)))
    system = (ChatMessage("system", prompt),) if prompt else ()
    asked = start.input + attached
    if start.lessons:
        asked = f"{start.lessons}\n\n{asked}"
    return (*system, *start.history, ChatMessage("user", asked))
