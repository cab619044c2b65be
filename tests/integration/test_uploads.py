"""Uploads over a real log: what of a crash is settled at the start, and what a model is told of a message's sources."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.api.uploads import Uploads
from app.files.form import ReceivedFile
from app.files.store import FileStore
from app.log.errors import LogUnavailable
from app.log.log import Log
from projections import files
from projections.reads import read_pool
from projections.runner import ProjectionRunner
from tests.support.runs import FlakyLog


@pytest.fixture
async def uploads(log: Log, dsn: str, tmp_path: Path) -> AsyncIterator[Uploads]:
    views = ProjectionRunner(dsn, [files.PROJECTION])
    await asyncio.to_thread(views.start)
    log.wakeups.on_any(views.wake)
    async with read_pool(dsn) as reads:
        made = Uploads(FileStore(tmp_path), log, views, reads)
        await made.open()
        yield made
    await asyncio.to_thread(views.close)


def received(uploads: Uploads, data: bytes, name: str = "notes.txt") -> ReceivedFile:
    draft = uploads.store.begin()
    draft.write(data)
    return ReceivedFile(draft, name, "text/plain", {})


def blobs(uploads: Uploads) -> int:
    return sum(path.is_file() for path in uploads.store._folder.rglob("*"))


async def test_a_model_is_told_name_type_and_size_of_what_is_attached(uploads: Uploads) -> None:
    for_any = await uploads.keep("ana", received(uploads, b"for any"), "")
    for_c1 = await uploads.keep("ana", received(uploads, b'{"a":1}', "data.json"), "c1")
    names = (for_any.stored_name, "data.json", "https://example.com/page", "none.txt")
    assert await uploads.described("ana", "c1", names) == (
        f"notes.txt (text/plain, 7 bytes, stored_name {for_any.stored_name})",
        f"data.json (application/json, 7 bytes, stored_name {for_c1.stored_name})",
        "https://example.com/page",
        "none.txt",
    )
    assert await uploads.described("ana", "c2", ("data.json",)) == ("data.json",)
    assert await uploads.described("bob", "c1", names) == names


async def test_of_two_files_with_one_name_the_newest_is_read(uploads: Uploads) -> None:
    old = await uploads.keep("ana", received(uploads, b"old"), "")
    await uploads.keep("ana", received(uploads, b"new"), "")
    by_name = await uploads.read("ana", "c1", "notes.txt")
    by_id = await uploads.read("ana", "c1", old.stored_name)
    assert by_name is not None
    assert by_id is not None
    assert (by_name.data, by_id.data) == (b"new", b"old")
    assert await uploads.read("bob", "c1", old.stored_name) is None


@pytest.mark.parametrize("written", [False, True])
async def test_what_the_log_never_heard_of_is_dropped_at_the_next_start(
    uploads: Uploads, log: Log, *, written: bool
) -> None:
    """Whether the event was written was not to be known when the database went away."""
    uploads._log = FlakyLog(log, 1, written=written)  # type: ignore[assignment]
    file = received(uploads, b"kept?")
    with pytest.raises(LogUnavailable):
        await uploads.keep("ana", file, "")
    file.draft.close()
    assert blobs(uploads) == 2  # the content, and the note that nobody knows
    await uploads.open()
    assert blobs(uploads) == written
    found = await uploads.listed("ana", None, None, 10)
    assert [one.filename for one in found] == ["notes.txt"] * written
