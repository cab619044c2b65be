"""A multipart form as it comes: in whatever pieces, within its limits, and without a trace where it is refused."""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.files.form import (
    BESIDES_BYTES_MAX,
    FileMissing,
    FileTooLarge,
    FormBroken,
    FormRefused,
    FormTooSlow,
    ReceivedFile,
    SeveralFiles,
    receive,
)
from app.files.store import FileStore

LIMIT = 100_000
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: text/csv\r\n\r\n'
FIELD = b'--b\r\nContent-Disposition: form-data; name="conversation_id"\r\n\r\n%s\r\n'
END = b"\r\n--b--\r\n"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path)
    made.prepare()
    return made


async def pieces_of(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(store: FileStore, body: bytes, size: int = 4_096) -> ReceivedFile:
    return await receive(pieces_of(body, size), b"b", store.begin, file_bytes_max=LIMIT)


def nothing_left(store: FileStore) -> bool:
    return not list(store._drafts.iterdir())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.binary(max_size=300)
    | st.sampled_from([b"\r\n--", b"\r\n--b", b"\r\r\n--\r\n", b"--b--"[:4] * 9]),
    size=st.integers(1, 50),
)
def test_a_file_arrives_whole_in_whatever_pieces_it_comes(store: FileStore, data: bytes, size: int) -> None:
    if b"\r\n--b" in b"\r\n" + data:
        return  # no boundary is one that stands in the file
    body = HEAD % b"a.csv" + data + b"\r\n" + FIELD % "c\u00f6".encode() + END[2:]
    received = asyncio.run(read(store, body, size))
    received.draft.finish()
    assert received.draft.path.read_bytes() == data
    assert (received.filename, received.claimed) == ("a.csv", "text/csv")
    assert received.fields == {"conversation_id": "c\u00f6"}
    received.draft.close()
    assert nothing_left(store)


async def test_too_much_is_refused_while_it_comes(store: FileStore) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield HEAD % b"big"
        for piece in repeat(b"x" * 1_000):
            taken += 1
            yield piece

    with pytest.raises(FileTooLarge):
        await receive(endless(), b"b", store.begin, file_bytes_max=LIMIT)
    assert taken == LIMIT // 1_000 + 1
    assert nothing_left(store)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (HEAD % b"a" + b"half of", FormBroken),
        (HEAD % b"a" + b"whole" + END[:-4], FormBroken),
        (HEAD % b"a" + b"1\r\n" + HEAD % b"b" + b"2" + END, SeveralFiles),
        (FIELD % b"c" + END[2:], FileMissing),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file' + END, FileMissing),
        (b"", FormBroken),
        (b"no form at all, whatever it may be", FormBroken),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nnameless" + END, FormBroken),
        (b"--b\r\n" + b"X-Y: " + b"z" * 10_000 + b"\r\n\r\n" + END, FormBroken),
        (b"--b\r\n" + b"X-Y: z\r\n" * 20 + b"\r\n" + END, FormBroken),
        (FIELD % (b"x" * 5_000) + END[2:], FormBroken),
        (FIELD % b"\xff\xfe" + END[2:], FormBroken),
        (HEAD % b"a" + b"1\r\n" + FIELD % b"x" * 20 + END[2:], FormBroken),
        (HEAD % b"a" + b"1" + END + b"\0" * (LIMIT + BESIDES_BYTES_MAX), FileTooLarge),
    ],
)
async def test_what_is_no_whole_form_leaves_nothing(
    store: FileStore, body: bytes, error: type[FormRefused]
) -> None:
    with pytest.raises(error) as raised:
        await read(store, body)
    told = raised.value.sentence("zh")
    assert re.search(r"（[\u4e00-\u9fff]", told) or error is not FormBroken, told
    assert nothing_left(store)


async def test_who_goes_silent_is_not_waited_for(store: FileStore) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield HEAD % b"a" + b"and then"
        await asyncio.Event().wait()

    with pytest.raises(FormTooSlow, match=r"0\.01 seconds"):
        await receive(stalled(), b"b", store.begin, piece_seconds=0.01)
    assert nothing_left(store)


async def test_a_cancelled_upload_leaves_nothing(store: FileStore) -> None:
    begun = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield HEAD % b"a" + b"and then"
        begun.set()
        await asyncio.Event().wait()

    receiving = asyncio.create_task(receive(stalled(), b"b", store.begin))
    await begun.wait()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert nothing_left(store)
