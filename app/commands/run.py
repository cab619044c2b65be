"""`minutebook run`: the service in this process."""

import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from app.gateway.model import ModelError
from app.server import MinutebookServer, build_app, gateway_of, server_config
from app.settings import SettingsError

if TYPE_CHECKING:
    from app.cli import Installation


def serve(installation: "Installation", listener: socket.socket) -> None:
    """Until Ctrl-C or SIGTERM. Prints where it serves, the database and the model once it takes connections."""
    settings = installation.settings
    try:
        gateway = gateway_of(settings)
    except (ValueError, ModelError) as error:
        raise SettingsError(str(error)) from None
    dsn = installation.dsn()
    app = build_app(settings, dsn, gateway)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    def announce() -> None:
        click.echo(f"Minutebook   http://{shown}:{port}")
        click.echo(f"database     {installation.database_shown}")
        click.echo(f"model        {gateway.name}")
        if settings.development:
            click.echo(
                "access       development mode: no API key is configured, so only this machine is served"
            )

    # uvicorn shuts down and then raises the signal again for whoever handled it before: for us both mean a clean end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        MinutebookServer(server_config(settings, app), app, announce).run(sockets=[listener])
    click.echo("Minutebook has stopped.")
