"""A connection of the folds that is lost in the middle of a write: that is told once."""

import logging
from typing import Any

import psycopg
import pytest

from app.telemetry.logs import drop_echoes
from projections.pages import connect


def write_and_lose(connection: psycopg.Connection[Any], dsn: str) -> None:
    with connection.pipeline(), connection.transaction():
        connection.execute("SELECT count(*) FROM events")
        with psycopg.connect(dsn) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        connection.execute("SELECT count(*) FROM events").fetchall()


def test_a_lost_connection_is_told_once(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Guard: `drop_echoes`. psycopg warns of the pipeline and of the transaction that it cannot end."""
    drop_echoes()
    with (
        caplog.at_level(logging.WARNING, logger="psycopg"),
        connect(dsn) as connection,
        pytest.raises(psycopg.OperationalError, match="terminat"),
    ):
        write_and_lose(connection, dsn)
    assert [record.getMessage() for record in caplog.records] == []
