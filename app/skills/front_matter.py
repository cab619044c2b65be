"""The head of a `SKILL.md`: YAML between two lines of `---`, then Markdown.

Source: the Agent Skills specification (agentskills.io/specification), "SKILL.md format".
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from app.skills.fields import BadFile

EXAMPLE = "---\\nname: summarize\\ndescription: Summarises a text.\\n---\\nYou summarise …"
DEPTH_MAX = 20
_yaml: Any = yaml  # its stubs leave half of the types open
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # that of libyaml takes a tenth of the time
_HEAD = re.compile(r"---[ \t]*\n(.*?)(?<=\n)---[ \t]*(?:\n|\Z)(.*)", re.DOTALL)


class Document(NamedTuple):
    """The fields of the head, the line of each, and the Markdown below."""

    values: Mapping[str, object]
    lines: Mapping[str, int]
    body: str


def parse(file: Path, data: bytes) -> Document:
    """Raises `BadFile`. Only plain YAML values; an alias is refused (a few of them can stand for gigabytes)."""
    try:
        content = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadFile(file, f"byte {error.start} is not UTF-8; save the file as UTF-8.") from None
    split = _HEAD.match(content)
    if split is None:
        raise BadFile(file, "has no front matter between two lines of '---' at its start.", example=EXAMPLE)
    try:
        values, lines = _mapping(file, split[1])
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 2}" if mark else ""
        raise BadFile(
            file,
            f"the front matter is not valid YAML{where} ({error.problem}); put texts with ':' or '#' in quotes.",
            example=EXAMPLE,
        ) from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadFile(
            file, f"the front matter is not valid YAML ({str(error)[:200]}).", example=EXAMPLE
        ) from None
    return Document(values, lines, split[2].strip())


def _mapping(file: Path, head: str) -> tuple[dict[str, object], dict[str, int]]:
    depth = 0
    for event in _yaml.parse(head, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise BadFile(file, "the front matter uses a YAML alias (*name); write the value out instead.")
        if depth > DEPTH_MAX:  # each level makes the next one slower to read
            raise BadFile(file, f"the front matter is not valid YAML (nested more than {DEPTH_MAX} deep).")
    loader = _Loader(head)
    node = loader.get_single_node()
    if not isinstance(node, yaml.MappingNode):
        raise BadFile(file, "the front matter has no fields.", example=EXAMPLE)
    lines: dict[str, int] = {}
    for key, _ in node.value:
        field, line = str(key.value), key.start_mark.line + 2
        if field in lines:
            raise BadFile(file, f"field {field[:80]!r} is there twice, in lines {lines[field]} and {line}.")
        lines[field] = line
    values: dict[object, object] = loader.construct_document(node)
    return {str(field): value for field, value in values.items()}, lines
