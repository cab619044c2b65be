"""Cursors, filters and frames of the feed."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from app.api import feed_wire as wire
from app.api.queries import InvalidQuery
from app.core.envelope import Recorded
from app.log.subscribe import Delta, Filter

ID = UUID(int=7)


def recorded(offset: int, payload: str, task_id: UUID | None = None) -> Recorded:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Recorded(
        "conversation/a/b",
        offset,
        offset + 10,
        0,
        ID,
        "made.up",
        payload,
        1,
        "user:a",
        task_id,
        None,
        None,
        None,
        at,
    )


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        (None, wire.Cursor(0)),
        ("", wire.Cursor(0)),
        ("42", wire.Cursor(42)),
        ("abc123:42", wire.Cursor(42, "abc123")),
        (":7", wire.Cursor(7, "")),
    ],
)
def test_cursors(text: str | None, cursor: wire.Cursor) -> None:
    assert wire.parse_cursor(text) == cursor


@pytest.mark.parametrize("text", ["-1", "1.0", " 1", "a", "1:", "٣", "9" * 19, "e" * 40 + ":1"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="not a cursor"):
        wire.parse_cursor(text)


def test_filters() -> None:
    assert wire.parse_filter(None, None) == Filter()
    assert wire.parse_filter("a, b,,", str(ID)) == Filter(frozenset({"a", "b"}), ID)
    with pytest.raises(InvalidQuery, match="nonsense"):
        wire.parse_filter(None, "nonsense")


def test_a_payload_goes_out_exactly_as_it_is_stored() -> None:
    """Also one of a newer release, with whatever white space and order it has."""
    payload = '{"type" : "made.up","z":1.50,"a":"\\u00e9\\ud83d\\ude00"}'
    frame = wire.events_frame([recorded(1, payload), recorded(2, payload, ID)], "e:2")
    assert frame.count(payload.encode()) == 2
    decoded = msgspec.json.decode(frame)
    assert decoded["type"] == "events"
    assert decoded["cursor"] == "e:2"
    assert [event["offset"] for event in decoded["events"]] == [1, 2]
    assert "task_id" not in decoded["events"][0]
    assert decoded["events"][1]["task_id"] == str(ID)
    assert decoded["events"][0]["recorded_at"] == "2026-01-02T03:04:05Z"


def test_server_sent_events_have_one_line_of_data() -> None:
    delta = wire.delta_frame(Delta(ID, None, "text", "two\nlines", reset=True))
    assert wire.sse(delta, event="delta").count(b"\n") == 3
    assert wire.sse(b"{}", event="x", id="3") == b"event: x\nid: 3\ndata: {}\n\n"
