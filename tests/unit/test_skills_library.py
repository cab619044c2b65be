"""Libraries of skills and agents: what ships, folders that hide one another, bad files, and files that change."""

import asyncio
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app import tools
from app.agents.modes import modes_in_files
from app.agents.routing import SkillChoice
from app.api.capabilities import capabilities
from app.core.agent import Agent
from app.skills import agent_files, library, names, shelf
from app.skills.agent_files import AgentLibrary
from app.skills.library import SkillLibrary
from app.tools.mcp_words import tool_name

EVERYTHING = tuple(names.TOOLS)
DOCS = Path(__file__).parents[2] / "docs"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def write(folder: Path, name: str, head: str = "", prompt: str = "Do it.", *, named: str = "") -> Path:
    file = folder / name / "SKILL.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    return put(file, f"---\nname: {named or name}\ndescription: About {name}.\n{head}\n---\n{prompt}\n")


def put(file: Path, content: str) -> Path:
    """Written as an editor does it: with a time of change that differs, however coarse the clock of the disk is."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(content, encoding="utf-8")
    os.utime(file, ns=(before + 10**9, before + 10**9))
    return file


def prompt_of(skills: SkillLibrary, name: str) -> str | None:
    found = skills.find(name)
    return found.prompt if found else None


def test_shipped_skills_are_read_without_a_problem() -> None:
    skills = SkillLibrary([library.SHIPPED], known_tools=EVERYTHING)
    assert (skills.problems, skills.notices) == ((), ())
    assert len(skills.names) >= 5
    assert {"plan_exec", "rewoo", "reflexion", "skill_react", "react"} <= {
        skill.mode for skill in skills.skills
    }
    assert all(skill.version and skill.tools and skill.capabilities for skill in skills.skills)


def test_shipped_skills_are_read_where_hardly_a_tool_is_enabled() -> None:
    skills = SkillLibrary([library.SHIPPED], known_tools=["clock"])
    assert skills.problems == ()
    assert "skill 'terminal' works without shell" in "\n".join(skills.notices)
    assert skills.names == SkillLibrary([library.SHIPPED], known_tools=EVERYTHING).names


def test_shipped_agents_are_read_without_a_problem() -> None:
    agents = AgentLibrary([agent_files.SHIPPED], default=Agent(), known_tools=EVERYTHING)
    assert (agents.problems, agents.notices) == ((), ())
    assert agents.names[0] == "assistant"
    assert len(agents.names) >= 4
    assert all(agent.description for agent in agents.agents[1:])


@pytest.mark.parametrize("document", ["skills.md", "agents.md"])
def test_the_documents_list_the_modes_that_a_file_may_name(document: str) -> None:
    (line,) = (
        line for line in (DOCS / document).read_text("utf-8").splitlines() if line.startswith("| `mode` |")
    )
    listed = tuple(re.findall(r"`(\w+)`", line)[1:])
    assert listed == modes_in_files(), f"docs/{document} has to list the modes in this order"


def test_every_tool_that_ships_may_be_named_also_where_it_is_off() -> None:
    """Found in the source: which of them are built depends on the settings."""
    sources = (file.read_text(encoding="utf-8") for file in Path(tools.__file__).parent.glob("*.py"))
    there = {name for source in sources for name in re.findall(r'make_tool\(\s*"(\w+)"', source)}
    assert len(there) >= 5
    assert there == names.TOOLS, "TOOLS in app/skills/names.py lists them"
    told = set(re.findall(r"`(\w+)`", (DOCS / "tools.md").read_text("utf-8").partition("\n## ")[0]))
    assert there <= told, f"the table of docs/tools.md lacks {there - told}"


def test_tools_of_mcp_servers_may_be_named() -> None:
    assert names.Tools().may_be_named(tool_name("files", "read"))


def test_categories_are_those_of_the_portal() -> None:
    assert tuple(category.name for category in capabilities("en")) == names.CAPABILITIES


def test_a_skill_is_found_in_whatever_case(tmp_path: Path) -> None:
    write(tmp_path, "tidy", "mode: react")
    write(tmp_path, "sum-up")
    skills = SkillLibrary([tmp_path], known_tools=())
    assert skills.names == ("sum-up", "tidy")
    assert prompt_of(skills, "TiDy") == "Do it."
    assert skills.find("tidyy") is None
    assert skills.find("../tidy") is None
    assert skills.suggest("tiddy") == ("tidy", "sum-up")
    assert skills.choices == (SkillChoice("sum-up", "skill_react"), SkillChoice("tidy", "react"))


def test_a_later_folder_wins_and_that_is_logged(tmp_path: Path) -> None:
    write(tmp_path / "a", "tidy", prompt="first")
    write(tmp_path / "a", "other")
    write(tmp_path / "b", "tidy", prompt="second")
    with capture_logs() as logs:
        skills = SkillLibrary([tmp_path / "a", tmp_path / "b"], known_tools=())
    assert prompt_of(skills, "tidy") == "second"
    assert skills.names == ("other", "tidy")
    hidden = [entry for entry in logs if entry["event"] == "file_hidden"]
    assert [(entry["used"], entry["hidden"]) for entry in hidden] == [
        (str(tmp_path / "b/tidy/SKILL.md"), str(tmp_path / "a/tidy/SKILL.md"))
    ]


def test_a_bad_file_takes_nothing_with_it_not_even_what_it_would_hide(tmp_path: Path) -> None:
    write(tmp_path / "a", "tidy", prompt="first")
    write(tmp_path / "a", "good")
    write(tmp_path / "b", "tidy", "mode: nonsense")
    (tmp_path / "b" / "empty").mkdir()
    (tmp_path / "b" / ".git").mkdir()
    (tmp_path / "b" / "_drafts").mkdir()
    (tmp_path / "b" / "README.md").write_text("About these skills.")
    skills = SkillLibrary([tmp_path / "a", tmp_path / "b", tmp_path / "none"], known_tools=())
    assert skills.names == ("good", "tidy")
    assert prompt_of(skills, "tidy") == "first"
    assert len(skills.problems) == 3
    for part in (
        "tidy/SKILL.md: field 'mode'",
        "empty/SKILL.md: there is no such file",
        "none: there is no such folder",
    ):
        assert part in "\n".join(skills.problems)


def test_tools_that_come_and_go_are_asked_for_when_they_are_needed(tmp_path: Path) -> None:
    write(tmp_path, "tidy", "tools: [mcp__files__read]")
    present: set[str] = set()
    skills = SkillLibrary([tmp_path], known_tools=present)
    assert skills.notices == ("skill 'tidy' works without mcp__files__read: not enabled in this deployment",)
    present.add("mcp__files__read")
    assert skills.notices == ()


async def test_what_changes_is_noticed_at_most_once_a_second(tmp_path: Path) -> None:
    clock = Clock()
    write(tmp_path, "tidy", prompt="old")
    skills = SkillLibrary([tmp_path], known_tools=(), clock=clock)
    write(tmp_path, "tidy", prompt="new")
    clock.seconds += 0.9
    await skills.refresh()
    assert prompt_of(skills, "tidy") == "old"
    clock.seconds += 0.2
    await skills.refresh()
    assert prompt_of(skills, "tidy") == "new"
    write(tmp_path, "tidy", prompt="newest")
    clock.seconds += 0.9
    await skills.refresh()
    assert prompt_of(skills, "tidy") == "new"


async def test_what_is_added_and_removed_is_noticed(tmp_path: Path) -> None:
    clock = Clock()
    write(tmp_path, "tidy")
    gone = write(tmp_path, "gone")
    skills = SkillLibrary([tmp_path, tmp_path / "later"], known_tools=(), clock=clock)
    assert skills.names == ("gone", "tidy")
    write(tmp_path / "later", "added")
    gone.unlink()
    gone.parent.rmdir()
    (tmp_path / "tidy" / "SKILL.md").unlink()
    clock.seconds += 1.1
    with capture_logs() as logs:
        await skills.refresh()
    assert skills.names == ("added",)
    told = {(entry["event"], entry.get("name")) for entry in logs}
    assert {("file_loaded", "added"), ("file_gone", "gone"), ("file_gone", "tidy")} <= told


async def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    write(tmp_path, "tidy")
    changing = write(tmp_path, "changing")
    read: list[Path] = []
    plain: Callable[[Path, os.stat_result], bytes] = shelf.bytes_of

    def counted(file: Path, status: os.stat_result) -> bytes:
        read.append(file)
        return plain(file, status)

    monkeypatch.setattr(shelf, "bytes_of", counted)
    skills = SkillLibrary([tmp_path], known_tools=(), clock=clock)
    assert len(read) == 2
    for _ in range(3):
        clock.seconds += 2
        await skills.refresh()
    assert len(read) == 2
    write(tmp_path, "changing", prompt="changed")
    clock.seconds += 2
    await skills.refresh()
    assert read[2:] == [changing]


async def test_a_skill_that_goes_bad_keeps_its_last_good_version(tmp_path: Path) -> None:
    clock = Clock()
    write(tmp_path, "tidy", prompt="good")
    skills = SkillLibrary([tmp_path], known_tools=(), clock=clock)
    write(tmp_path, "tidy", "mode: nonsense", prompt="bad")
    for _ in range(2):
        clock.seconds += 2
        await skills.refresh()
        assert prompt_of(skills, "tidy") == "good"
        (problem,) = skills.problems
        assert "'nonsense'" in problem
        assert "last good version" in problem
    write(tmp_path, "tidy", prompt="good again")
    clock.seconds += 2
    await skills.refresh()
    assert (prompt_of(skills, "tidy"), skills.problems) == ("good again", ())


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    """Guard: `is_relative_to` in `Shelf._entry`."""
    outside = write(tmp_path / "outside", "secret")
    inside = tmp_path / "inside"
    write(inside, "tidy")
    (inside / "secret").symlink_to(outside.parent)
    (inside / "file").mkdir()
    (inside / "file" / "SKILL.md").symlink_to(outside)
    (inside / "circle").symlink_to(inside / "circle")
    (inside / "dangling").symlink_to(tmp_path / "nowhere")
    (inside / "dots").symlink_to("../outside/secret")
    skills = SkillLibrary([inside], known_tools=())
    assert skills.names == ("tidy",)
    told = "\n".join(skills.problems)
    assert len(skills.problems) == 5
    for name in ("secret", "file", "dots"):
        assert f"{name}/SKILL.md: is a link out of" in told


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    """As a mounted volume has them: a hidden folder with the files, and links into it."""
    write(tmp_path / "..data", "tidy")
    (tmp_path / "tidy").symlink_to(tmp_path / "..data" / "tidy")
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(tmp_path)
    skills = SkillLibrary([tmp_path.parent / f"{tmp_path.name}-link"], known_tools=())
    assert (skills.names, skills.problems) == (("tidy",), ())


async def test_a_skill_that_becomes_a_link_out_of_the_folder_is_no_longer_used(tmp_path: Path) -> None:
    clock = Clock()
    file = write(tmp_path / "inside", "tidy")
    outside = write(tmp_path / "outside", "tidy")
    skills = SkillLibrary([tmp_path / "inside"], known_tools=(), clock=clock)
    file.unlink()
    file.symlink_to(outside)
    clock.seconds += 2
    await skills.refresh()
    assert skills.names == ()


def test_large_files_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "tidy", prompt="x" * (shelf.FILE_BYTES_MAX - 100))
    write(tmp_path, "large", prompt="x" * shelf.FILE_BYTES_MAX)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "SKILL.md")
    (tmp_path / "folder" / "SKILL.md").mkdir(parents=True)
    skills = SkillLibrary([tmp_path], known_tools=())
    assert skills.names == ("tidy",)
    told = "\n".join(skills.problems)
    for part in ("limit is 262144", "pipe/SKILL.md: is not a plain", "folder/SKILL.md: is not a plain"):
        assert part in told


def test_a_folder_may_hold_a_thousand_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "FILES_MAX", 3)
    for number in range(5):
        write(tmp_path, f"skill-{number}")
    skills = SkillLibrary([tmp_path], known_tools=())
    assert len(skills.names) == 3
    assert "more than 3 skill files" in skills.problems[0]


async def test_a_folder_that_cannot_be_read_for_a_while_keeps_its_skills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    write(tmp_path, "tidy")
    skills = SkillLibrary([tmp_path], known_tools=(), clock=clock)

    def stale(folder: Path) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("app.skills.library.os.scandir", stale)
    clock.seconds += 2
    await skills.refresh()
    assert skills.names == ("tidy",)
    assert "Stale file handle" in skills.problems[0]


async def test_a_folder_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the limit of the wait in `Shelf.refresh`; without it the first `refresh` never returns."""
    clock, begun, go_on = Clock(), threading.Event(), threading.Event()
    write(tmp_path, "tidy", prompt="old")
    skills = SkillLibrary([tmp_path], known_tools=(), clock=clock)
    write(tmp_path, "tidy", prompt="new")
    plain = os.scandir

    def hanging(folder: Path) -> object:
        begun.set()
        assert go_on.wait(60)
        return plain(folder)

    monkeypatch.setattr("app.skills.library.os.scandir", hanging)
    monkeypatch.setattr(shelf, "WAIT_SECONDS_MAX", 0.0)
    clock.seconds += 2
    await skills.refresh()
    await asyncio.to_thread(begun.wait, 60)
    await skills.refresh()
    assert prompt_of(skills, "tidy") == "old"
    go_on.set()
    monkeypatch.setattr(shelf, "WAIT_SECONDS_MAX", 60.0)
    await skills.refresh()
    assert prompt_of(skills, "tidy") == "new"


