"""Files over the real server (wire contract, section 2): up while they are read, down as attachments, to their
owner."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.chat import chat, opened, told
from tests.support.databases import TestServer
from tests.support.logs import until
from tests.support.service import Service, running_service, script

MB = 1024 * 1024
KEYS = [
    {"key": "ana's key, long enough", "user": "ana"},
    {"key": "bob's key, long enough", "user": "bob"},
    {"key": "the admin's key, long", "user": "root", "role": "admin"},
    {"key": "the auditor's key, long", "user": "eve", "role": "auditor"},
]
ANA, BOB, ROOT, EVE = (key["key"] for key in KEYS)
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
RULES = [
    {
        "when": {"last_user_contains": "read it", "step": 0},
        "answer": {"tool_calls": [{"name": "read_upload", "arguments": {"name": "notes.txt"}}]},
    },
    {"when": {"last_user_contains": "read it"}, "answer": {"text": "It says: {last_tool}"}},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def guarded(server: TestServer, folder: Path) -> Iterator[Service]:
    with (
        server.database() as dsn,
        running_service(folder, dsn, api_keys=json.dumps(KEYS), model=script(folder, RULES)) as running,
    ):
        yield running


def client_of(service: Service, key: str) -> httpx.AsyncClient:
    return service.client(headers={"X-API-Key": key})


@pytest.fixture
async def ana(guarded: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(guarded, ANA) as client:
        yield client


async def uploaded(client: httpx.AsyncClient, name: str, data: bytes, **fields: Any) -> dict[str, Any]:
    response = await client.post("/chat/upload", files={"file": (name, data, "image/png")}, data=fields)
    assert response.status_code == 201, response.text
    return response.json()


def blobs(folder: Path) -> list[Path]:
    return [path for path in (folder / "uploads").rglob("*") if path.is_file()]


async def folder_has(folder: Path, files: int) -> None:
    """Of what is on disk nobody sends a signal."""

    async def has() -> bool:
        return len(blobs(folder)) == files

    await until(has)


@asynccontextmanager
async def raw_upload(service: Service, *headers: str) -> AsyncIterator[tuple[Any, asyncio.StreamWriter]]:
    """A connection that has sent the head of an upload, and nothing of its body yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    lines = (
        "POST /api/v1/chat/upload HTTP/1.1",
        "Host: 127.0.0.1",
        f"X-API-Key: {ANA}",
        "Content-Type: multipart/form-data; boundary=b",
        *headers,
    )
    writer.write("\r\n".join((*lines, "", "")).encode())
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_the_type_is_what_the_bytes_are(ana: httpx.AsyncClient) -> None:
    """Section 2, `POST /chat/upload`: the sender says image/png."""
    assert (await uploaded(ana, "page.html", b"<script>x</script>"))["content_type"] == "text/plain"
    assert (await uploaded(ana, "data.json", b'{"a":1}'))["content_type"] == "application/json"
    executable = await uploaded(ana, "cat.png", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0" + b"\0" * 99)
    assert executable["content_type"] == "application/vnd.microsoft.portable-executable"


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x.sh", "..\\..\\boot.ini", "/etc/passwd", "..", "a/../b.txt"]
)
async def test_names_that_lead_elsewhere_lead_nowhere(
    ana: httpx.AsyncClient, folder: Path, name: str
) -> None:
    found = await uploaded(ana, name, b"traversal " + name.encode())
    assert "/" not in found["stored_name"] + found["filename"]
    assert ".." not in found["stored_name"] + found["filename"]
    got = await ana.get(found["download_url"].removeprefix("/api/v1"))
    assert got.content == b"traversal " + name.encode()
    inside = {path.parent.parent.name for path in blobs(folder)}
    assert inside <= {"blobs"}


