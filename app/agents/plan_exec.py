"""`plan_exec`: the work is done in phases, each with a policy of which tools it allows.

    explore ──► plan ──► execute ──► verify ──► answer         (by default; a run may bring phases of its own)
         └── advance_phase, or an answer without a tool call ──┘

The mode itself answers `advance_phase`. A tool that the phase does not allow is not called: the model is told which
ones are. All calls of one model answer are judged by the phase in which it was given; a change of phase takes effect
behind them, wherever among them it was asked for.
"""

from collections.abc import Generator, Sequence

from app.core.acting import (
    LAST_CALL,
    PARALLEL_CALLS_MAX,
    add_user,
    briefed,
    exchange,
    hear,
    json_object,
    request,
    shortened,
    spoken,
)
from app.core.events import PhaseChanged, PhasePolicy, PhaseViolated, ToolRef
from app.core.intents import (
    Intent,
    Mode,
    Outcome,
    RunStart,
    ToolResult,
    ask_model,
    opening,
    take_minute,
    use_tools,
)
from app.core.messages import ModelAnswer, ToolCall, ToolSpec, storable

VERSION = 1
ADVANCE = "advance_phase"
REASON_CHARS_MAX = 1_000
NAME_CHARS_MAX = 200

ADVANCE_SPEC = ToolSpec(
    ADVANCE,
    "Ends the present phase of your work and begins the next one.",
    {
        "type": "object",
        "properties": {
            "summary": {"type": "string", "description": "What this phase has found or done, in short."}
        },
        "required": ["summary"],
    },
)
EXPLORE = "Find out what you need to know for the request. Change nothing yet."
PLAN = "Write down the steps that you are going to take, the fewest that do. Do nothing yet."
EXECUTE = "Carry out the plan."
VERIFY = "Check what was done against the request, with tools where they can tell. Change nothing any more."

INTRODUCTION = """Your work goes through phases, one after the other: {names}. You are told when one begins. \
When a phase is done, call {advance}, or just write down its result. In every phase only the tools named for it work. \
You have {steps} model calls for all phases together.

{first}"""


def default_phases(refs: Sequence[ToolRef]) -> tuple[PhasePolicy, ...]:
    """Explore, plan, execute, verify. Exploring and verifying allow the tools that change nothing (`pure`), planning
    none, executing all."""
    pure = tuple(ref.spec.name for ref in refs if ref.effect == "pure")
    return (
        PhasePolicy("explore", pure, EXPLORE),
        PhasePolicy("plan", (), PLAN),
        PhasePolicy("execute", None, EXECUTE),
        PhasePolicy("verify", pure, VERIFY),
    )


def plan_exec(start: RunStart) -> Mode:
    """At most `limits.max_steps` model calls over all phases; the last one has no tools and is told to answer from
    what is known, in whatever phase. People are listened to as in `react`. Raises `RunAborted` where the model failed.
    """
    return (yield from _Work(start).run())


