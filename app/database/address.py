"""Whether `database_url` is an address that the drivers understand. What is said of it never shows its password."""

import re
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

SCHEMES = ("postgresql://", "postgres://")
PORT_MAX = 65_535
PARAMETERS = frozenset(
    [
        "host",
        "port",
        "dbname",
        "user",
        "password",
        "passfile",
        "service",
        "application_name",
        "client_encoding",
        "options",
        "sslmode",
        "sslnegotiation",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslrootcert",
        "sslcrl",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "krbsrvname",
        "gsslib",
        "target_session_attrs",
    ]
)
"""What both drivers take: psycopg knows more, and what it does not know it refuses itself."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://")
_QUOTED = re.compile(r'"(.*)"', re.DOTALL)
_PARAMETER = re.compile(r"[a-z_]{1,40}")
_RESERVED = "@?#[]"
"""What the drivers read differently where it stands before the host."""


def wrong_with(address: str) -> str | None:
    """What is wrong with it, in a clause; None: nothing that can be seen without connecting."""
    if not address.startswith(SCHEMES):
        scheme = _SCHEME.match(address)
        begins = f"begins with {scheme[0]}, not" if scheme else "does not begin"
        return f"{begins} with postgresql://"
    if any(ord(character) < ord(" ") for character in address):
        return "has a control character, such as a line break, in it"
    authority, _, rest = address.partition("://")[2].partition("/")
    if "@" in rest.partition("?")[0]:
        return f"has an @ behind its first /: {_escaped('/')}, and in the name of a database @ is written %40"
    named, _, _ = authority.rpartition("@")
    for character in _RESERVED:
        if character in named:
            return f"has a {character} in its name or password: {_escaped(character)}"
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError as error:
        return _said(str(error), address)
    if not all(_is_port(port) for port in str(parts.get("port") or "").split(",")):
        return f"has no number from 1 to {PORT_MAX} as its port"
    foreign = sorted(parts.keys() - PARAMETERS)
    return f"has the parameter {foreign[0]!r}, which asyncpg does not take: leave it out" if foreign else None


def _escaped(character: str) -> str:
    shown = "a space" if character == " " else character
    return f"in a name or password {shown} is written {quote(character, safe='')}"


def _is_port(text: str) -> bool:
    return not text or (text.isdecimal() and 1 <= int(text[:6]) <= PORT_MAX)


def _said(error: str, address: str) -> str:
    """What the driver says, without what it quotes: that can be a part of the password, or all of the address."""
    quoted = _QUOTED.search(error)
    reason = error[: quoted.start()] if quoted else error
    named = ""
    if quoted and reason.startswith("invalid URI query parameter"):
        is_name = _PARAMETER.fullmatch(quoted[1]) and "@" not in address.partition("?")[2]
        named = f" {quoted[1]!r}" if is_name else ""
    elif "percent-encoded token" in reason:
        named = f": {_escaped('%')}"
    elif "unexpected spaces" in reason:
        return f"has a space in it: {_escaped(' ')}"
    elif "IPv6" in error:
        return "has a host in [ without its ]"
    return f"cannot be read: {' '.join(reason.split()).rstrip(' :(')}{named}"
