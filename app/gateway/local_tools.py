"""Which tool a tiny model should be asked about, and how: pure functions, tuned on SmolLM2-135M.

A model of 135 million parameters cannot choose among tools from their descriptions (measured: native tool
calls 0 of 10). Three narrowings make it useful, each a function here:

1. `relevant_tool`: a tool is considered only if the message shares words with it (its name, description,
   parameters and a few synonyms); the share is the `coverage`, 0 to 1.
2. `wants_tool`: the model's own odds for the tool against "none", and the coverage, decide together.
3. `arguments_schema`: the model writes the arguments under a JSON schema that offers only what is required,
   and for arithmetic only the numbers of the message.

English only: of a message without Latin words only arithmetic in digits and signs is understood.
"""

import re
from collections.abc import Sequence
from typing import cast

import msgspec

from app.core.messages import ToolSpec

COVERAGE_WEIGHT = 8.0
LOG_ODDS_NEEDED = 2.2
STRING_CHARS_MAX = 200
NUMBERS_MAX = 4

WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?|[-+*/×÷^%]", re.IGNORECASE)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
SUM = re.compile(r"\(*\d[\d.\s()]*(?:[-+*/][\s(]*\d[\d.\s()]*)+")
SUFFIXES = "ations ation ators ator ates ated ate ings ing ies ied es ed s e".split()  # noqa: SIM905
STOP_TEXT = (
    "a about an and any are as at be by can check could current currently d did do does for from get "
    "give go got had has have he hello help hey hi how i if in into is it its just know let like ll "
    "look m make may me mean moment much my need now of on one or our out over please re right s say "
    "should show so some t tell than thanks that the their them then there these they this to today "
    "up us use user using ve want was we were what when where which who will with would yes you your "
)
NUMBER_TEXT = (
    "eight eleven fifty five forty four hundred nine seven six ten thirty thousand three twelve twenty two "
)
STOP_WORDS = frozenset(STOP_TEXT.split())
NUMBER_WORDS = frozenset(NUMBER_TEXT.split())


class Concept(msgspec.Struct, frozen=True):
    """A kind of tool that the tiny model is given examples for.

    `roots` are word stems in a tool's name or description, `synonyms` stems in messages, `asks` messages that
    need the tool, `fills` messages with the text that belongs into its one text argument.
    """

    roots: frozenset[str]
    synonyms: frozenset[str]
    asks: tuple[str, ...]
    fills: tuple[tuple[str, str], ...] = ()


def stem(word: str) -> str:
    """A crude English stem: enough to match "searches" with "search"."""
    text = word.lower()
    for suffix in SUFFIXES:
        if text.endswith(suffix) and len(text) - len(suffix) >= 3:
            return text[: -len(suffix)]
    return text


def stems(text: str) -> frozenset[str]:
    return frozenset(
        stem(word) for word in WORD.findall(text.replace("_", " ")) if word.lower() not in STOP_WORDS
    )


ARITHMETIC = Concept(
    roots=stems("calculator calc arithmetic math maths"),
    synonyms=stems(
        "calculate compute calculator multiply multiplied times plus minus divide divided add added subtract "
        "sum product total percent square root solve average arithmetic result x"
    ),
    asks=("What is 12 + 7?", "How much is 36 divided by 4?"),
    fills=(
        ("I have 4 bags with 6 balls each. How many balls?", "4 * 6"),
        ("What is the sum of 2 and 9?", "2 + 9"),
        ("What is 12 + 7?", "12 + 7"),
        ("How much is 36 divided by 4?", "36 / 4"),
        ("Multiply 5 and 8", "5 * 8"),
        ("Subtract 3 from 10", "10 - 3"),
        ("Work out (2 + 6) * 3", "(2 + 6) * 3"),
    ),
)
CONCEPTS = (
    ARITHMETIC,
    Concept(
        roots=stems("clock time date datetime"),
        synonyms=stems("time clock date hour late"),
        asks=("What time is it now?",),
    ),
    Concept(
        roots=stems("weather forecast"),
        synonyms=stems("weather rain raining sunny snow snowing temperature forecast windy"),
        asks=("What's the weather like in Madrid?",),
        fills=(("What's the weather like in Madrid?", "Madrid"), ("Is it cold in Oslo?", "Oslo")),
    ),
    Concept(
        roots=stems("search find lookup"),
        synonyms=stems("search find lookup"),
        asks=("Search my notes for holiday plans",),
        fills=(
            ("Search my notes for holiday plans", "holiday plans"),
            ("What do my notes say about Peter?", "Peter"),
        ),
    ),
)


