"""Plans with evidence variables, as a model writes them:

    Plan: how warm it is there
    #E1 = weather[{"city": "Oslo"}]
    Plan: in Fahrenheit
    #E2 = calculator[{"expression": "#E1 * 9 / 5 + 32"}]

The form is that of B. Xu, Z. Peng, B. Lei, S. Mukherjee, Y. Liu, D. Xu: "ReWOO: Decoupling Reasoning from Observations
for Efficient Augmented Language Models", 2023, arXiv:2305.18323; there a tool's input is plain text, here it is JSON.
Small models write it with bold type, code fences, round brackets and plain text for arguments: all of that is read.
"""

import re
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from app.core.acting import json_object, shortened
from app.core.events import PlanStep
from app.core.messages import ToolSpec, storable

LLM = "LLM"
STEPS_MAX = 20
REFERENCES_MAX = 50
"""Mentions of evidence in one step."""
TEXT_CHARS_MAX = 500
EVIDENCE_CHARS_MAX = 8_000
"""Of an evidence that is put into the arguments of another step."""

_STEP = re.compile(r"#\s?E(\d{1,3})[\s*`]*+=[\s*`]*+([\w.\-/]{1,100}+)[\s*`]*+([\[(])", re.IGNORECASE)
_REFERENCE = re.compile(r"#E(\d{1,3})(?!\d)", re.IGNORECASE)
_BARE_REFERENCE = re.compile(r"([:\[,]\s*)(#E\d{1,3})(?=\s*[,}\]])", re.IGNORECASE)
_LABEL = re.compile(
    r"^[\s*`>#-]*+(?:\d{1,3}[.)][\s*`]*+)?(?:(?:plan|step)\b[\s*`]*+\d{0,3}[\s*`]*+[:.)]?)?[\s*`]*+",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(r"\bno\s+tools?\s+(?:is\s+|are\s+)?(?:needed|required|necessary)\b", re.IGNORECASE)
_CLOSING = {"[": "]", "(": ")"}


class InvalidPlan(Exception):
    """The plan cannot be carried out. The text is one sentence for the model: what is wrong, and what is right."""


class Step(msgspec.Struct, frozen=True):
    """`evidence` is its number. `tool` is a tool's name, or `LLM`. `arguments` is a JSON object, for `LLM` a text, both
    with the evidence of other steps still named; `needs` are the numbers of these."""

    evidence: int
    tool: str
    arguments: str
    text: str = ""
    needs: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        return f"#E{self.evidence}"

    def minute(self) -> PlanStep:
        return PlanStep(self.text, self.name, self.tool, self.arguments)


def parse_plan(text: str, tools: Sequence[ToolSpec], *, llm_steps_max: int) -> tuple[Step, ...]:
    """The steps of a plan in their order; none where it says that no tool is needed. Raises `InvalidPlan`."""
    specs = {tool.name: tool for tool in tools}
    steps: list[Step] = []
    position = 0
    while (found := _STEP.search(text, position)) is not None:
        if len(steps) == STEPS_MAX:
            raise InvalidPlan(f"The plan has more than {STEPS_MAX} steps; make do with fewer.")
        inside, end = _bracketed(text, found.end(), found[3])
        step = Step(int(found[1]), found[2], inside, _text_of(text[position : found.start()]))
        steps.append(_checked(step, specs, known={earlier.evidence for earlier in steps}))
        position = end
    if not steps and not _NO_TOOLS.search(text):
        raise InvalidPlan('There is no step in it. A step is a line like: #E1 = tool[{"name": "value"}]')
    llm_steps = sum(step.tool == LLM for step in steps)
    if llm_steps > llm_steps_max:
        raise InvalidPlan(f"It has {llm_steps} steps with {LLM}; at most {llm_steps_max} are possible.")
    return tuple(steps)


def fill_in(step: Step, evidence: Mapping[int, str], tools: Sequence[ToolSpec]) -> str:
    """The step's arguments (JSON text), or the text for `LLM`, with the evidence in the place of its name."""
    if step.tool == LLM:
        return _filled(step.arguments, evidence)
    properties = _properties(next((tool for tool in tools if tool.name == step.tool), None))
    arguments = json_object(step.arguments) or {}
    values = {key: _value(value, evidence, properties.get(key)) for key, value in arguments.items()}
    return msgspec.json.encode(values).decode()


def _checked(step: Step, specs: Mapping[str, ToolSpec], *, known: set[int]) -> Step:
    if step.evidence in known:
        raise InvalidPlan(f"{step.name} is there twice; every step has an evidence of its own.")
    tool = next((name for name in (*specs, LLM) if name.lower() == step.tool.lower()), None)
    if tool is None:
        raise InvalidPlan(f"There is no tool {step.tool!r}. Tools are: {', '.join((*specs, LLM))}.")
    arguments = _unquoted(step.arguments) if tool == LLM else _arguments(step, specs[tool])
    if tool == LLM and not arguments:
        raise InvalidPlan(f"{step.name} asks nothing; write the question into the brackets.")
    mentioned = [int(number) for number in _REFERENCE.findall(arguments)]
    if len(mentioned) > REFERENCES_MAX:
        raise InvalidPlan(f"{step.name} mentions evidence more than {REFERENCES_MAX} times.")
    if unknown := sorted(set(mentioned) - known):
        raise InvalidPlan(f"{step.name} uses #E{unknown[0]}, which does not stand before it.")
    return Step(step.evidence, tool, arguments, step.text, frozenset(mentioned))


def _arguments(step: Step, spec: ToolSpec) -> str:
    """The step's arguments as a JSON object. Plain text is taken for the value where the tool needs just one text."""
    given = step.arguments.strip().strip("`").strip()
    for written in (given, _BARE_REFERENCE.sub(r'\1"\2"', given)):
        if (found := json_object(written or "{}")) is not None:
            return msgspec.json.encode(found).decode()
    if (name := _only_text(spec)) is not None and not given.startswith("{"):
        return msgspec.json.encode({name: _unquoted(given)}).decode()
    shown = shortened(given, 100)
    raise InvalidPlan(f"The arguments of {step.name} have to be one JSON object in brackets, not: {shown}")


def _only_text(spec: ToolSpec) -> str | None:
    """The one parameter that the tool requires, or has, if it is a text."""
    properties = _properties(spec)
    required = spec.parameters.get("required")
    names = cast("list[str]", required) if required and isinstance(required, list) else list(properties)
    return names[0] if len(names) == 1 and _type_of(properties.get(names[0])) == "string" else None


def _properties(spec: ToolSpec | None) -> dict[str, object]:
    found = spec.parameters.get("properties") if spec is not None else None
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def _type_of(schema: object) -> object:
    return cast("dict[str, object]", schema).get("type") if isinstance(schema, dict) else None


def _bracketed(text: str, start: int, opening: str) -> tuple[str, int]:
    """What stands between the bracket before `start` and the one that closes it, and where it ends.

    Brackets within JSON strings do not count. Where none closes it, it ends with the line, at its last bracket.
    """
    closing, depth, quoted, at = _CLOSING[opening], 1, False, start
    strings = text[start:].lstrip().startswith(("{", '"'))
    while at < len(text):
        character = text[at]
        if quoted and character == "\\":
            at += 1
        elif character == '"' and strings:
            quoted = not quoted
        elif not quoted and character in (opening, closing):
            depth += 1 if character == opening else -1
            if depth == 0:
                return text[start:at], at + 1
        at += 1
    end = text.find("\n", start)
    line = text[start : end if end >= 0 else len(text)]
    inside = line[: line.rindex(closing)] if closing in line else line
    return inside, start + len(line)


def _text_of(before: str) -> str:
    """What the plan says of a step: the last paragraph before it, without its label."""
    lines = [line.strip() for line in before.strip().strip("`").splitlines()]
    labelled = [n for n, line in enumerate(lines) if re.match(r"[\W\d]*(plan|step)\b", line, re.IGNORECASE)]
    kept = " ".join(lines[labelled[-1] :] if labelled else lines[-1:])
    return shortened(storable(_LABEL.sub("", kept, count=1)).strip("*` "), TEXT_CHARS_MAX)


def _unquoted(text: str) -> str:
    stripped = text.strip().strip("`").strip()
    return stripped[1:-1] if len(stripped) > 1 and stripped[0] == stripped[-1] == '"' else stripped


def _value(value: object, evidence: Mapping[int, str], schema: object) -> object:
    """The value with evidence filled in. Evidence that is all of it is read as JSON where the tool asks for no text."""
    match value:
        case str():
            filled = _filled(value, evidence)
            whole = _REFERENCE.fullmatch(value.strip()) is not None
            return _read(filled) if whole and _type_of(schema) not in (None, "string") else filled
        case list():
            return [_value(one, evidence, None) for one in cast("list[object]", value)]
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return {key: _value(one, evidence, None) for key, one in pairs}
        case _:
            return value


def _read(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return text


def _filled(text: str, evidence: Mapping[int, str]) -> str:
    return _REFERENCE.sub(lambda found: shortened(evidence[int(found[1])], EVIDENCE_CHARS_MAX), text)
