"""Settings: what is wrong is named, with its value and an example, and keys are never shown."""

import re
from pathlib import Path

import msgspec
import pytest

from app.settings import Settings, SettingsError, check, load


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "minutebook.toml"
    file.write_text('port = 9000\nlocale = "zh"\n[[api_keys]]\nkey = "0123456789abcdef"\nuser = "ana"\n')
    settings = load({"MINUTEBOOK_PORT": "9001"}, file=file)
    assert (settings.port, settings.locale, settings.api_keys[0].user) == (9001, "zh", "ana")
    assert not settings.development


def test_customary_names_are_read() -> None:
    settings = load({"DATABASE_URL": "postgresql://a@b/c", "OPENAI_API_KEY": "k", "HOME": "/root"})
    assert (settings.database_url, settings.openai_api_key) == ("postgresql://a@b/c", "k")
    assert settings.model == "local"  # a key alone does not send anything anywhere


@pytest.mark.parametrize(
    ("variable", "value", "parts"),
    [
        ("PORT", "99999", ["port", "99999", "8765"]),
        ("LOCALE", "fr", ["locale", "fr", "zh"]),
        ("MAX_STEPS", "0", ["max_steps", "0"]),
        ("LOG_LEVEL", "loud", ["log_level", "loud", "info"]),
        ("API_KEYS", '[{"user": "ana"}]', ["api_keys", "ana", "key_sha256"]),
        ("API_KEYS", '[{"user": "ana", "key": "short"}]', ["api_keys", "ana", "16"]),
        ("API_KEYS", '[{"user": "a b", "key": "0123456789abcdef"}]', ["api_keys", "hidden"]),
        ("JWT_SECRET", "0123456789abcdef", ["jwt_secret", "16 bytes", "32"]),
        ("JWT_JWKS_URL", "file:///etc/passwd", ["jwt_jwks_url", "https://login.example.com"]),
        ("JWT_JWKS_URL", "https://login.example.com/keys", ["jwt_audience"]),
    ],
)
def test_a_wrong_value_is_named(variable: str, value: str, parts: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"MINUTEBOOK_{variable}": value})
    for part in parts:
        assert part in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("http://u:geheim@h/x", "begins with http://"),
        ("geheim", "postgresql://"),
        ("host=h password=geheim", "postgresql://"),
        ("postgresql://localhost/x?bogus=geheim", "invalid URI query parameter 'bogus'"),
        ("postgresql://u:p%geheim@h/x", "% is written %25"),
        ("postgresql://u:p geheim@h/x", "a space is written %20"),
        ("postgresql://u:p@geheim@h/x", "@ is written %40"),
        ("postgresql://u:1/geheim@h/x", "/ is written %2F"),
        ("postgresql://u:p?geheim=1@h/x", "? is written %3F"),
        ("postgresql://u:geheim@h:geheim/x", "port"),
        ("postgresql://u:geheim@h:99999/x", "port"),
        ("postgresql://u:geheim@[::1/x", "without its ]"),
        ("postgresql://u:12/3?geheim@h/x", "cannot be read"),
        ("postgresql://u:geheim@h/x?sslmode=require&channel_binding=require", "'channel_binding'"),
        ("postgresql://u:geheim\x00@h/x", "control character"),
    ],
)
def test_an_address_that_names_no_database_is_refused_without_its_password(address: str, part: str) -> None:
    for variable in ("DATABASE_URL", "MINUTEBOOK_DATABASE_URL"):
        with pytest.raises(SettingsError) as caught:
            load({variable: address})
        said = str(caught.value)
        assert "'database_url'" in said
        assert part in said
        assert "geheim" not in said
        assert "for example postgresql://minutebook:secret@db:5432/minutebook" in said
        assert "\n" not in said


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://",
        "postgres:///book?host=/tmp/postgres",
        "postgresql://%2Ftmp%2Fpostgres/book",
        "postgresql://u:p%40%2F%25ss@one:1,two:2/book?sslmode=require&application_name=x",
        "postgresql://[::1]:5432/book?user=me@server",
    ],
)
def test_an_address_that_the_driver_takes_is_taken(address: str) -> None:
    assert load({"DATABASE_URL": address}).database_url == address


@pytest.mark.parametrize(
    ("servers", "part"),
    [
        ('[{"name": "x"}]', "'x' needs either 'command' or 'url'"),
        ('[{"name": "x", "command": "c", "url": "http://h"}]', "'x' needs either 'command' or 'url'"),
        ('[{"name": "x", "command": "c"}, {"name": "x", "url": "http://h"}]', "two named 'x'"),
        ('[{"name": "a b", "command": "c", "env": {"TOKEN": "geheim"}}]', "(hidden)"),
    ],
)
def test_an_mcp_server_that_cannot_be_reached_is_a_wrong_setting(servers: str, part: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"MINUTEBOOK_MCP_SERVERS": servers})
    assert "mcp_servers" in str(caught.value)
    assert part in str(caught.value)
    assert "mcp-server-files" in str(caught.value), "an example"
    assert "geheim" not in str(caught.value)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("port = ")
    with pytest.raises(SettingsError, match=r"broken\.toml"):
        load({}, file=file)


def test_with_tokens_configured_nobody_is_let_in_without_one() -> None:
    assert load({}).development
    assert not load({"MINUTEBOOK_JWT_SECRET": "0123456789abcdef" * 2}).development


@pytest.mark.parametrize(
    ("content", "part"), [(None, "cannot be read"), ("{", "cannot be read"), ('{"key": []}', "no key set")]
)
def test_a_file_that_holds_no_key_set_is_named(tmp_path: Path, content: str | None, part: str) -> None:
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=part) as caught:
        load({"MINUTEBOOK_JWT_JWKS_FILE": str(file), "MINUTEBOOK_JWT_AUDIENCE": "minutebook"})
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("field", msgspec.structs.fields(Settings), ids=lambda field: field.name)
def test_whatever_is_wrong_is_told_with_an_example_that_is_right(field: msgspec.structs.FieldInfo) -> None:
    with pytest.raises(SettingsError) as caught:
        check({field.name: {"of": "no use"}})
    example = str(caught.value).rpartition("; an example: ")[2]
    assert example
    given = msgspec.json.decode(example) if isinstance(field.default, tuple) else example
    msgspec.convert(given, field.type, strict=False)


def test_every_setting_is_in_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:MINUTEBOOK_)?([A-Z_]+)`", document))
    settings = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    assert settings <= named, f"docs/settings.md lacks {settings - named}"
    assert named - settings <= {"CONFIG", "OTEL_EXPORTER_OTLP_ENDPOINT", "MINUTEBOOK_"}
