"""Expected errors as clients see them: each has its sentence, and a status, also where nobody has thought of one."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import app.server  # noqa: F401  (with it all modules that have refusals of their own)
from app.api import errors
from app.auth.decisions import Refusal
from app.core import texts
from app.files.form import FormRefused
from app.runs.refused import Refused

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r'(?<![.\w])(?:text|Refusal|InvalidQuery|RouteError)\(\s*"(\w+)"')
"""A text that is named where it is wanted."""


def kinds_of(kind: type[Any]) -> Iterator[type[Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from kinds_of(one)


def answer_to(error: Exception) -> Any:
    """As the application answers it: by the handler of the nearest kind that has one."""
    request = SimpleNamespace(app=SimpleNamespace(state={"locale": "zh"}))
    handle = next(errors.HANDLERS[kind] for kind in type(error).__mro__ if kind in errors.HANDLERS)
    return msgspec.json.decode(handle(request, error).content)


@pytest.mark.parametrize("kind", [*kinds_of(Refused), *kinds_of(FormRefused)])
def test_every_refusal_has_its_sentence(kind: type[Any]) -> None:
    """Guard: a key without a text, which would be noticed only when somebody is refused."""
    assert kind.key in texts._TEXTS, (
        f"{kind.__name__}: no text {kind.key!r} in app/core/texts.py and its neighbours"
    )


def test_every_text_that_is_named_is_there() -> None:
    sources = [*(ROOT / "app").rglob("*.py"), *(ROOT / "projections").glob("*.py")]
    named = {key for source in sources for key in NAMED.findall(source.read_text(encoding="utf-8"))}
    assert len(named) > 50
    assert not named - texts._TEXTS.keys(), "no such texts in app/core/texts.py and its neighbours"


def test_a_refusal_without_a_status_of_its_own_is_a_bad_request_with_its_sentence() -> None:
    class Unheard(Refused):
        key = "conversation"

    assert answer_to(Unheard()) == {"status_code": 400, "detail": "对话"}


def test_a_refused_change_has_the_status_that_its_decision_gave_it() -> None:
    assert answer_to(Refusal("conversation", 409)) == {"status_code": 409, "detail": "对话"}
