"""The library of experts: what ships, who is found under which name, folders, and files that change."""

import os
import re
from pathlib import Path

import pytest

from app.agents.routing import NAMES_MAX, ROUNDS_MAX
from app.experts import library
from app.experts.library import ExpertLibrary
from app.runs.meetings import BOARD_ROUNDS, DEFAULT_BOARD, DEFAULT_TEAM, TIMEOUT_SECONDS, MeetingOptions
from app.settings import Settings
from app.skills import library as skill_library
from app.skills.library import SkillLibrary
from app.skills.names import TOOLS


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def put(folder: Path, name: str, content: str) -> Path:
    """Written with a time of change that differs, however coarse the clock of the disk is."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(content, encoding="utf-8")
    os.utime(file, ns=(before + 10**9, before + 10**9))
    return file


@pytest.fixture(scope="module")
def shipped() -> ExpertLibrary:
    skills = SkillLibrary([skill_library.SHIPPED], known_tools=tuple(TOOLS))
    return ExpertLibrary([library.SHIPPED], known_skills=lambda: skills.names)


def test_what_ships_is_read_without_a_problem_and_speaks_both_languages(shipped: ExpertLibrary) -> None:
    assert (shipped.problems, shipped.notices) == ((), ())
    assert len(shipped.experts) >= 10
    for expert in shipped.experts:
        assert expert.avatar
        assert expert.english.rules
        assert expert.chinese is not None
        assert re.search(r"[\u4e00-\u9fff]", expert.chinese.name)
        assert expert.chinese.persona != expert.english.persona
    assert len({expert.color for expert in shipped.experts}) == len(shipped.experts)


def test_no_two_that_ship_answer_to_the_same_name(shipped: ExpertLibrary) -> None:
    for expert in shipped.experts:
        assert {found.id for name in expert.called if (found := shipped.find(name))} == {expert.id}


def test_a_default_board_and_a_default_team_ship(shipped: ExpertLibrary) -> None:
    board = [shipped.find(name) for name in DEFAULT_BOARD]
    assert [expert.is_moderator for expert in board if expert] == [True, False, False, False, False]
    assert None not in [shipped.find(name) for name in DEFAULT_TEAM]
    assert len(DEFAULT_TEAM) == 4


def test_the_settings_say_the_same_as_the_defaults_and_stay_within_the_limits() -> None:
    settings = Settings()
    assert MeetingOptions() == MeetingOptions(
        settings.default_board, settings.default_team, settings.board_rounds, settings.meeting_timeout_seconds
    )
    assert (BOARD_ROUNDS, TIMEOUT_SECONDS) == (5, 1_800.0)
    assert max(len(DEFAULT_BOARD), len(DEFAULT_TEAM)) <= NAMES_MAX
    assert BOARD_ROUNDS <= ROUNDS_MAX


@pytest.mark.parametrize(
    "name",
    [
        "product-manager",
        "PRODUCT-MANAGER",
        "Product_Manager",
        "productmanager",
        "ｐｒｏｄｕｃｔ-manager",
        "产品经理",
    ],
)
def test_experts_are_found_by_id_and_name_in_whatever_case(shipped: ExpertLibrary, name: str) -> None:
    found = shipped.find(name)
    assert found is not None
    assert found.id == "product-manager"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("stratgist", "Strategist"),
        ("PRODUCTMANGER", "Product-Manager"),
        ("工程", "工程师"),
        ("zzzz", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested_as_it_may_be_written(
    shipped: ExpertLibrary, name: str, near: str | None
) -> None:
    assert shipped.find(name) is None
    assert shipped.near(name) == near
    assert near is None or shipped.find(near) is not None


def test_an_id_counts_before_somebody_elses_name(tmp_path: Path) -> None:
    put(tmp_path, "aaa", 'name = "bbb"\npersona = "a"')
    put(tmp_path, "bbb", 'persona = "b"')
    experts = ExpertLibrary([tmp_path])
    found = experts.find("BBB")
    assert found is not None
    assert found.id == "bbb"


def test_a_later_folder_replaces_an_expert(tmp_path: Path) -> None:
    put(tmp_path / "mine", "Skeptic", 'persona = "Mine."')
    experts = ExpertLibrary([library.SHIPPED, tmp_path / "mine"])
    found = experts.find("skeptic")
    assert found is not None
    assert found.english.persona == "Mine."
    assert experts.ids.count("skeptic") == 0


async def test_files_are_read_again_when_they_change_and_a_bad_one_keeps_the_last_good_version(
    tmp_path: Path,
) -> None:
    clock = Clock()
    put(tmp_path, "ana", 'persona = "first"')
    experts = ExpertLibrary([tmp_path], clock=clock)

    async def persona() -> str | None:
        clock.seconds += 2
        await experts.refresh()
        found = experts.find("ana")
        return found and found.english.persona

    put(tmp_path, "ana", 'persona = "second"')
    assert await persona() == "second"
    put(tmp_path, "ana", 'persna = "third"')
    assert await persona() == "second"
    assert "did you mean 'persona'?" in experts.problems[0]
    assert "last good version" in experts.problems[0]
    put(tmp_path, "bo", 'persona = "new"')
    (tmp_path / "ana.toml").unlink()
    assert await persona() is None
    assert experts.ids == ("bo",)
    assert experts.problems == ()


def test_a_skill_that_is_not_there_is_noticed_with_a_suggestion(tmp_path: Path) -> None:
    put(tmp_path, "ana", 'persona = "x"\nskills = ["reserch", "Research"]')
    known = ["research"]
    experts = ExpertLibrary([tmp_path], known_skills=lambda: known)
    assert experts.notices == (
        "expert 'ana' works without the skill 'reserch': there is none (did you mean 'research'?)",
    )
    known.append("reserch")
    assert experts.notices == ()
