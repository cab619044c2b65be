"""`/metrics` and the log's lines of a service that has worked."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.support.databases import TestServer
from tests.support.logs import until
from tests.support.portal import portal
from tests.support.service import ROOT, Service, running_service, script

RULES = [
    {
        "when": {"last_user_contains": "compute", "step": 0},
        "answer": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
    },
    {"when": {"last_user_contains": "compute"}, "answer": {"text": "Found."}},
    {
        "when": {"last_user_contains": "invent", "step": 0},
        "answer": {"tool_calls": [{"name": "made_up_by_a_model", "arguments": {}}]},
    },
    {
        "when": {"last_user_contains": "break"},
        "answer": {"error": {"class": "bad_request", "message": "The model refused."}},
    },
]
Labels = tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """It checks its views once a day; one of them has a row too many from the start."""
    folder = tmp_path_factory.mktemp("measured")
    with server.database() as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO inboxes VALUES ('nobody', 1, 1)")
        options = {"model": script(folder, RULES), "check_every_hours": "24"}
        with running_service(folder, dsn, **options) as running:
            yield running


def values(exposition: str) -> dict[str, dict[Labels, float]]:
    """Samples by name and labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in plain(exposition):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def of(**labels: str) -> Labels:
    return tuple(sorted(labels.items()))


async def test_figures_tell_what_was_done(service: Service) -> None:
    async with portal(service) as line, service.client() as client:
        await line.turn("please compute it", conversation_id="secret-conversation")
        await line.turn("please invent something", conversation_id="secret-conversation")
        await line.turn("please break", conversation_id="secret-conversation")
        await client.get("/portal/conversations/secret-conversation")
        await client.get("/portal/conversations/no-such")
        answer = await client.get(service.url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = values(answer.text)
    partition = of(partition="0")
    assert found["minutebook_runs_total"][of(mode="react", outcome="completed")] == 2
    assert found["minutebook_runs_total"][of(mode="react", outcome="bad_request")] == 1
    calls = found["minutebook_model_calls_total"]
    assert calls[of(model="scripted/script", tier="main", outcome="answered")] == 4
    assert calls[of(model="scripted/script", tier="main", outcome="bad_request")] == 1
    assert found["minutebook_model_call_seconds_count"][of(model="scripted/script", tier="main")] == 5
    spent = found["minutebook_model_tokens_total"]
    assert spent[of(model="scripted/script", tier="main", direction="prompt")] > 0
    assert found["minutebook_tool_calls_total"] == {
        of(tool="calculator", outcome="returned"): 1,
        of(tool="unknown", outcome="unknown_tool"): 1,
    }
    assert found["minutebook_sockets"][of(surface="portal")] == 1
    frames = found["minutebook_socket_frames_total"]
    assert frames[of(surface="portal", direction="in")] == 3
    assert frames[of(surface="portal", direction="out")] == len(line.frames)
    position = found["minutebook_log_position"][partition]
    assert found["minutebook_log_events_appended_total"][partition] > 10
    assert found["minutebook_log_events_appended_total"][partition] <= position
    assert found["minutebook_log_append_seconds_count"] == found["minutebook_log_batches_total"]
    assert found["minutebook_log_waiting_events"][partition] == 0
    requests = found["minutebook_http_requests_total"]
    route = "/api/v1/portal/conversations/{conversation_id}"
    assert requests[of(method="GET", route=route, status="200")] == 1
    assert requests[of(method="GET", route=route, status="404")] == 1
    assert found["minutebook_view_stopped"].keys() == found["minutebook_view_lag_seconds"].keys()
    assert not any(found["minutebook_view_stopped"].values())
    assert found["minutebook_pool_connections"][of(pool="views", state="idle")] >= 1
    assert found["minutebook_runs_here"][of(state="waiting")] == 0
    assert "secret-conversation" not in answer.text
    assert "made_up_by_a_model" not in answer.text


async def test_openmetrics_where_it_is_asked_for(service: Service) -> None:
    async with service.client() as client:
        wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = await client.get(service.url + "/metrics", headers=wanted)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "minutebook_log_events_appended" in {family.name for family in openmetrics(answer.text)}


async def test_foreign_pages_and_names_reach_nothing_in_development_mode(service: Service) -> None:
    """A page that the browser has open may not post here, and no foreign name leads here; guard: the doorway."""
    async with service.client() as client:
        body = {"message": "from a foreign page", "conversation_id": "foreign"}
        for origin in ("https://evil.example.com", "null", "http://localhost:1"):
            answer = await client.post("/portal/chat", json=body, headers={"Origin": origin})
            assert answer.status_code == 403
            assert origin in answer.json()["detail"]
        for host in (
            "evil.example.com",
            f"evil.example.com:{service.port}",
            "",
            "[::2]",
            "127.0.0.1.evil.com",
        ):
            answer = await client.get("/portal/conversations", headers={"Host": host})
            assert answer.status_code in (400, 403), host
        assert (await client.get("/portal/conversations/foreign")).status_code == 404
        own = {"Origin": service.url}
        assert (await client.post("/portal/chat", json=body, headers=own)).status_code == 200
        for host in ("localhost", f"localhost:{service.port}", f"[::1]:{service.port}"):
            assert (await client.get("/portal/conversations", headers={"Host": host})).status_code == 200


async def test_options_name_all_that_a_path_takes(service: Service) -> None:
    async with service.client() as client:
        answer = await client.options("/portal/conversations/any")
    assert {"GET", "DELETE", "OPTIONS"} <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize(
    ("path", "framing", "part"),
    [
        ("/api/v1/portal/chat", b"Content-Type: application/json\r\nContent-Length: 100\r\n", b'{"message": "hel'),
        ("/api/v1/tasks", b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b'9\r\n{"message\r\n'),
        ("/api/v1/chat/upload", b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9\r\n", b"--x\r\n"),
    ],
)  # fmt: skip
async def test_a_client_that_goes_away_in_its_body_is_no_failure_of_ours(
    service: Service, path: str, framing: bytes, part: bytes
) -> None:
    """499, in the figures and in the log. Guard: without the look for a disconnect it counts as our 500."""
    name = f"left{path.replace('/', '.')}"
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-ID: {name}\r\n".encode()
    writer.write(head + framing + b"Expect: 100-continue\r\n\r\n")
    assert b"100 Continue" in await reader.readline()  # whoever wants the body has asked for it
    writer.write(part)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    (line,) = await lines_of(service, name)
    assert (line["event"], line["level"]) == ("request", "info")
    assert (line["status"], line["route"]) == (499, path)
    async with service.client() as client:
        counted = values((await client.get(service.url + "/metrics")).text)["minutebook_http_requests_total"]
    assert counted[of(method="POST", route=path, status="499")] == 1
    assert not [labels for labels in counted if ("status", "500") in labels]


async def lines_of(service: Service, request_id: str) -> list[dict[str, Any]]:
    """All lines of a request, once it has ended."""

    def found() -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in list(service.output) if line.startswith("{"))
        return [line for line in lines if line.get("request_id") == request_id]

    async def logged() -> bool:
        return any(line["event"] == "request" for line in found())

    await until(logged)
    return found()


async def test_the_scheduled_check_shows_a_wrong_view(service: Service) -> None:
    """It begins when the service does. And the document's alerts are about figures that there are."""
    async with service.client() as client:

        async def read() -> dict[str, dict[Labels, float]]:
            return values((await client.get(service.url + "/metrics")).text)

        async def all_checked() -> bool:
            found = await read()
            checked = found.get("minutebook_view_checked_timestamp_seconds", {})
            return checked.keys() == found["minutebook_view_stopped"].keys()

        await until(all_checked)
        found = await read()
    differences = found["minutebook_view_differences"]
    assert differences.pop(of(view="inboxes")) == 1
    assert not any(differences.values())
    assert not any(found["minutebook_view_check_failed"].values())
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"minutebook_view_\w+", document)) == {
        name for name in found if name.startswith("minutebook_view_")
    }


