"""A skill: a way of working that is asked for by name, from a `SKILL.md` in a folder of that name.

The format is that of Agent Skills (agentskills.io/specification), with `mode`, `tools`, `capabilities`, `prompt` and
`version` besides.
"""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

import msgspec

from app.agents.modes import modes_in_files
from app.core.agent import Agent
from app.core.messages import storable
from app.skills import front_matter
from app.skills.fields import Fields
from app.skills.names import CAPABILITIES, Tools

DEFAULT_MODE = "skill_react"
DESCRIPTION_CHARS_MAX = 1_024
PROMPT_CHARS_MAX = 256 * 1024
VERSION_CHARS_MAX = 64
FIELDS = (
    "name",
    "description",
    "mode",
    "tools",
    "capabilities",
    "prompt",
    "version",
    "license",
    "compatibility",
    "metadata",
    "allowed-tools",
)
_GOAL = re.compile(r"^\W*goal\W*[:：]", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class Skill(msgspec.Struct, frozen=True):
    """`tools` None: all of the agent's; else it may name some that are not there (now).

    `version` is what the file says, `digest` the SHA-256 of the file in hex.
    """

    name: str
    description: str
    prompt: str
    mode: str = DEFAULT_MODE
    tools: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] = ()
    version: str = ""
    license: str = ""
    digest: str = ""


def parse_skill(file: Path, data: bytes, *, tools: Tools) -> Skill:
    """The skill of this `SKILL.md`. Raises `BadFile`."""
    document = front_matter.parse(file, data)
    fields = Fields(file, document.values, lines=document.lines)
    fields.only(FIELDS, advice="Keys of your own go under 'metadata'.")
    return Skill(
        _name(fields),
        fields.text(
            "description", DESCRIPTION_CHARS_MAX, example="description: Summarises a text or a file."
        ),
        _prompt(fields, document.body),
        fields.choice("mode", modes_in_files(), default=DEFAULT_MODE, example="mode: react"),
        _tools(fields, tools),
        fields.known_names("capabilities", CAPABILITIES, example="capabilities: [knowledge]") or (),
        _version(fields),
        fields.text("license", DESCRIPTION_CHARS_MAX, default="", example="license: Apache-2.0"),
        hashlib.sha256(data).hexdigest(),
    )


def with_skill(agent: Agent, skill: Skill, available: Collection[str]) -> Agent:
    """The agent as it works with this skill: its prompt and the skill's, the skill's mode, and the tools that both
    have and that are available. A skill never gives an agent a tool that it was denied."""
    allowed = [name for name in available if agent.tools is None or name in agent.tools]
    tools = tuple(name for name in allowed if skill.tools is None or name in skill.tools)
    goal = "" if _GOAL.search(skill.prompt) else f"Goal: {' '.join(skill.description.split())}"
    parts = (agent.system_prompt, f"# Skill: {skill.name}", goal, skill.prompt)
    prompt = "\n\n".join(filter(None, parts))
    return msgspec.structs.replace(agent, mode=skill.mode, tools=tools, system_prompt=prompt)


def _name(fields: Fields) -> str:
    folder = fields.file.parent.name
    name = fields.text("name", 64, example=f"name: {folder}")
    if not _NAME.fullmatch(name):
        raise fields.bad(
            "name", "1-64 of a-z, 0-9 and '-', not with '-' in front", example="name: meeting-notes"
        )
    if name != folder:
        raise fields.bad("name", f"the name of its folder, {folder!r}", example=f"name: {folder}")
    return name


def _tools(fields: Fields, known: Tools) -> tuple[str, ...] | None:
    """`allowed-tools` counts where there is no `tools`, and may name those of other products: they give nothing."""
    if "tools" in fields:
        return fields.tools("tools", known, example="tools: [search, read_upload]")
    return fields.names("allowed-tools", example="allowed-tools: search read_upload")


def _prompt(fields: Fields, body: str) -> str:
    prompt = fields.text(
        "prompt", PROMPT_CHARS_MAX, default=storable(body), example="prompt: You summarise texts."
    )
    if not prompt:
        raise fields.bad(
            "prompt",
            "what the model is told: here, or as Markdown below the front matter",
            example="prompt: You summarise texts.",
        )
    return prompt


def _version(fields: Fields) -> str:
    """Of the file, or of its `metadata`, where the format has it; a number is taken as it was written in YAML."""
    metadata = fields.table("metadata", example='metadata: {author: ana, version: "1.0"}')
    for place in (fields, metadata):
        value = place["version"]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if "version" in place:
            return place.text("version", VERSION_CHARS_MAX, example='version: "1.0"')
    return ""
