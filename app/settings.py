"""Settings of the service: one frozen value, from a TOML file and the environment. The environment wins.

A setting `name` is the key `name` of the file and the variable `MINUTEBOOK_NAME`. `DATABASE_URL`, `OPENAI_API_KEY`,
`OPENAI_BASE_URL`, `ANTHROPIC_API_KEY` and `OTEL_EXPORTER_OTLP_ENDPOINT` are read under their customary names too.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.core.events import PhasePolicy
from app.core.texts import Locale
from app.database.address import wrong_with

PREFIX = "MINUTEBOOK_"
DEFAULT_FILE = "minutebook.toml"
JWT_SECRET_BYTES_MIN = 32
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CUSTOMARY = {
    "DATABASE_URL": "database_url",
    "OPENAI_API_KEY": "openai_api_key",
    "OPENAI_BASE_URL": "openai_base_url",
    "ANTHROPIC_API_KEY": "anthropic_api_key",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "otel_endpoint",
}
_EXAMPLES = {
    "database_url": "postgresql://minutebook:secret@db:5432/minutebook",
    "data_dir": "/var/lib/minutebook",
    "locale": "zh",
    "model": "openai:gpt-4o-mini",
    "api_keys": '[{"key": "a long random string", "user": "ana", "role": "member"}]',
    "openai_api_key": "sk-…",
    "openai_base_url": "https://llm.example.com/v1",
    "anthropic_api_key": "sk-ant-…",
    "system_prompt": "You are a careful analyst.",
    "jwt_secret": "the output of openssl rand -base64 48",
    "jwt_jwks_url": "https://login.example.com/.well-known/jwks.json",
    "jwt_jwks_file": "/etc/minutebook/jwks.json",
    "jwt_issuer": "https://login.example.com/",
    "jwt_audience": "minutebook",
    "allowed_origins": '["https://chat.example.com"]',
    "check_every_hours": "24",
    "otel_endpoint": "http://127.0.0.1:4318",
    "busy": "steer",
    "model_recovery": "openai:gpt-4o-mini",
    "model_emergency": "local",
    "model_prices": '[{"model": "gpt-4o-mini", "prompt_usd": 0.15, "completion_usd": 0.6}]',
    "skills_dirs": '["/etc/minutebook/skills"]',
    "agents_dir": "/etc/minutebook/agents",
    "experts_dir": "/etc/minutebook/experts",
    "default_board": '["moderator", "strategist", "engineer"]',
    "default_team": '["product-manager", "engineer", "writer"]',
    "phases": '[{"name": "explore", "tools": ["search"], "instruction": "Look around first."}]',
    "mcp_servers": '[{"name": "files", "command": "mcp-server-files", "args": ["/srv/files"]}]',
}
"""Where the default is none, or says too little."""
_HIDDEN = ("key", "secret", "database_url", "mcp_servers")
"""Parts of the names of settings whose values are shown nowhere."""


class SettingsError(Exception):
    """A setting is wrong. The message names it, shows the value and an example."""


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key and whose it is. Give `key`, or `key_sha256` (64 hex digits) to keep the key itself out of the file."""

    user: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._@-]+$")]
    key: str = ""
    key_sha256: str = ""
    role: Literal["admin", "member", "auditor"] = "member"


class ModelPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model costs, in US dollars per million tokens. `model` is its name without the provider."""

    model: str
    prompt_usd: Annotated[float, Meta(ge=0)]
    completion_usd: Annotated[float, Meta(ge=0)]


class McpServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An MCP server whose tools agents may use: `command` (with `args`, `env`) for stdio, or `url` (with `headers`).

    `effects` says of its tools by name what may be done again after a crash; what is not named is `once`.
    `confirm` names the tools that need a person's consent, `*` for all. `long_running` names those whose work goes on
    in the background: a call answers at once, and the result comes by itself.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str = ""
    headers: dict[str, str] = {}
    effects: dict[str, Literal["pure", "idempotent", "once"]] = {}
    confirm: tuple[str, ...] = ()
    long_running: tuple[str, ...] = ()
    timeout_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 60.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be configured. Times are in seconds, or as the name says; a budget of 0 is no limit.

    `busy`: what happens to a message while a task of its conversation runs. `skills_dirs`, `agents_dir` and
    `experts_dir` are read in addition to what ships. `phases` replaces the phases of `plan_exec`. `default_board` and
    `default_team` are experts by id, for `@board` and `@team` without names; the first of a team leads.
    `local_max_tokens` is the most that the local model writes; under 512 it reads seven times as many, and no more.
    """

    database_url: str = ""
    data_dir: str = ".minutebook"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8765
    locale: Locale = "en"
    model: str = "local"
    openai_api_key: str = ""
    openai_base_url: str = ""
    anthropic_api_key: str = ""
    agent_name: str = "assistant"
    system_prompt: str = ""
    max_steps: Annotated[int, Meta(ge=1, le=100)] = 8
    run_timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    run_tokens_max: Annotated[int, Meta(ge=0)] = 0
    run_cost_usd_max: Annotated[float, Meta(ge=0)] = 0.0
    busy: Literal["queue", "steer", "reject"] = "queue"
    tasks_per_conversation: Annotated[int, Meta(ge=1, le=1_000)] = 4
    lease_seconds: Annotated[float, Meta(ge=0.2, le=300)] = 10.0
    human_deadline_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    max_history: Annotated[int, Meta(ge=2, le=1_000)] = 50
    model_recovery: str = ""
    model_emergency: str = ""
    model_retries: Annotated[int, Meta(ge=0, le=10)] = 2
    model_timeout_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 120.0
    model_prices: tuple[ModelPrice, ...] = ()
    local_max_tokens: Annotated[int, Meta(ge=16, le=2_048)] = 512
    skills_dirs: tuple[str, ...] = ()
    agents_dir: str = ""
    phases: tuple[PhasePolicy, ...] = ()
    experts_dir: str = ""
    default_board: Annotated[tuple[str, ...], Meta(min_length=1, max_length=12)] = (
        "moderator",
        "strategist",
        "engineer",
        "finance-expert",
        "skeptic",
    )
    default_team: Annotated[tuple[str, ...], Meta(min_length=1, max_length=12)] = (
        "product-manager",
        "researcher",
        "engineer",
        "writer",
    )
    board_rounds: Annotated[int, Meta(ge=1, le=20)] = 5
    meeting_timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 1_800.0
    shell: bool = False
    shell_timeout_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
    fetch: bool = True
    mcp_servers: tuple[McpServer, ...] = ()
    api_keys: tuple[ApiKey, ...] = ()
    jwt_secret: str = ""
    jwt_jwks_url: Annotated[str, Meta(pattern=r"^(https?://[^\s@]+)?$")] = ""
    jwt_jwks_file: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_role_claim: str = "role"
    jwt_department_claim: str = "department"
    heartbeat_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    feed_heartbeat_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 15.0
    task_heartbeat_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    sockets_per_user: Annotated[int, Meta(ge=1, le=100_000)] = 16
    socket_frames_per_second: Annotated[float, Meta(ge=0, le=100_000)] = 20.0
    auth_seconds: Annotated[float, Meta(gt=0, le=300)] = 10.0
    allowed_origins: tuple[Annotated[str, Meta(pattern=r"^https?://[^/@\s]+$")], ...] = ()
    drain_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 10.0
    check_every_hours: Annotated[float, Meta(ge=0, le=8_760)] = 0.0
    metrics_public: bool = False
    otel_endpoint: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def takes_tokens(self) -> bool:
        """Whether JSON Web Tokens are configured."""
        return bool(self.jwt_secret or self.jwt_jwks_url or self.jwt_jwks_file)

    @property
    def development(self) -> bool:
        """Neither keys nor tokens are configured. If no key was ever issued either, which the log knows, then everybody
        who reaches the server is its one user."""
        return not self.api_keys and not self.takes_tokens


_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def load(environment: Mapping[str, str], *, file: Path | None = None) -> Settings:
    """Raises `SettingsError`. Without `file`, `MINUTEBOOK_CONFIG`, else `minutebook.toml` of this folder, is read."""
    values = _from_file(file, environment)
    for variable, name in _CUSTOMARY.items():
        if environment.get(variable):
            values[name] = environment[variable]
    for variable, value in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name != "config":
            values[name] = _parsed(name, value)
    return check(values)


