"""What can be exported as a table: its columns, and where its rows are. A new subject is one entry of `SUBJECTS`."""

from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from projections import experience_texts, experiences, usage
from projections.projection import AnyProjection

Kind: TypeAlias = Literal["text", "id", "integer", "number", "boolean", "time", "json"]
"""`id` is a UUID; `json` is JSON text, except in JSON lines, where it is the value itself."""

_KINDS: dict[object, Kind] = {
    str: "text",
    UUID: "id",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "time",
}


class Column(msgspec.Struct, frozen=True):
    """A column of an exported table."""

    name: str
    kind: Kind


class Source(msgspec.Struct, frozen=True, eq=False):
    """Rows of views. `query` gives the subject's columns in their order; by `key` (some of these columns, unique
    together, with an index) the rows are ordered; `at` is the column of their time."""

    projections: tuple[AnyProjection, ...]
    query: str
    key: tuple[str, ...]
    at: str


class Subject(msgspec.Struct, frozen=True, eq=False):
    """A table that can be exported: the rows of its sources, one source after the other. None: the log itself."""

    name: str
    columns: tuple[Column, ...]
    sources: tuple[Source, ...] = ()

    @property
    def projections(self) -> tuple[AnyProjection, ...]:
        return tuple(projection for source in self.sources for projection in source.projections)


def columns_of(row: type[msgspec.Struct], **kinds: Kind) -> tuple[Column, ...]:
    """A column for each field; `kinds` says what the field's type does not."""
    return tuple(
        Column(field.name, kinds.get(field.name) or _kind(field.type))
        for field in msgspec.structs.fields(row)
    )


def _kind(annotation: Any) -> Kind:
    """What is no plain value is JSON."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(one for one in get_args(annotation) if one is not NoneType)
    if get_origin(annotation) is Literal:
        return "text"
    return _KINDS.get(annotation, "json")


def _experiences() -> Subject:
    """Of what has ended. Words that were forgotten with their conversation are missing."""
    figures = [one for one in columns_of(experiences.Experience) if one.name != "duration_bin"]
    words = [
        one
        for one in columns_of(experience_texts.ExperienceText)
        if one.name in ("goal", "result", "problem")
    ]
    columns = ", ".join([f"e.{one.name}" for one in figures] + [f"x.{one.name}" for one in words])
    query = (
        f"SELECT {columns} FROM experiences e LEFT JOIN experience_texts x ON x.id = e.id "  # noqa: S608 (names are ours)
        "WHERE e.outcome IS NOT NULL"
    )
    views = (experiences.PROJECTION, experience_texts.PROJECTION)
    return Subject("experiences", (*figures, *words), (Source(views, query, ("ended_at", "id"), "ended_at"),))


def _usage(subject: Literal["user", "department"], projection: AnyProjection) -> Source:
    columns = ", ".join(projection.columns)
    return Source(
        (projection,),
        f"SELECT '{subject}' AS subject, {columns} FROM {projection.name}",  # noqa: S608 (names are ours)
        projection.key,
        "hour",
    )


SUBJECTS: dict[str, Subject] = {
    subject.name: subject
    for subject in (
        _experiences(),
        Subject("events", columns_of(Recorded, payload="json")),
        Subject(
            "usage",
            (Column("subject", "text"), *columns_of(usage.UsageHour)),
            (_usage("department", usage.BY_DEPARTMENT), _usage("user", usage.BY_USER)),
        ),
    )
}
