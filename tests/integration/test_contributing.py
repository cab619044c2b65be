"""The example of CONTRIBUTING.md works as it stands there."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from app.core import events as ev
from projections.checking import check
from projections.reads import read_pool
from projections.runner import ProjectionRunner
from tests.support.projected import Book, write

DOCUMENT = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def day_words() -> Iterator[ModuleType]:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("projections.day_words")
    sys.modules[module.__name__] = module
    exec(compile(example, "CONTRIBUTING.md", "exec"), module.__dict__)
    yield module
    del sys.modules[module.__name__]


async def test_the_projection_of_the_example_folds_what_people_say(dsn: str, day_words: ModuleType) -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "three words here"))
    book.add(ev.MessageReceived("m2", "and two"), stream="conversation/alice/c2")
    book.add(ev.MessageReceived("m3", "hello"), stream="conversation/bob/c1")
    write(dsn, book.recorded)
    (status,) = ProjectionRunner(dsn, [day_words.PROJECTION]).run_to_end()
    assert (status.stopped, status.behind) == (None, 0)
    async with read_pool(dsn) as pool:
        (row,) = await day_words.of_owner(pool, "alice")
    assert (row.messages, row.words) == (2, 5)
    assert check(dsn, day_words.PROJECTION).fine
