"""Skill and agent files: what is read of a good one, and what is said of a bad one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.agent import Agent
from app.core.events import PhasePolicy, RunLimits
from app.skills.agent_files import parse_agent
from app.skills.fields import BadFile
from app.skills.names import Tools
from app.skills.skill import Skill, parse_skill, with_skill

TOOLS = ("calculator", "search", "weather__forecast")
KNOWN = Tools(TOOLS)
FILE = Path("skills/tidy/SKILL.md")
AGENT_FILE = Path("agents/analyst.toml")
DEFAULT = Agent("assistant", "Be kind.", limits=RunLimits(8, 300.0, 1_000, 0.5), model="small")


def skill(head: str, body: str = "Tidy up.", *, file: Path = FILE) -> Skill:
    content = f"---\nname: tidy\ndescription: Tidies up.\n{head}\n---\n{body}"
    return parse_skill(file, content.encode(), tools=KNOWN)


def agent(content: str) -> Agent:
    return parse_agent(AGENT_FILE, content.encode(), default=DEFAULT, tools=KNOWN)


def test_a_skill_with_the_least_there_is() -> None:
    found = skill("")
    assert (found.name, found.description, found.prompt) == ("tidy", "Tidies up.", "Tidy up.")
    assert (found.mode, found.tools, found.capabilities) == ("skill_react", None, ())
    assert len(found.digest) == 64
    assert found.digest != skill("", "Tidy up!").digest


def test_a_skill_with_all_there_is() -> None:
    head = (
        "mode: rewoo\ntools: [search, weather__forecast, shell]\ncapabilities: [knowledge, chat]\n"
        "license: MIT\ncompatibility: needs git\nversion: 1.2\nmetadata:\n  author: ana\nprompt: |\n  # Really\n  tidy"
    )
    found = skill(head, "Notes for people.")
    assert (found.mode, found.tools) == ("rewoo", ("search", "weather__forecast", "shell"))
    assert KNOWN.missing(found.tools) == ("shell",)
    assert (found.capabilities, found.license, found.version) == (("knowledge", "chat"), "MIT", "1.2")
    assert found.prompt == "# Really\ntidy"


def test_a_skill_of_the_public_format_is_read() -> None:
    """`allowed-tools` may name tools of other products; they give nothing, and are listed."""
    found = skill("allowed-tools: Bash(git add:*) search, Read\nmetadata: {version: '0.3', level: deep}")
    assert found.tools == ("Bash(git add:*)", "search", "Read")
    assert KNOWN.missing(found.tools) == ("Bash(git add:*)", "Read")
    assert found.version == "0.3"


def test_tools_may_be_none_at_all_or_stand_in_a_line() -> None:
    assert skill("tools: []").tools == ()
    assert skill("tools: search, calculator search").tools == ("search", "calculator")
    assert skill("tools:").tools is None


def test_tools_from_outside_may_be_named_while_they_are_away() -> None:
    found = skill("tools: [mcp__files__read, search]")
    assert found.tools == ("mcp__files__read", "search")
    assert KNOWN.missing(found.tools) == ("mcp__files__read",)
    assert agent('tools = ["mcp__files__read"]').tools == ("mcp__files__read",)
    with pytest.raises(BadFile, match="'mail__send'"):
        skill("tools: [mail__send]")


def test_the_file_may_come_from_another_system() -> None:
    content = "\ufeff---\r\nname: tidy\r\ndescription: '整理'\r\n---  \r\n\r\n第一行\r\n---\r\n第二行\r\n"
    found = parse_skill(FILE, content.encode(), tools=Tools())
    assert (found.description, found.prompt) == ("整理", "第一行\n---\n第二行")


@pytest.mark.parametrize(
    ("head", "parts"),
    [
        ("mode: reflection", ["'mode' (line 4)", "'reflection'", "skill_react", "did you mean 'reflexion'?"]),
        ("mode: 3", ["'mode'", "is 3", "expected one of"]),
        ("tools: [serch]", ["'tools' (line 4)", "'serch'", "did you mean 'search'?", "read_upload"]),
        ("tools: {search: yes}", ["'tools'", "{'search': True}", "a list of at most 100 names"]),
        ("tools: [search, 3]", ["'tools'", "['search', 3]", "names"]),
        (f"tools: {[f'a{n}' for n in range(101)]}", ["'tools'", "at most 100"]),
        ("capabilities: [knowlege]", ["'capabilities'", "'knowlege'", "did you mean 'knowledge'?"]),
        ("modus: react", ["'modus' (line 4)", "not known", "did you mean 'mode'?", "metadata"]),
        ("name: tidy", ["'name'", "twice", "lines 2 and 4"]),
        ("prompt: 12", ["'prompt'", "12", "in quotes"]),
        ("version: [1]", ["'version'", "[1]"]),
        ("metadata: mine", ["'metadata'", "'mine'", "a table"]),
        ("license: ''", ["'license'", "of 0"]),
        ("mode: react: x", ["not valid YAML", "line 4"]),
        ("mode: 'react", ["not valid YAML"]),
        ("mode: !!python/name:os.system x", ["not valid YAML"]),
        ("version: 2024-13-45", ["not valid YAML"]),
        ("tools: &all [search]\nmetadata: {a: *all}", ["alias"]),
        ("tools: " + "[" * 5_000, ["not valid YAML"]),
        ("? [a, b]\n: c", ["not valid YAML", "line 4", "unhashable key"]),
        ("3: x", ["'3' (line 4)", "not known"]),
        ("mode: " + "x" * 10_000, ["'mode'", "xxx...xxx"]),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_an_example(head: str, parts: list[str]) -> None:
    with pytest.raises(BadFile) as caught:
        skill(head)
    said = str(caught.value)
    assert said.startswith(str(FILE))
    assert len(said) < 1_000
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["no front matter", "For example: ---"]),
        (b"You tidy up.", ["no front matter"]),
        (b"---\nname: tidy\n", ["no front matter"]),
        (b"---\n---\nTidy.", ["no fields"]),
        (b"---\n- name\n---\nTidy.", ["no fields"]),
        (b"---\nname: \xff\n---\n", ["byte 10", "UTF-8"]),
        (b"---\ndescription: x\n---\nTidy.", ["'name' is missing", "name: tidy"]),
        (b"---\nname: tidy\n---\nTidy.", ["'description' is missing", "1-1024"]),
        (b"---\nname: tidy\ndescription: ' '\n---\nTidy.", ["'description'", "of 0"]),
        (b"---\nname: tidy\ndescription: " + b"x" * 1025 + b"\n---\nTidy.", ["'description'", "of 1025"]),
        (b"---\nname: tidy\ndescription: x\n---\n \n", ["'prompt' is missing", "below the front matter"]),
        (b"---\nname: other\ndescription: x\n---\nTidy.", ["'name' (line 2)", "'other'", "'tidy'"]),
        (b"---\nname: ../tidy\ndescription: x\n---\nTidy.", ["'name'", "'../tidy'", "a-z, 0-9"]),
        (b"---\nname: Tidy\ndescription: x\n---\nTidy.", ["'name'", "'Tidy'", "a-z, 0-9"]),
        (b"---\nname: 12\ndescription: x\n---\nTidy.", ["'name'", "is 12", "quotes"]),
    ],
)
def test_a_bad_skill_file_is_a_clear_error(content: bytes, parts: list[str]) -> None:
    with pytest.raises(BadFile) as caught:
        parse_skill(FILE, content, tools=KNOWN)
    for part in (str(FILE), *parts):
        assert part in str(caught.value)


_YAML = "--- name tidy [ ] { } &a *a << !! ? | ' \" 2024-02-30 1_0 0x ~ \0 é mode tools = .inf 1:99"
_SCRAPS = st.sampled_from((*_YAML.split(" "), "\n", ": ", "- ", " ", "\t", "\x85"))


@given(st.lists(_SCRAPS, max_size=30).map("".join))
def test_no_file_raises_anything_else(scraps: str) -> None:
    for content in (scraps, f"---\nname: tidy\ndescription: x\n{scraps}\n---\nTidy."):
        try:
            parse_skill(FILE, content.encode(), tools=KNOWN)
        except BadFile as error:
            assert str(error)  # noqa: PT017
    try:
        agent(scraps)
    except BadFile as error:
        assert str(error)  # noqa: PT017


def test_an_agent_works_with_a_skill_but_gets_no_tool_that_it_was_denied() -> None:
    careful = Agent("a", "Be careful.", tools=("calculator", "search"), model="m")
    tidy = skill("mode: rewoo\ntools: [search, shell, weather__forecast]")
    found = with_skill(careful, tidy, TOOLS)
    assert (found.mode, found.tools, found.model, found.name) == ("rewoo", ("search",), "m", "a")
    assert found.system_prompt == "Be careful.\n\n# Skill: tidy\n\nGoal: Tidies up.\n\nTidy up."
    everything = with_skill(Agent(), skill(""), TOOLS)
    assert everything.tools == TOOLS
    assert with_skill(Agent(), tidy, TOOLS).tools == ("search", "weather__forecast")


def test_a_skill_that_names_its_goal_keeps_it() -> None:
    found = with_skill(Agent(system_prompt=""), skill("", "**Goal:** order\n\nTidy."), ())
    assert found.system_prompt == "# Skill: tidy\n\n**Goal:** order\n\nTidy."


def test_what_an_agent_file_leaves_out_is_as_in_the_default_agent() -> None:
    found = agent('description = "Counts."\n')
    assert (found.name, found.description) == ("analyst", "Counts.")
    assert (found.system_prompt, found.limits, found.model, found.mode) == (
        DEFAULT.system_prompt,
        DEFAULT.limits,
        "small",
        "react",
    )
    assert found.tools is None


def test_an_agent_with_all_there_is() -> None:
    content = """
        name = "analyst"
        description = "Counts."
        system_prompt = "Count."
        model = "large"
        tools = ["calculator", "shell"]
        mode = "plan_exec"
        max_history = 20
        limits = {max_steps = 3, timeout_seconds = 60, tokens_max = 0, cost_usd_max = 1.5}
        [[phases]]
        name = "look"
        tools = ["search"]
        instruction = "Look around."
        [[phases]]
        name = "count"
    """
    found = agent(content)
    assert found == Agent(
        "analyst",
        "Count.",
        ("calculator", "shell"),
        RunLimits(3, 60.0, None, 1.5),
        20,
        "plan_exec",
        "large",
        (PhasePolicy("look", ("search",), "Look around."), PhasePolicy("count")),
        "Counts.",
    )


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("mode = ", ["not valid TOML", "For example"]),
        ("a = 2024-13-45", ["not valid TOML"]),
        ('name = "other"', ["'name'", "'other'", "'analyst'"]),
        ('prompt = "x"', ["'prompt'", "not known", "system_prompt"]),
        ('mode = "team_collab"', ["'mode'", "'team_collab'", "plan_exec"]),
        ('tools = ["calculater"]', ["'tools'", "'calculater'", "did you mean 'calculator'?"]),
        ("max_history = 1", ["'max_history'", "is 1", "from 2 to 1000", "max_history = 50"]),
        ("limits = 3", ["'limits'", "is 3", "[limits]"]),
        ("limits.max_steps = 0", ["'limits.max_steps'", "is 0", "from 1 to 100"]),
        ("limits.max_steps = true", ["'limits.max_steps'", "is True"]),
        ("limits.max_step = 3", ["'limits.max_step'", "did you mean 'max_steps'?"]),
        ("limits.timeout_seconds = nan", ["'limits.timeout_seconds'", "nan"]),
        ("limits.cost_usd_max = -1", ["'limits.cost_usd_max'", "-1"]),
        ("phases = 3", ["'phases'", "a list of at most 20 tables"]),
        ('phases = [{tools = ["search"]}]', ["'phases[1].name' is missing"]),
        ('phases = [{name = "a"}, {name = "a"}]', ["'phases[2].name'", "no other phase"]),
        ('phases = [{name = "a", tools = ["nothing"]}]', ["'phases[1].tools'", "'nothing'"]),
        ('phases = [{name = "a", tool = "search"}]', ["'phases[1].tool'", "did you mean 'tools'?"]),
    ],
)
def test_a_bad_agent_file_is_a_clear_error(content: str, parts: list[str]) -> None:
    with pytest.raises(BadFile) as caught:
        agent(content)
    for part in (str(AGENT_FILE), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["a b.toml", "-a.toml", ".toml", "x" * 65 + ".toml"])
def test_an_agents_file_name_has_to_be_a_name(name: str) -> None:
    with pytest.raises(BadFile, match=r"1-64|is missing|of 65"):
        parse_agent(Path(name), b"", default=DEFAULT, tools=Tools())