def concept_of(tool: ToolSpec) -> Concept | None:
    """The kind of tool, told by the words of its name, else of its description."""
    for words in (stems(tool.name), stems(tool.description)):
        found = next((concept for concept in CONCEPTS if concept.roots & words), None)
        if found:
            return found
    return None


def coverage(tool: ToolSpec, message: str) -> float:
    """The share, 0 to 1, of the message's content words that speak of the tool.

    Names in the middle of a sentence do not count: they are arguments. An arithmetic tool needs two numbers.
    """
    concept = concept_of(tool)
    arithmetic = concept is ARITHMETIC
    words = [word for word in WORD.findall(message) if word.lower() not in STOP_WORDS]
    numbers = [word for word in words if is_number(word)]
    if arithmetic and len(numbers) < 2:
        return 0.0
    known = stems(f"{tool.name} {tool.description} {' '.join(properties_of(tool))}")
    known |= concept.synonyms if concept else frozenset()
    hits = [word for word in words if (arithmetic and is_arithmetic(word)) or stem(word) in known]
    first = WORD.search(message)
    names = [w for w in words if w[0].isupper() and first and w != first.group() and w not in hits]
    counted = len(words) - len(names)
    return len(hits) / counted if counted else 0.0


def is_number(word: str) -> bool:
    return word[0].isdigit() or word.lower() in NUMBER_WORDS


def is_arithmetic(word: str) -> bool:
    return is_number(word) or not word[0].isalpha()


def relevant_tool(tools: Sequence[ToolSpec], message: str) -> tuple[ToolSpec, float] | None:
    """The tool that the message speaks of most, with its coverage; None where it speaks of none."""
    rated = [(coverage(tool, message), tool) for tool in tools]
    best = max(rated, key=lambda pair: pair[0], default=None)
    if best is None or best[0] == 0:
        return None
    return best[1], best[0]


def wants_tool(log_odds: float, share: float) -> bool:
    """Whether to call the tool, from the model's log odds for it against none (nats) and the coverage."""
    return log_odds + COVERAGE_WEIGHT * share > LOG_ODDS_NEEDED


def properties_of(tool: ToolSpec) -> dict[str, dict[str, object]]:
    """The parameters to offer: those required, or all where none is."""
    properties = cast("dict[str, dict[str, object]]", tool.parameters.get("properties") or {})
    required = cast("list[str]", tool.parameters.get("required") or [])
    return {name: schema for name, schema in properties.items() if name in required or not required}


def text_argument(tool: ToolSpec) -> str | None:
    """The name of the tool's one required text argument, if that is all it needs."""
    match list(properties_of(tool).items()):
        case [(name, {"type": "string", **rest})] if "enum" not in rest and tool.parameters.get("required"):
            return name
        case _:
            return None


def arguments_schema(tool: ToolSpec, message: str) -> dict[str, object]:
    """The JSON schema for the arguments, narrowed so that a tiny model can hardly go wrong."""
    schema = dict(tool.parameters)
    properties: dict[str, object] = {name: bounded(value) for name, value in properties_of(tool).items()}
    text = text_argument(tool)
    if text and concept_of(tool) is ARITHMETIC:
        properties[text] = arithmetic_schema(message)
    return {
        **schema,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def bounded(schema: dict[str, object]) -> dict[str, object]:
    if schema.get("type") == "string" and not schema.keys() & {
        "enum",
        "const",
        "pattern",
        "maxLength",
        "format",
    }:
        return {**schema, "maxLength": STRING_CHARS_MAX}
    return schema


def arithmetic_schema(message: str) -> dict[str, object]:
    """The sum as the message writes it; or as many of the message's numbers as it has, with signs between."""
    written = max((match.group().strip() for match in SUM.finditer(message)), key=len, default="")
    if written and written.count("(") == written.count(")"):
        return {"const": written}
    numbers = NUMBER.findall(message)
    if not 2 <= len(numbers) <= NUMBERS_MAX:
        return {"type": "string", "maxLength": STRING_CHARS_MAX}
    number = f"({'|'.join(re.escape(n) for n in dict.fromkeys(numbers))})"
    return {"type": "string", "pattern": f"^{number}( [-+*/] {number}){{{len(numbers) - 1}}}$"}