def check(values: Mapping[str, Any]) -> Settings:
    """The settings of these values, each named in the error where it is wrong. Raises `SettingsError`."""
    for name, value in values.items():
        if name not in _FIELDS:
            raise SettingsError(f"unknown setting {name!r}; known are: {', '.join(_FIELDS)}")
        try:
            msgspec.convert(value, _FIELDS[name].type, strict=False)
        except msgspec.ValidationError as error:
            shown = "(hidden)" if any(part in name for part in _HIDDEN) else repr(value)
            raise SettingsError(
                f"setting {name!r} is {shown}: {error}; an example: {_example(name)}"
            ) from None
    settings = msgspec.convert(values, Settings, strict=False)
    for number, key in enumerate(settings.api_keys, start=1):
        if bool(key.key) == bool(key.key_sha256):
            raise SettingsError(
                f"api_keys: entry {number} (user {key.user!r}) needs either 'key' or 'key_sha256'"
            )
        if key.key and len(key.key) < 16:
            raise SettingsError(
                f"api_keys: the key of user {key.user!r} has under 16 characters; use a longer one"
            )
    _check_tokens(settings)
    _check_mcp_servers(settings.mcp_servers)
    wrong = wrong_with(settings.database_url) if settings.database_url else None
    if wrong is not None:
        raise SettingsError(
            f"setting 'database_url' (DATABASE_URL) {wrong}; for example {_EXAMPLES['database_url']}"
        )
    return settings


def _check_mcp_servers(servers: Sequence[McpServer]) -> None:
    names = [server.name for server in servers]
    for number, server in enumerate(servers):
        if bool(server.command) == bool(server.url):
            wrong = f"{server.name!r} needs either 'command' or 'url'"
        elif server.name in names[:number]:
            wrong = f"there are two named {server.name!r}; rename one"
        else:
            continue
        raise SettingsError(f"mcp_servers: {wrong}; an example: {_EXAMPLES['mcp_servers']}")


def _check_tokens(settings: Settings) -> None:
    size_bytes = len(settings.jwt_secret.encode())
    if settings.jwt_secret and size_bytes < JWT_SECRET_BYTES_MIN:
        raise SettingsError(
            f"setting 'jwt_secret' has {size_bytes} bytes; it needs {JWT_SECRET_BYTES_MIN} or more, for example from "
            "`openssl rand -base64 48`"
        )
    if settings.jwt_jwks_url and settings.jwt_jwks_file:
        raise SettingsError("set either 'jwt_jwks_url' or 'jwt_jwks_file', not both")
    if (settings.jwt_jwks_url or settings.jwt_jwks_file) and not settings.jwt_audience:
        raise SettingsError(
            "with 'jwt_jwks_url' or 'jwt_jwks_file' the setting 'jwt_audience' is needed: without it, tokens that your "
            f"identity provider made for other services would be taken; for example {_EXAMPLES['jwt_audience']}"
        )
    if settings.jwt_jwks_file:
        try:
            known = msgspec.json.decode(Path(settings.jwt_jwks_file).read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise SettingsError(
                f"setting 'jwt_jwks_file' is {settings.jwt_jwks_file!r}, which cannot be read: {error}"
            ) from None
        if not isinstance(known.get("keys"), list):
            raise SettingsError(
                f"setting 'jwt_jwks_file' is {settings.jwt_jwks_file!r}, which holds no key set: it has no list 'keys'"
            )


def _from_file(file: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    named = file or (Path(environment[PREFIX + "CONFIG"]) if environment.get(PREFIX + "CONFIG") else None)
    path = named or Path(DEFAULT_FILE)
    if named is None and not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is not valid TOML: {error}") from error


def _example(name: str) -> str:
    """A value that the setting takes, as it is written in the environment."""
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    default = _FIELDS[name].default
    return default if isinstance(default, str) else msgspec.json.encode(default).decode()


def _parsed(name: str, value: str) -> Any:
    """Of a list, the environment holds the JSON."""
    if name not in _FIELDS or not isinstance(_FIELDS[name].default, tuple):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise SettingsError(
            f"setting {name!r} is not valid JSON: {error}; an example: {_example(name)}"
        ) from None