def agent_file(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    return put(folder / f"{name}.toml", content)


async def test_agents_are_found_hidden_suggested_and_read_again(tmp_path: Path) -> None:
    clock = Clock()
    agent_file(tmp_path / "a", "Analyst", 'system_prompt = "first"')
    agent_file(tmp_path / "b", "analyst", 'system_prompt = "second"\ntools = ["shell"]')
    agent_file(tmp_path / "b", "bad", 'mode = "nonsense"')
    (tmp_path / "b" / "notes.txt").write_text("not an agent")
    default = Agent("assistant", "Help.")
    agents = AgentLibrary([tmp_path / "a", tmp_path / "b"], default=default, known_tools=(), clock=clock)
    assert (agents.names, agents.default) == (("assistant", "analyst"), default)
    found = agents.find("ANALYST")
    assert found is not None
    assert (found.system_prompt, found.tools) == ("second", ("shell",))
    assert agents.find("Assistant") == default
    assert agents.find("bad") is None
    assert agents.suggest("analist")[0] == "analyst"
    assert "bad.toml: field 'mode'" in agents.problems[0]
    assert agents.notices == ("agent 'analyst' works without shell: not enabled in this deployment",)
    agent_file(tmp_path / "b", "assistant", 'system_prompt = "From a file."')
    agent_file(tmp_path / "b", "bad", 'mode = "rewoo"')
    (tmp_path / "b" / "analyst.toml").unlink()
    clock.seconds += 2
    await agents.refresh()
    assert agents.names == ("assistant", "Analyst", "bad")
    assert agents.default.system_prompt == "From a file."
    assert agents.problems == ()


def test_without_folders_there_is_the_default_agent() -> None:
    agents = AgentLibrary([], default=Agent("me"), known_tools=())
    assert (agents.names, agents.problems, agents.suggest("x")) == (("me",), (), ("me",))


def test_capabilities_count_skills_by_their_tags(tmp_path: Path) -> None:
    write(tmp_path, "tidy", "capabilities: [knowledge, skills]\ntools: [shell]")
    write(tmp_path, "sum-up", "capabilities: [knowledge, chat]")
    write(tmp_path, "plain")
    skills = SkillLibrary([tmp_path], known_tools=["search"]).skills
    found = {category.name: category for category in capabilities("en", skills=skills, tools=["search"])}
    counts = {name: category.skill_count for name, category in found.items()}
    assert counts == dict.fromkeys(names.CAPABILITIES, 0) | {"knowledge": 2, "chat": 1, "skills": 3}
    assert [skill.name for skill in found["skills"].skills] == ["plain", "sum-up", "tidy"]
    assert found["skills"].skills[2].missing_tools == ("shell",)


@pytest.mark.parametrize(
    ("there", "enabled"),
    [((), set[str]()), (("search",), {"knowledge"}), (("shell", "read_upload"), {"knowledge", "terminal"})],
)
def test_capabilities_are_enabled_where_they_work(there: tuple[str, ...], enabled: set[str]) -> None:
    skills = SkillLibrary([library.SHIPPED], known_tools=there).skills
    with_skills = {entry.name for entry in capabilities("zh", skills=skills, tools=there) if entry.enabled}
    assert with_skills == {"chat", "workflow", "evolution", "skills"} | enabled
    without = {entry.name for entry in capabilities("zh", tools=there) if entry.enabled}
    assert without == {"chat", "workflow", "evolution"} | enabled
