"""What a service may be told, and what stops its start with one line a fault."""

import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr, ValidationError

from pkg.runtime.mutual_auth import MutualAuth, new_secret
from pkg.runtime.secret import Secret
from pkg.runtime.settings import (
    HostName,
    ListenPort,
    LogLevel,
    Mode,
    PortNumber,
    SecretFile,
    ServiceAddress,
    ServiceSettings,
    load_settings,
    read_settings,
)
from pkg.runtime.start_error import StartError

EVERYWHERE = "0.0.0.0"  # noqa: S104  # a value, bound to by nobody here


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "told"

    port: ListenPort = 7070
    db_host: HostName = Field(default="db", validation_alias="DB_HOST")
    db_port: PortNumber = Field(default=5432, validation_alias="DB_PORT")
    password: SecretFile = Field(default=Secret.of("given"), validation_alias="PASSWORD_FILE")


class Demanding(ServiceSettings):
    service_name: ClassVar[str] = "demanding"

    first: str = Field(validation_alias="FIRST")
    second: int = Field(validation_alias="SECOND")


@pytest.fixture
def secrets(tmp_path: Path) -> str:
    path = tmp_path / "mutual-auth.yaml"
    path.write_text(json.dumps({"accepts": {"a": {"token": new_secret(), "statement_key": new_secret()}}}))
    return str(path)


def read(environment: dict[str, str]) -> Settings:
    return read_settings(Settings, environment)


def faults(environment: dict[str, str], settings_class: type[ServiceSettings] = Settings) -> tuple[str, ...]:
    with pytest.raises(StartError) as refused:
        read_settings(settings_class, environment)
    assert all("\n" not in fault for fault in refused.value.faults)
    return refused.value.faults