async def test_a_download_is_an_attachment_with_safe_headers(ana: httpx.AsyncClient) -> None:
    """Section 2, `GET /chat/uploads/{stored_name}`, and HEAD."""
    data = bytes(range(256)) * 1_000
    found = await uploaded(ana, 'a "quoted"; name=报告.bin', data)
    path = found["download_url"].removeprefix("/api/v1")
    got, head = await ana.get(path), await ana.head(path)
    assert got.content == data
    assert head.content == b""
    for response in (got, head):
        assert response.status_code == 200
        assert response.headers["content-length"] == str(len(data))
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
        disposition = response.headers["content-disposition"]
        assert disposition.startswith("attachment; filename*=UTF-8''")
        assert '"' not in disposition
    assert (await ana.get(path + "x")).status_code == 404
    assert (await ana.head("/chat/uploads/" + "0" * 32)).status_code == 404


async def test_somebody_elses_file_looks_as_if_it_did_not_exist(guarded: Service, folder: Path) -> None:
    """Section 9: owners apart, also where two have the same bytes; admins and auditors may name an owner."""
    async with client_of(guarded, ANA) as ana, client_of(guarded, BOB) as bob:
        hers, his = [await uploaded(one, "same.txt", b"the same bytes") for one in (ana, bob)]
        assert hers["stored_name"] != his["stored_name"]
        assert sum(path.read_bytes() == b"the same bytes" for path in blobs(folder)) == 1
        path = hers["download_url"].removeprefix("/api/v1")
        assert (await ana.get(path)).status_code == 200
        for request in (bob.get(path), bob.head(path), bob.get(path, params={"owner": "ana"})):
            assert (await request).status_code == 404
        assert hers["stored_name"] not in (await bob.get("/chat/uploads")).text
    for key in (ROOT, EVE):
        async with client_of(guarded, key) as other:
            assert (await other.get(path)).status_code == 404
            assert (await other.get(path, params={"owner": "ana"})).content == b"the same bytes"
            listed = await other.get("/chat/uploads", params={"owner": "ana"})
            assert hers["stored_name"] in listed.text
    async with client_of(guarded, EVE) as auditor:
        refused = await auditor.post("/chat/upload", files={"file": ("a", b"a")})
        assert refused.status_code == 403


async def test_files_are_listed_newest_first_a_page_at_a_time(guarded: Service) -> None:
    async with client_of(guarded, BOB) as bob:
        for number in range(5):
            await uploaded(bob, f"{number}.txt", b"n", conversation_id="c1" if number % 2 else "c2")
        await uploaded(bob, "any.txt", b"n")
        names, cursor = list[str](), ""
        while cursor is not None:
            query = {"limit": 2, "conversation_id": "c2", "cursor": cursor}
            page = (await bob.get("/chat/uploads", params=query)).json()
            names += [file["filename"] for file in page["files"]]
            cursor = page["next_cursor"]
        assert names[:4] == ["any.txt", "4.txt", "2.txt", "0.txt"]
        wrong = await bob.get("/chat/uploads", params={"cursor": "page two"})
        assert (wrong.status_code, "the one of the page before" in wrong.text) == (400, True)


async def test_a_body_without_end_is_refused_before_its_end(guarded: Service, folder: Path) -> None:
    """Section 2: 413 above 10 MB, checked while reading. Guard: a limit that is checked after the last byte."""
    before = blobs(folder)
    async with raw_upload(guarded, "Transfer-Encoding: chunked") as (reader, writer):
        answering = asyncio.create_task(reader.readuntil(b"\r\n"))
        piece = b"%x\r\n" % MB + b"x" * MB + b"\r\n"
        writer.write(b"%x\r\n" % len(HEAD) + HEAD + b"\r\n")
        sent = 0
        while not answering.done():
            try:
                writer.write(piece)
                await writer.drain()
                sent += 1
            except ConnectionError:
                break
            assert sent < 200
        assert (await answering).startswith(b"HTTP/1.1 413 ")
    assert blobs(folder) == before


async def test_a_body_that_says_how_large_it_is_is_refused_at_once(guarded: Service) -> None:
    async with raw_upload(guarded, f"Content-Length: {11 * MB}") as (reader, _):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")


