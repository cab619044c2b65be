"""What a client gives with a task for its record: `metadata`, and an `input_data` that is more than a message."""

from typing import Any

import msgspec

from app.core.events import RunRequested
from app.core.messages import storable_json
from app.runs.refused import MessageTooLong
from app.runs.sessions import METADATA_BYTES_MAX, MetadataTooLong

INPUT_BYTES_MAX = 64 * 1024
Json = dict[str, Any]


class Given(msgspec.Struct, frozen=True):
    """Two JSON objects as the log keeps them. Each counts in bytes of JSON: 16 KiB of `metadata`, 64 KiB of
    `input_data`."""

    metadata: msgspec.Raw
    input_data: msgspec.Raw


def given_with(metadata: Json | None, input_data: Json | None) -> Given:
    """Raises `MetadataTooLong`, `MessageTooLong`."""
    about, asked = _encoded(metadata), _encoded(input_data)
    if len(about) > METADATA_BYTES_MAX:
        raise MetadataTooLong(size=len(about), limit=METADATA_BYTES_MAX)
    if len(asked) > INPUT_BYTES_MAX:
        raise MessageTooLong(size=len(asked), limit=INPUT_BYTES_MAX)
    return Given(msgspec.Raw(about), msgspec.Raw(asked))


def with_given(requested: RunRequested, given: Given | None) -> RunRequested:
    """The request of the task, with what was given."""
    if given is None:
        return requested
    return msgspec.structs.replace(requested, metadata=given.metadata, input_data=given.input_data)


def _encoded(value: Json | None) -> bytes:
    return msgspec.json.encode(storable_json(value or {}))
