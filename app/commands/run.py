"""`minutebook run`: the service in this process."""

import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from app.auth.administration import Administration
from app.commands.administering import administer
from app.gateway.model import ModelError
from app.server import MinutebookServer, build_app, gateway_of, server_config
from app.settings import SettingsError

if TYPE_CHECKING:
    from app.cli import Installation


def demand_key(installation: "Installation", host: str) -> None:
    """Raises `SettingsError` unless a key was ever issued: without any, everybody who reaches the server may do
    everything, so only this machine is served."""
    if not administer(installation, Administration.read).has_issued:
        raise SettingsError(
            f"setting 'host' is {host!r} but there is no API key: without keys only loopback is served. Make one with "
            "`minutebook keys create NAME --role admin`, configure api_keys or jwt_secret, or use host 127.0.0.1"
        )


def serve(installation: "Installation", listener: socket.socket) -> None:
    """Until Ctrl-C or SIGTERM. Prints where it serves, the database and the model once it takes connections."""
    settings = installation.settings
    try:
        gateway = gateway_of(settings)
    except (ValueError, ModelError) as error:
        raise SettingsError(str(error)) from None
    dsn = installation.dsn()
    try:
        app = build_app(settings, dsn, gateway)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    def announce() -> None:
        click.echo(f"Minutebook   http://{shown}:{port}")
        click.echo(f"database     {installation.database_shown}")
        if app.state.services.identities.development:
            click.echo("access       development mode: there is no API key, so only this machine is served")
        click.echo(f"model        {gateway.name}")

    # uvicorn shuts down and then raises the signal again for whoever handled it before: for us both mean a clean end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        MinutebookServer(server_config(settings, app), app, announce).run(sockets=[listener])
    click.echo("Minutebook has stopped.")