async def test_ten_megabytes_are_taken_and_a_byte_more_is_not(ana: httpx.AsyncClient, folder: Path) -> None:
    assert (await uploaded(ana, "ten", b"\xff" * 10 * MB))["size"] == 10 * MB
    before = blobs(folder)
    too_much = await ana.post("/chat/upload", files={"file": ("more", b"\xff" * (10 * MB + 1))})
    assert too_much.status_code == 413
    assert blobs(folder) == before


async def test_whoever_goes_away_leaves_nothing(guarded: Service, folder: Path) -> None:
    before = blobs(folder)
    async with raw_upload(guarded, "Content-Length: 1000000") as (_, writer):
        writer.write(HEAD + b"half of it")
        await writer.drain()
        await folder_has(folder, len(before) + 1)
    await folder_has(folder, len(before))


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data; boundary=b", HEAD + b"cut off", 400),
        ("multipart/form-data; boundary=b", b"nothing of the kind", 400),
        ("multipart/form-data; boundary=b", b"\0" * 100, 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data", HEAD, 415),
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"file=x", 400),
    ],
)
async def test_what_is_no_form_is_told_so(
    ana: httpx.AsyncClient, kind: str, body: bytes, status: int
) -> None:
    refused = await ana.post("/chat/upload", content=body, headers={"Content-Type": kind})
    assert refused.status_code == status
    assert refused.json()["detail"]


async def test_a_tool_reads_what_its_conversation_may_use(guarded: Service) -> None:
    async with client_of(guarded, ANA) as ana:
        mine, other = await opened(ana), await opened(ana)
        await uploaded(ana, "notes.txt", b"for this one alone", conversation_id=mine)
        headers = {"X-API-Key": ANA}
        async with chat(guarded, mine, additional_headers=headers) as line:
            assert "for this one alone" in (await told(line, "read it"))[-1]["content"]
        async with chat(guarded, other, additional_headers=headers) as line:
            assert "no uploaded file 'notes.txt'" in (await told(line, "read it"))[-1]["content"]
        invalid = await ana.post(
            "/chat/upload", files={"file": ("a", b"a")}, data={"conversation_id": "no/good"}
        )
        assert invalid.status_code == 400


async def test_a_deleted_conversation_takes_its_files_with_it(ana: httpx.AsyncClient) -> None:
    session_id = await opened(ana)
    found = await uploaded(ana, "secret.txt", b"secret", conversation_id=session_id)
    path = found["download_url"].removeprefix("/api/v1")
    assert (await ana.get(path)).status_code == 200
    assert (await ana.delete(f"/portal/conversations/{session_id}")).status_code == 200
    assert (await ana.get(path)).status_code == 404


async def test_a_killed_server_leaves_nothing_of_a_half_finished_upload(
    server: TestServer, tmp_path: Path
) -> None:
    with server.database() as dsn:
        with running_service(tmp_path, dsn, model=script(tmp_path, RULES)) as first:
            async with raw_upload(first, "Content-Length: 1000000") as (_, writer):
                writer.write(HEAD + b"half of it")
                await writer.drain()
                await folder_has(tmp_path, 1)
                first.kill()
        assert len(blobs(tmp_path)) == 1
        with running_service(tmp_path, dsn, model=script(tmp_path, RULES)) as second:
            assert blobs(tmp_path) == []
            async with second.client() as client:
                assert (await client.get("/chat/uploads")).json()["files"] == []


async def test_the_sources_of_a_message_are_told_to_the_model_with_name_type_and_size(
    ana: httpx.AsyncClient,
) -> None:
    stored = (await uploaded(ana, "plan.txt", b"one two three"))["stored_name"]
    body = {"message": "look", "conversation_id": "sources-1", "sources": [stored, "page 7"]}
    assert (await ana.post("/portal/chat", json=body)).status_code == 200
    events = (await ana.get("/conversations/sources-1/events")).json()["events"]
    (requested,) = [one["payload"] for one in events if one["type"] == "run.requested"]
    (received,) = [one["payload"] for one in events if one["type"] == "message.received"]
    assert requested["sources"] == [f"plan.txt (text/plain, 13 bytes, stored_name {stored})", "page 7"]
    assert received["sources"] == [stored, "page 7"]
