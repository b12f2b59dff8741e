"""What a service is told from outside: read once at start, checked, then fixed.

Every setting is an environment variable, named by its alias. ``load_settings`` reads them; the constructor
takes values alone, so that a test never depends on the environment it runs in. Secrets are named by files
(``..._FILE``), never put into variables, where every child and every crash report would see them.
"""

import ipaddress
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    InstanceOf,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from pkg.runtime.mutual_auth import MutualAuth, load_mutual_auth
from pkg.runtime.secret import Secret
from pkg.runtime.start_error import StartError, tell
from pkg.runtime.watched_file import WatchedFile

_LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  # in a pod, whose address nobody knows beforehand


class Mode(StrEnum):
    PRODUCTION = "production"
    #: A developer's machine: loopback only, local users, relaxed secrets.
    LOCAL = "local"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _open_secret_file(value: object, info: ValidationInfo) -> object:
    if isinstance(value, SecretStr):
        return Secret.of(value.get_secret_value())
    if isinstance(value, Secret):
        return value
    relaxed = info.data.get("mode") == Mode.LOCAL
    try:
        return Secret.in_file(Path(str(value)), relaxed=relaxed)
    except StartError as error:
        raise ValueError(str(error)) from None


#: A secret whose variable names a file. A SecretStr given to the constructor is taken as the secret itself.
SecretFile = Annotated[InstanceOf[Secret], BeforeValidator(_open_secret_file)]


