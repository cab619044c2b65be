"""Exports a table into a folder of parts: constant memory, one position of the log, taken up where it stopped."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from app.transfer.table_formats import Form
from app.transfer.table_parts import ExportRefused, Folder, Manifest, write_parts
from app.transfer.table_reading import Folding, Span, epoch_of, reading
from app.transfer.tables import Subject


class Exported(msgspec.Struct, frozen=True):
    """`new_rows` were written by this run; 0 and `present` where all of it was there before."""

    manifest: Manifest
    new_rows: int
    present: bool = False


def export_table(
    dsn: str,
    subject: Subject,
    form: Form,
    span: Span,
    path: Path,
    *,
    folding: Folding = lambda found: None,
    written: Callable[[Manifest], None] = lambda manifest: None,
) -> Exported:
    """Into the folder `path`, which is made, or holds the beginning of the same export: then its position counts.

    `folding` is told how far a view has come that has to be folded first, `written` of each part. Raises
    `ExportRefused`, `ViewStopped`, `HoleInLog`, `psycopg.Error`; what is complete stays, and the same call goes on.
    """
    folder = Folder(path)
    with folder.locked():
        begun = folder.manifest()
        wanted = Manifest(
            subject=subject.name,
            format=form,
            span=span,
            log=epoch_of(dsn),
            views={projection.name: projection.version for projection in subject.projections},
            columns=tuple(column.name for column in subject.columns),
            positions={},
        )
        if begun is not None:
            _demand_same(path, begun, wanted)
            if begun.complete:
                return Exported(begun, 0, present=True)
        with reading(dsn, subject, span, begun and begun.positions, folding) as found:
            if begun is None:
                begun = msgspec.structs.replace(wanted, positions=found.positions)
                folder.write_manifest(begun)
            done = write_parts(folder, begun, subject.columns, found.rows(begun.last), written)
        return Exported(done, done.rows - begun.rows)


def _demand_same(path: Path, begun: Manifest, wanted: Manifest) -> None:
    """Raises `ExportRefused`."""
    match begun.differs_from(wanted):
        case None:
            return
        case "subject" | "format":
            what = f"the export of {begun.subject} as {begun.format}"
        case "span":
            what = f"an export {_shown(begun.span)}, not {_shown(wanted.span)}"
        case "log":
            what = f"an export of another log ({begun.log}, this one is {wanted.log}: it was restored, or is another)"
        case _:
            what = f"an export of {begun.subject} by another release, with other columns or another view"
    raise ExportRefused(f"{path} holds {what}; remove the folder, or name another with --output")


def _shown(span: Span) -> str:
    since, until = (None if at is None else at.isoformat() for at in (span.since, span.until))
    return " ".join(
        [*([f"since {since}"] if since else []), *([f"until {until}"] if until else [])] or ["of all times"]
    )