class _Work:
    """One run. `result` is what the model wrote last as an answer or a phase's result, in case it ends with nothing."""

    def __init__(self, start: RunStart) -> None:
        self.start = start
        self.phases = start.phases or default_phases(())
        self.tools = tuple(tool for tool in start.tools if tool.name != ADVANCE)
        self.at = 0
        self.result = ""
        introduction = INTRODUCTION.format(
            names=", ".join(phase.name for phase in self.phases),
            advance=ADVANCE,
            steps=start.limits.max_steps,
            first=self._announcement(),
        )
        self.messages = opening(briefed(start, introduction))

    def run(self) -> Mode:
        yield from take_minute(PhaseChanged(self.phase.name))
        listened = True  # never twice between two steps
        for _ in range(1, self.start.limits.max_steps):
            if not listened:
                self.messages = add_user(self.messages, *(yield from hear()))
            answer = yield from ask_model(request(self.messages, self._offered(), self.start.model))
            listened = False
            if answer.tool_calls:
                yield from self._carry_out(answer)
                continue
            self.result = answer.text if answer.text.strip() else self.result
            if self.has_next:
                yield from self._advance("")
                self.messages = add_user(self.messages + spoken(answer.text), self._announcement())
                continue
            said = yield from hear()
            if not said:
                return self.result
            self.messages = add_user(self.messages + spoken(answer.text), *said)
            listened = True
        if self.start.limits.max_steps > 1:
            said = () if listened else (yield from hear())
            self.messages = add_user(self.messages, *said, LAST_CALL)
        answer = yield from ask_model(request(self.messages, (), self.start.model), final=True)
        return answer.text if answer.text.strip() else self.result

    @property
    def phase(self) -> PhasePolicy:
        return self.phases[self.at]

    @property
    def has_next(self) -> bool:
        return self.at + 1 < len(self.phases)

    def _carry_out(self, answer: ModelAnswer) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], None]:
        """The calls of one answer: refusals are noted, what is allowed is called at once, then the phase changes."""
        considered = answer.tool_calls[:PARALLEL_CALLS_MAX]
        results: dict[int, ToolResult] = {}
        for index, call in enumerate(considered):
            if not self._allows(call):
                tool = shortened(call.name, NAME_CHARS_MAX)
                note = PhaseViolated(self.phase.name, tool, self._names(), call.id)
                yield from take_minute(note)
                results[index] = ToolResult(call.id, call.name, self._refusal(call), "phase_violation")
        advancing = [n for n, call in enumerate(considered) if call.name == ADVANCE and n not in results]
        called = [n for n in range(len(considered)) if n not in results and n not in advancing]
        if called:
            outcomes = yield from use_tools(tuple(considered[n] for n in called))
            results |= dict(zip(called, outcomes, strict=True))
        for n in advancing:
            call = considered[n]
            if n == advancing[0]:
                yield from self._advance(reason_of(call))
                results[n] = ToolResult(call.id, call.name, self._announcement())
            else:
                results[n] = ToolResult(call.id, call.name, f"The phase {self.phase.name} has begun already.")
        self.messages += exchange(answer, [results[n] for n in range(len(considered))])

    def _advance(self, reason: str) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], None]:
        previous = self.phase.name
        self.at += 1
        yield from take_minute(PhaseChanged(self.phase.name, previous, reason))

    def _allows(self, call: ToolCall) -> bool:
        """Where a phase allows all tools, also unknown ones: the run then says which there are."""
        if call.name == ADVANCE:
            return self.has_next
        return self.phase.tools is None or call.name in self.phase.tools

    def _offered(self) -> tuple[ToolSpec, ...]:
        allowed = self.phase.tools
        offered = tuple(tool for tool in self.tools if allowed is None or tool.name in allowed)
        return (*offered, ADVANCE_SPEC) if self.has_next else offered

    def _names(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self._offered())

    def _refusal(self, call: ToolCall) -> str:
        name = shortened(call.name, NAME_CHARS_MAX)
        allowed = ", ".join(self._names()) or "none; write your answer"
        return f"Not called: the phase {self.phase.name} does not allow {name}. It allows: {allowed}."

    def _announcement(self) -> str:
        """What the model is told when a phase begins."""
        phase, allowed = self.phase, self.phase.tools
        tools = [tool.name for tool in self.tools if allowed is None or tool.name in allowed]
        later = dict.fromkeys(
            tool.name
            for other in self.phases[self.at + 1 :]
            for tool in self.tools
            if tool.name not in tools and (other.tools is None or tool.name in other.tools)
        )
        parts = (
            f"[Phase {self.at + 1} of {len(self.phases)}: {phase.name}]",
            phase.instruction,
            f"Tools of this phase: {', '.join(tools) or 'none'}.",
            f"Tools of later phases: {', '.join(later)}." if later else "",
            "" if self.has_next else "End it with the whole answer to the user, in their language.",
        )
        return " ".join(filter(None, parts))


def reason_of(call: ToolCall) -> str:
    """Why the phase is over, in the model's words; nothing where its arguments make no sense."""
    given = json_object(call.arguments) or {}
    said = next((value for key in ("summary", "reason") if isinstance(value := given.get(key), str)), "")
    return shortened(storable(said), REASON_CHARS_MAX)