async def test_every_request_and_run_has_a_line(service: Service) -> None:
    """The last of this file: JSON lines with ids; the route's template, never the URL."""
    async with service.client() as client:
        body = {"message": "please compute it", "conversation_id": "logged"}
        sane = await client.post("/portal/chat", json=body, headers={"X-Request-ID": "from-outside.1"})
        assert sane.headers["x-request-id"] == "from-outside.1"
        other = await client.get("/portal/conversations/logged?limit=7", headers={"X-Request-ID": 'a "b"'})
        assert other.headers["x-request-id"] not in ("", 'a "b"')
        missing = await client.get("/nothing-here")
        assert missing.headers["x-request-id"]
    service.stop()
    service.reader.join()
    lines = [json.loads(line) for line in service.output if line.startswith("{")]
    requests = {line["request_id"]: line for line in lines if line["event"] == "request"}
    chat = requests["from-outside.1"]
    assert (chat["route"], chat["method"], chat["status"]) == ("/api/v1/portal/chat", "POST", 200)
    assert chat["user_id"] == "local"
    assert chat["milliseconds"] > 0
    assert chat["level"] == "info"
    read = requests[other.headers["x-request-id"]]
    assert read["route"] == "/api/v1/portal/conversations/{conversation_id}"
    assert "limit=7" not in json.dumps(read)
    assert requests[missing.headers["x-request-id"]]["status"] == 404
    (run,) = (line for line in lines if line["event"] == "run" and line["conversation"].endswith("/logged"))
    assert run["task_id"] == sane.json()["task_id"]
    assert (run["mode"], run["outcome"], run["request_id"]) == ("react", "completed", "from-outside.1")
