"""A server with people on it, whose things and keys are known: whom and what the walks walk with."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from tests.support.databases import TestServer
from tests.support.service import Service, running_service, script

ROOT_KEY = "key-of-root-0123456789"
SENTENCE_CHARS_MAX = 300
INTERNALS = (
    "traceback",
    "msgspec",
    "litestar",
    "psycopg",
    "asyncpg",
    "uvicorn",
    "select ",
    "insert ",
    ".py",
    "app.",
)
"""What no sentence for people has in it, in small letters."""
AT_ONCE = 4
"""Requests. With more, the client's looking through its own connections takes longer than the server's work."""

Answers = list[httpx.Response]


class World(msgspec.Struct, frozen=True):
    """`keys` by name: root, ana, bob, eve (an auditor), reader (ana's, of scope read), revoked, expired (both ana's).
    `bobs` are the ids of bob's things by the names of the parameters that take them."""

    service: Service
    keys: Mapping[str, str]
    bobs: Mapping[str, str]

    @asynccontextmanager
    async def client(self, name: str | None) -> AsyncIterator[httpx.AsyncClient]:
        """Of the user with that key, or of nobody. The base is the server, not its API."""
        headers = {} if name is None else {"X-API-Key": self.keys[name]}
        limits = httpx.Limits(max_connections=AT_ONCE)
        async with httpx.AsyncClient(
            base_url=self.service.url, headers=headers, timeout=60, limits=limits, verify=False
        ) as client:
            yield client

    def stored(self) -> tuple[int, int]:
        """How many events there are, but for those that say that a key was used, and how many files."""
        assert self.service.dsn is not None
        with psycopg.connect(self.service.dsn) as connection:
            row = connection.execute("SELECT count(*) FROM events WHERE type <> 'key.used'").fetchone()
        return (row or (0,))[0], sum(1 for path in self.folder.rglob("*") if path.is_file())

    @property
    def folder(self) -> Path:
        return Path(self.service.data_dir) / "uploads"

    def demand_calm(self) -> None:
        """Raises `AssertionError` where the server has logged an error that it did not expect."""
        output = "".join(self.service.output)
        wrong = [line for line in output.splitlines() if "Traceback" in line or "unexpected_error" in line]
        assert not wrong, wrong[0][:3000]
        assert self.service.process.poll() is None

    @contextmanager
    def nothing_stored(self) -> Iterator[None]:
        """Whatever happens meanwhile writes nothing, upsets nothing, and leaves a server that answers."""
        before = self.stored()
        yield
        assert self.stored() == before
        self.demand_calm()
        headers = {"X-API-Key": self.keys["ana"]}
        url = f"{self.service.url}/api/v1/portal/conversations"
        assert httpx.get(url, headers=headers, timeout=60, verify=False).status_code == 200


async def all_of(coming: Iterable[Any]) -> list[Any]:
    """The results in their order, so many at once."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Any) -> Any:
        async with free:
            return await coroutine

    return await asyncio.gather(*map(one, coming))


def demand_problem(answer: httpx.Response, statuses: Collection[int], about: object) -> None:
    """Raises `AssertionError` unless it is one of these statuses with one clear sentence and nothing internal."""
    shown = f"{about}, which should be {statuses}: {answer.status_code} {answer.text[:400]}"
    assert answer.status_code in statuses, shown
    if answer.request.method == "HEAD":
        return
    assert answer.headers["content-type"].startswith("application/json"), shown
    body = answer.json()
    assert body["status_code"] == answer.status_code, shown
    demand_sentence(body["detail"], shown)


def demand_sentence(sentence: str, about: object) -> None:
    assert 10 <= len(sentence) <= SENTENCE_CHARS_MAX, about
    assert "\n" not in sentence, about
    found = [word for word in INTERNALS if word in sentence.lower()]
    assert not found, (found, about)


@contextmanager
def world(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One real server process on a database of its own."""
    folder = tmp_path_factory.mktemp("walk")
    settings = {
        "model": script(folder, []),
        "api_keys": json.dumps([{"key": ROOT_KEY, "user": "root", "role": "admin"}]),
        "feed_heartbeat_seconds": "1",
        "socket_frames_per_second": "0",
    }
    with server.database() as dsn, running_service(folder, dsn, **settings) as service:
        base = service.url + "/api/v1"
        with httpx.Client(base_url=base, headers={"X-API-Key": ROOT_KEY}, timeout=60, verify=False) as root:
            keys = _keys(root)
        with httpx.Client(base_url=base, headers={"X-API-Key": keys["bob"]}, timeout=60, verify=False) as bob:
            things = _things(bob)
            while bob.get("/keys", headers={"X-API-Key": keys["expired"]}).status_code == 200:
                pass  # until it has expired: most of its second has gone by
        yield World(service, keys, things)


def _keys(root: httpx.Client) -> dict[str, str]:
    for user, role in (("ana", "member"), ("bob", "member"), ("eve", "auditor")):
        _made(root, "/admin/users", user_id=user, role=role)
    _made(root, "/admin/departments", department_id="law")
    soon = datetime.now(UTC) + timedelta(seconds=1)
    expired = _made(root, "/admin/keys", user_id="ana", expires_at=soon.isoformat())["key"]
    revoked = _made(root, "/admin/keys", user_id="ana")
    root.delete(f"/admin/keys/{revoked['details']['key_id']}").raise_for_status()
    keys = {"root": ROOT_KEY, "expired": expired, "revoked": revoked["key"]}
    keys["reader"] = _made(root, "/admin/keys", user_id="ana", scopes=["read"])["key"]
    keys |= {user: _made(root, "/admin/keys", user_id=user)["key"] for user in ("ana", "bob", "eve")}
    return keys


def _things(bob: httpx.Client) -> dict[str, str]:
    """One of each kind of thing that has an id."""
    told = _made(bob, "/portal/chat", message="a secret of bob's", conversation_id="bobs-conversation")
    opened = _made(bob, "/chat/sessions", agent_name="assistant")
    file = bob.post("/chat/upload", files={"file": ("secret.txt", b"a secret of bob's")}).json()
    reminder = _made(bob, "/reminders", text="a secret of bob's", cron="0 9 1 1 *")
    return {
        "conversation_id": told["conversation_id"],
        "session_id": opened["session_id"],
        "task_id": told["task_id"],
        "task": told["task_id"],
        "experience_id": told["task_id"],
        "stored_name": file["stored_name"],
        "reminder_id": reminder["reminder_id"],
        "key_id": _made(bob, "/keys")["details"]["key_id"],
        "user_id": "bob",
        "owner": "bob",
        "department": "law",
        "department_id": "law",
        "subject": "user",
        "subject_id": "bob",
        "quota_type": "tokens",
        "period": "day",
    }


def _made(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.is_success, answer.text
    return answer.json()