def test_defaults(secrets: str) -> None:
    settings = read({"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets})
    assert (settings.mode, settings.host, settings.port) == (Mode.PRODUCTION, EVERYWHERE, 7070)
    assert settings.mutual_auth is True
    assert settings.log_level is LogLevel.INFO
    assert not settings.is_local
    assert settings.load_mutual_auth().content.accepts.keys() == {"a"}


def test_local_mode_listens_on_loopback(secrets: str) -> None:
    assert read({"DELINKCIOUS_MODE": "local", "DELINKCIOUS_MUTUAL_AUTH_FILE": secrets}).host == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_has_many_names(secrets: str, host: str) -> None:
    environment = {"DELINKCIOUS_MODE": "local", "DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "HOST": host}
    assert read(environment).host == host


@pytest.mark.parametrize("host", [EVERYWHERE, "10.0.0.5", "::", "db.example", "127.0.0.1.example"])
def test_local_mode_stays_local(secrets: str, host: str) -> None:
    environment = {"DELINKCIOUS_MODE": "local", "DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "HOST": host}
    (fault,) = faults(environment)
    assert fault.startswith("HOST must be a loopback address in local mode")


def test_caller_checks_go_off_in_local_mode_alone(secrets: str) -> None:
    off = {"DELINKCIOUS_MUTUAL_AUTH": "false"}
    (fault,) = faults(off | {"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets})
    assert fault.startswith("DELINKCIOUS_MUTUAL_AUTH=false is for local mode only")
    local = off | {"DELINKCIOUS_MODE": "local"}
    assert read(local | {"DELINKCIOUS_MUTUAL_AUTH_FILE": "/nowhere"}).load_mutual_auth().content == MutualAuth({}, {})
    assert read(local | {"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets}).load_mutual_auth().content.accepts.keys() == {"a"}


def test_a_file_that_is_there_must_be_right_even_when_it_need_not_be_there(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("accepts: {a: {token: 123, statement_key: 123}}")
    environment = {
        "DELINKCIOUS_MODE": "local",
        "DELINKCIOUS_MUTUAL_AUTH": "false",
        "DELINKCIOUS_MUTUAL_AUTH_FILE": str(wrong),
    }
    assert "is not a secret" in faults(environment)[0]


@pytest.mark.parametrize("mode", ["production", "local"])
def test_caller_checks_need_their_secrets(mode: str) -> None:
    (fault,) = faults({"DELINKCIOUS_MODE": mode, "DELINKCIOUS_MUTUAL_AUTH_FILE": "/nowhere"})
    assert "cannot read the mutual authentication file /nowhere" in fault


# --- secrets --------------------------------------------------------------------------------------------------------


def test_a_secret_is_what_its_file_holds(secrets: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    password = new_secret()
    file.write_text(f" {password}\n")
    settings = read({"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "PASSWORD_FILE": str(file)})
    assert settings.password.get_secret_value() == password
    assert password not in repr(settings)
    assert password not in str(settings)
    changed = new_secret()
    file.write_text(f"{changed}\n{password}\n")
    assert settings.password.values() == [changed, password]


def test_a_secret_is_given_to_the_constructor_as_it_is() -> None:
    settings = Settings(mode=Mode.LOCAL, password=SecretStr("told"))
    assert settings.password.get_secret_value() == "told"


def test_what_changes_is_watched(secrets: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(new_secret())
    settings = read({"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "PASSWORD_FILE": str(file)})
    assert settings.watched_files == [settings.load_mutual_auth(), settings.password.file]
    assert Settings(mode=Mode.LOCAL, mutual_auth_file=Path(secrets)).password.file is None


@pytest.mark.parametrize("content", ["", " \n", "123", "postgres", "Password1234567", "changeme000000", "pa55"])
def test_a_default_is_no_secret(secrets: str, tmp_path: Path, content: str) -> None:
    file = tmp_path / "password"
    file.write_text(content)
    environment = {"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "PASSWORD_FILE": str(file)}
    (fault,) = faults(environment)
    assert fault.startswith("PASSWORD_FILE: ")
    assert str(file) in fault
    assert not content.strip() or content not in fault.replace(str(file), "")
    if content.strip():
        assert read(environment | {"DELINKCIOUS_MODE": "local"}).password.get_secret_value() == content


def test_a_secret_file_that_cannot_be_read(secrets: str, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path, said in ((tmp_path / "missing", "No such file"), (tmp_path, "Is a directory"), (binary, "is not text")):
        (fault,) = faults({"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "PASSWORD_FILE": str(path)})
        assert said in fault


# --- faults ---------------------------------------------------------------------------------------------------------


def test_each_fault_has_its_line_and_names_its_variable() -> None:
    assert faults({"SECOND": "x", "PORT": "70000", "LOG_LEVEL": "loud"}, Demanding) == (
        "PORT: input should be less than or equal to 65535",
        "LOG_LEVEL: input should be 'debug', 'info', 'warning' or 'error'",
        "FIRST is not set; set it",
        "SECOND: input should be a valid integer, unable to parse string as an integer",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_HOST", "http://db"),
        ("DB_HOST", "db name"),
        ("DB_HOST", "user@db"),
        ("DB_PORT", "0"),
        ("DB_PORT", "tcp://10.0.0.1:5432"),
        ("DELINKCIOUS_MODE", "test"),
        ("DELINKCIOUS_MUTUAL_AUTH", "perhaps"),
        ("MAX_CONCURRENT_REQUESTS", "0"),
        ("MAX_CONNECTIONS", "-1"),
        ("REQUEST_TIMEOUT", "0"),
        ("REQUEST_TIMEOUT", "nan"),
        ("STREAM_TIMEOUT", "inf"),
        ("SHUTDOWN_GRACE", "1e9"),
        ("DRAIN_DELAY", "-1"),
        ("DELINKCIOUS_COMMIT", "x" * 65),
    ],
)
def test_what_cannot_be_used_is_named(secrets: str, name: str, value: str) -> None:
    (fault,) = faults({"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, name: value})
    assert fault.startswith(f"{name}: ")


def test_an_empty_variable_is_one_that_is_not_set(secrets: str) -> None:
    settings = read({"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "PORT": "", "DB_HOST": ""})
    assert (settings.port, settings.db_host) == (7070, "db")


def test_names_are_exact_and_others_are_ignored(secrets: str) -> None:
    environment = {"DELINKCIOUS_MUTUAL_AUTH_FILE": secrets, "port": "1", "db_host": "evil", "mode": "local", "X": "y"}
    settings = read(environment)
    assert (settings.port, settings.db_host, settings.mode) == (7070, "db", Mode.PRODUCTION)


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    assert Settings(mode=Mode.LOCAL).port == 7070


def test_settings_are_fixed() -> None:
    settings = Settings(mode=Mode.LOCAL)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # that is the point


def test_a_process_that_cannot_start_says_why_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load_settings(Demanding, {"SECOND": "2"})
    assert ended.value.code == 78
    written = capsys.readouterr()
    assert (written.out, written.err) == ("", "demanding: FIRST is not set; set it\n")


@pytest.mark.parametrize(("host", "url"), [("db", "http://db:80"), ("::1", "http://[::1]:80")])
def test_an_address_as_url(host: str, url: str) -> None:
    assert ServiceAddress(host=host, port=80).base_url == url
