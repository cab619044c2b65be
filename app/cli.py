"""The command line: `minutebook run`, `migrate`, `import`, `export`, `tail`, `replay`, `prompt`, `minutes`, `users`,
`keys`, `departments`, `quotas`, `project`, `check`, `doctor`, `bench`."""

import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict

from app import release
from app.commands.departments import departments_command
from app.commands.doctor import configured, examine, print_findings
from app.commands.follow import replay_command, tail_command
from app.commands.keys import keys_command
from app.commands.minutes import minutes_command
from app.commands.output import watch_output
from app.commands.project import check_command, project_group
from app.commands.prompt import prompt_command
from app.commands.quotas import quotas_command
from app.commands.transfer import export_command, import_command
from app.commands.users import users_command
from app.database.address import PORT_MAX
from app.database.embedded import EmbeddedPostgres, EmbeddedPostgresError, running_dsn
from app.database.migrate import MigrationError, migrate
from app.settings import LOOPBACK, Settings, SettingsError, load
from app.telemetry import configure_logs, drop_echoes
from projections.building import SwapBlocked

PROGRAM = "minutebook"


class Installation:
    """Settings, and the database they name: `DATABASE_URL`, else the embedded server, ours or the running service's."""

    def __init__(self, settings: Settings, owner: str) -> None:
        self.settings = settings
        self.owner = owner
        self.database_shown = ""
        self._resources = ExitStack()
        self._dsn: str | None = None

    def dsn(self) -> str:
        """The database, migrated. Starts the embedded server where nothing else is configured or running."""
        if self._dsn is None:
            dsn = self._find_database()
            migrate(dsn)
            self._dsn = dsn
        return self._dsn

    def database(self) -> str:
        """The database as it is, not migrated."""
        return self._dsn or self._find_database()

    def close(self) -> None:
        self._resources.close()

    def _find_database(self) -> str:
        if self.settings.database_url:
            info = conninfo_to_dict(self.settings.database_url)
            self.database_shown = (
                f"{info.get('host', 'local')}:{info.get('port', 5432)}/{info.get('dbname', '')}"
            )
            return self.settings.database_url
        folder = Path(self.settings.data_dir) / "postgres"
        self.database_shown = f"embedded, in {folder}"
        running = running_dsn(folder)
        if running is not None:
            return running
        postgres = EmbeddedPostgres(folder)
        postgres.start()
        self._resources.callback(postgres.stop)
        return postgres.dsn


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(release.VERSION, prog_name=PROGRAM)
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file (TOML); default ./minutebook.toml"
)
@click.option(
    "--owner", default="local", show_default=True, help="Whose conversations import and export mean"
)
@click.pass_context
def cli(context: click.Context, config: Path | None, owner: str) -> None:
    """An agent server that keeps the minutes."""
    installation = Installation(load(os.environ, file=config), owner)
    configure_logs(installation.settings.log_level)
    context.obj = installation
    context.call_on_close(installation.close)


@cli.command()
@click.option("--host", help="Address to serve on; without any API key only loopback")
@click.option(
    "--port", type=click.IntRange(0, PORT_MAX), help="Port to serve on (default 8765; 0: any free one)"
)
@click.pass_obj
def run(installation: Installation, host: str | None, port: int | None) -> None:
    """Serve. Ctrl-C stops everything cleanly."""
    from app.commands.run import demand_key, serve

    settings = installation.settings
    host = host or settings.host
    if settings.development and host not in LOOPBACK:
        demand_key(installation, host)
    serve(installation, _listen(host, settings.port if port is None else port))


@cli.command("migrate")
@click.pass_obj
def migrate_command(installation: Installation) -> None:
    """Bring the database to this release's schema."""
    applied = migrate(installation.database())
    click.echo("\n".join(f"applied {name}" for name in applied) or "The schema is up to date.")


@cli.command()
@click.pass_obj
def doctor(installation: Installation) -> None:
    """Check the database, the log, its guards and the settings; exit code 1 if something is wrong."""
    from app.composition.agents import notices_of  # the models' gateway takes its time to import

    findings = chain(examine(installation.database()), configured(notices_of(installation.settings)))
    if not print_findings(findings):
        raise SystemExit(1)


@cli.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure, as ratios against baselines of the same run. `minutebook bench --help` lists what."""
    from app.bench.cli import bench_command

    bench_command.main(list(arguments), prog_name=f"{PROGRAM} bench", standalone_mode=False)


for command in (
    import_command,
    export_command,
    tail_command,
    replay_command,
    prompt_command,
    minutes_command,
    project_group,
    check_command,
    users_command,
    keys_command,
    departments_command,
    quotas_command,
):
    cli.add_command(command)


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket, bound before anything is started so that a taken port costs nothing."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"{host}:{port} cannot be served: {error.strerror}; pick another port, for example "
            f"MINUTEBOOK_PORT={port + 1 if port < PORT_MAX else 8765}"
        ) from None


def main() -> None:
    """Entry point. Expected errors are one line on standard error and exit code 2; Ctrl-C is 130."""
    problem: Callable[[str], None] = lambda message: click.echo(f"minutebook: {message}", err=True)  # noqa: E731
    try:
        watch_output()
        drop_echoes()
        code = cli.main(prog_name=PROGRAM, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (SettingsError, MigrationError, EmbeddedPostgresError, SwapBlocked) as error:
        problem(str(error))
        sys.exit(2)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        problem(f"the database cannot be reached, or the connection was lost: {reason}; check DATABASE_URL")
        sys.exit(2)


if __name__ == "__main__":
    main()