def _without_blank(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _host_name(value: str) -> str:
    if not value or any(character in value for character in "/@? \t\n"):
        raise ValueError("must be a host name or an address, without a scheme and without a port")
    return value


HostName = Annotated[str, BeforeValidator(_without_blank), AfterValidator(_host_name)]
PortNumber = Annotated[int, Field(ge=1, le=65_535)]
#: A service overrides ``port`` with its own default: ``port: ListenPort = 8080``. 0 takes any free one.
ListenPort = Annotated[int, Field(validation_alias="PORT", ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class ServiceAddress(BaseModel, frozen=True):
    host: HostName
    port: PortNumber

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class ServiceSettings(BaseSettings):
    """What every service has. A service's own class adds fields, each with its ``validation_alias``."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True, hide_input_in_errors=True
    )

    service_name: ClassVar[str]
    #: Where ``http_port`` comes from.
    http_port_variable: ClassVar[str] = "PORT"

    # First, because others are judged by it.
    mode: Mode = Field(default=Mode.PRODUCTION, validation_alias="DELINKCIOUS_MODE")
    host: HostName = Field(
        default_factory=lambda data: _LOOPBACK if data.get("mode") == Mode.LOCAL else _EVERYWHERE,
        validation_alias="HOST",
    )
    port: ListenPort = 8080
    log_level: Annotated[LogLevel, BeforeValidator(lambda value: str(value).strip().lower())] = Field(
        default=LogLevel.INFO, validation_alias="LOG_LEVEL"
    )
    mutual_auth: bool = Field(default=True, validation_alias="DELINKCIOUS_MUTUAL_AUTH")
    mutual_auth_file: Path = Field(
        default=Path("/etc/delinkcious/mutual-auth.yaml"), validation_alias="DELINKCIOUS_MUTUAL_AUTH_FILE"
    )
    #: Beyond it requests are refused at once: a queue would only make everybody late.
    max_concurrent_requests: int = Field(default=200, ge=1, le=100_000, validation_alias="MAX_CONCURRENT_REQUESTS")
    max_connections: int = Field(default=2_000, ge=1, le=1_000_000, validation_alias="MAX_CONNECTIONS")
    #: Seconds, until the answer begins.
    request_timeout: Seconds = Field(default=10.0, validation_alias="REQUEST_TIMEOUT")
    #: Seconds, for the whole of an answer that is sent as it is made.
    stream_timeout: Seconds = Field(default=120.0, validation_alias="STREAM_TIMEOUT")
    #: Seconds between failing /readyz and refusing connections: so long balancers go on sending.
    drain_delay: float = Field(default=0.0, ge=0, le=600, validation_alias="DRAIN_DELAY")
    #: Seconds that requests get to finish after that.
    shutdown_grace: Seconds = Field(default=20.0, validation_alias="SHUTDOWN_GRACE")
    commit: str = Field(default="unknown", max_length=64, validation_alias="DELINKCIOUS_COMMIT")

    #: Read once, however many ask for it.
    _mutual_auth: WatchedFile[MutualAuth] | None = PrivateAttr(None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @property
    def is_local(self) -> bool:
        return self.mode is Mode.LOCAL

    @property
    def http_port(self) -> int:
        """The port of HTTP. A service that speaks something else on ``port`` has another for its probes."""
        return self.port

    def load_mutual_auth(self) -> WatchedFile[MutualAuth]:
        """The service's edges, which change with their file. With mutual authentication off it may be missing; then
        there are none.

        Raises:
            StartError: the file is missing or wrong.
        """
        if self._mutual_auth is None:
            self._mutual_auth = WatchedFile(self.mutual_auth_file, self._read_mutual_auth)
        return self._mutual_auth

    @property
    def watched_files(self) -> list[WatchedFile[Any]]:
        """All that is read again when it changes."""
        secrets = (getattr(self, name) for name in type(self).model_fields)
        files = [secret.file for secret in secrets if isinstance(secret, Secret) and secret.file is not None]
        return [self.load_mutual_auth(), *files]

    def _read_mutual_auth(self, path: Path) -> MutualAuth:
        if not self.mutual_auth and not path.exists():
            return MutualAuth({}, {})
        return load_mutual_auth(path)

    @model_validator(mode="after")
    def _keep_local_mode_local(self) -> Self:
        if self.is_local and not _is_loopback(self.host):
            raise ValueError(
                "HOST must be a loopback address in local mode, where anybody can log in as anybody; "
                "leave it out, or set DELINKCIOUS_MODE=production"
            )
        if not self.is_local and not self.mutual_auth:
            raise ValueError("DELINKCIOUS_MUTUAL_AUTH=false is for local mode only; remove it, or set DELINKCIOUS_MODE")
        return self


def load_settings[SettingsT: ServiceSettings](
    settings_class: type[SettingsT], environment: Mapping[str, str] | None = None
) -> SettingsT:
    """The settings, as the environment has them.

    Ends the process with one line a fault on standard error, and an exit code that says that to start it again would
    change nothing (EX_CONFIG of sysexits.h).
    """
    try:
        return read_settings(settings_class, os.environ if environment is None else environment)
    except StartError as error:
        tell(settings_class.service_name, *error.faults)
        raise SystemExit(os.EX_CONFIG) from None


def read_settings[SettingsT: ServiceSettings](
    settings_class: type[SettingsT], environment: Mapping[str, str]
) -> SettingsT:
    """
    Raises:
        StartError: one fault for each setting that cannot be used, naming its variable.
    """
    source = EnvSettingsSource(settings_class, case_sensitive=True, env_ignore_empty=True)
    # By alias alone: `mode` and `host` are nobody's settings.
    names = {str(about.validation_alias) for about in settings_class.model_fields.values()}
    source.env_vars = {name: value for name, value in environment.items() if value != "" and name in names}
    try:
        settings = settings_class(**source())
    except SettingsError as error:
        raise StartError(str(error)) from None
    except ValidationError as invalid:
        faults = invalid.errors(include_url=False, include_input=False)
        # Of a default that goes by another setting: that one has its own line.
        told = [fault for fault in faults if fault["type"] != "default_factory_not_called"]
        # A default that is at fault goes by its field's name.
        aliases = {name: str(about.validation_alias) for name, about in settings_class.model_fields.items()}
        raise StartError(*(_fault(fault, aliases) for fault in told)) from None
    # Read here as well, so that a missing or default secret stops the start before anything else is tried.
    settings.load_mutual_auth()
    return settings


def is_local(environment: Mapping[str, str]) -> bool:
    """For programs that have no settings: whether what they are told is meant for a developer's machine."""
    return environment.get("DELINKCIOUS_MODE") == Mode.LOCAL


def _fault(fault: Mapping[str, Any], aliases: Mapping[str, str]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    first, *steps = map(str, fault["loc"])
    variable = ".".join([aliases.get(first, first), *steps])
    if fault["type"] == "missing":
        return f"{variable} is not set; set it"
    return f"{variable}: {message[:1].lower()}{message[1:]}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
