"""Standard output of the commands: what cannot be written is an error of one line, as any other."""

import io
import sys
from typing import Any

import click

STDOUT = 1


def watch_output() -> None:
    """From now on a write to standard output that fails, as on a full disk, is a `click.ClickException`, whoever
    writes. A reader that has gone away (`| head`) stays a `BrokenPipeError`."""
    if (
        sys.platform == "win32" or sys.stdout is None
    ):  # a console is no file there; a closed one is none anywhere
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(STDOUT, "wb", closefd=False)),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=bool(sys.stdout.line_buffering),
    )


class _Output(io.FileIO):
    """After a failure it takes everything and writes nothing: what is still in buffers could not be written either."""

    _failed = False

    def write(self, b: Any, /) -> int:
        if self._failed:
            return memoryview(b).nbytes
        try:
            return super().write(b)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failed = True
            raise click.ClickException(f"standard output cannot be written: {error.strerror}") from error
