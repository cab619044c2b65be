"""Commands in tests, as the shell would run them."""

import click
import msgspec
from click.testing import CliRunner, Result

from app.settings import Settings


class Installed(msgspec.Struct):
    """What commands need to know of an installation."""

    address: str
    owner: str
    settings: Settings

    def dsn(self) -> str:
        return self.address


def invoke(
    command: click.Command, dsn: str, *arguments: object, owner: str = "local", **settings: object
) -> Result:
    """It may end with any exit code, but not in a traceback. Blocks: from a coroutine call it in a thread."""
    installed = Installed(dsn, owner, msgspec.convert(settings, Settings))
    result = CliRunner().invoke(command, [str(one) for one in arguments], obj=installed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
