"""A socket whose key cannot be looked up: it is told to come again, and never let in."""

import json
from types import SimpleNamespace
from typing import Any, cast

from app.api.services import Services
from app.api.sockets import CLOSE_TRY_AGAIN, Socket, SocketRegistry, open_line
from app.auth.identities import Presented
from app.auth.principal import Principal
from app.log.errors import LogUnavailable


class Away:
    """Identities while the database is away."""

    development = False

    async def identify(self, presented: Presented) -> Principal | None:
        raise LogUnavailable("the database cannot be reached; try again")


class Client:
    """What a socket needs of its connection."""

    headers: dict[str, str] = {"x-api-key": "mb_some_key"}  # noqa: RUF012
    query_params: dict[str, str] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.code = 0

    async def accept(self) -> None:
        pass

    async def send_data(self, data: str, mode: str) -> None:
        self.sent.append(json.loads(data))

    async def close(self, code: int, reason: str) -> None:
        self.code = code


async def test_while_the_database_is_away_a_socket_is_told_to_connect_again() -> None:
    """Guard: a key that may have been revoked is not taken for a good one."""
    client = Client()
    options = SimpleNamespace(locale="en", frames_per_second=0.0, auth_seconds=1.0)
    services = SimpleNamespace(options=options, identities=Away(), sockets=SocketRegistry())
    line = await open_line(cast("Socket", client), cast("Services", services), "portal")
    assert line is None
    assert client.code == CLOSE_TRY_AGAIN
    assert [frame["type"] for frame in client.sent] == ["error"]
