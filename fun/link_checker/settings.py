"""What the link check function is told from outside, and a batch of checks."""

from typing import Annotated, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from pkg.link_checker.address_guard import HostPort, parse_allowed, parse_ports
from pkg.runtime.access import LINK_CHECK_FUNCTION
from pkg.runtime.redis import RedisAddress
from pkg.runtime.redis_sentinels import RedisSentinels
from pkg.runtime.redis_settings import RedisPlaces, SentinelPlaces, only_with, only_without, redis_at
from pkg.runtime.settings import HostName, ListenPort, PortNumber, Seconds, SecretFile, ServiceSettings

_SENTINELS: Final = ("redis_sentinels", "LINK_CHECKER_REDIS_SENTINELS")


def _read_allowed(value: object) -> object:
    return parse_allowed(value) if isinstance(value, str) else value


def _read_ports(value: object) -> object:
    return parse_ports(value) if isinstance(value, str) else value


class LookSettings(ServiceSettings):
    """Of whatever looks at links: where it may go, and in whose turn."""

    service_name: ClassVar[str] = LINK_CHECK_FUNCTION

    #: Places, as host:port with commas between them, that are looked at though they are not public.
    allowed: Annotated[frozenset[HostPort], NoDecode, BeforeValidator(_read_allowed)] = Field(
        default=frozenset(), validation_alias="LINK_CHECKER_ALLOWED"
    )
    #: Ports of public addresses that are looked at besides 80 and 443.
    ports: Annotated[frozenset[int], NoDecode, BeforeValidator(_read_ports)] = Field(
        default=frozenset(), validation_alias="LINK_CHECKER_PORTS"
    )
    #: Nothing but the allowed places is looked at, and no name is looked up: for machines that must not reach the web.
    confined: bool = Field(default=False, validation_alias="LINK_CHECKER_CONFINED")
    #: A URL or an address, sent with each check, where the owner of a site finds out who we are.
    contact: str = Field(default="", max_length=200, pattern=r"^[!-'*-:<-~]*$", validation_alias="LINK_CHECKER_CONTACT")

    #: Where it stands which hosts are being asked, by whichever process: one server, or those whose sentinels are
    #: named, and what the sentinels call them. Without it each knows of its own questions.
    redis_sentinels: SentinelPlaces = Field(default=(), validation_alias="LINK_CHECKER_REDIS_SENTINELS")
    redis_sentinel_name: Annotated[str | None, only_with(*_SENTINELS)] = Field(
        default=None, validate_default=True, max_length=64, validation_alias="LINK_CHECKER_REDIS_SENTINEL_NAME"
    )
    redis_host: Annotated[HostName | None, only_without(*_SENTINELS, one_is_needed=False)] = Field(
        default=None, validate_default=True, validation_alias="LINK_CHECKER_REDIS_SERVICE_HOST"
    )
    redis_port: PortNumber = Field(default=6379, validation_alias="LINK_CHECKER_REDIS_SERVICE_PORT")
    redis_user: str = Field(
        default=LINK_CHECK_FUNCTION, min_length=1, max_length=64, validation_alias="LINK_CHECKER_REDIS_USER"
    )
    redis_tls: bool = Field(default=False, validation_alias="LINK_CHECKER_REDIS_TLS")
    redis_password: SecretFile | None = Field(default=None, validation_alias="LINK_CHECKER_REDIS_PASSWORD_FILE")
    #: Seconds. Who is not answered in time asks without it.
    redis_timeout: Seconds = Field(default=0.5, validation_alias="LINK_CHECKER_REDIS_TIMEOUT")

    @model_validator(mode="after")
    def _has_a_password(self) -> Self:
        if (self.redis_host is not None or self.redis_sentinels) and self.redis_password is None:
            there = "LINK_CHECKER_REDIS_SENTINELS" if self.redis_sentinels else "LINK_CHECKER_REDIS_SERVICE_HOST"
            raise ValueError(f"LINK_CHECKER_REDIS_PASSWORD_FILE is not set; set it, as {there} is")
        return self

    @property
    def redis(self) -> RedisAddress | RedisSentinels | None:
        if self.redis_password is None or (self.redis_host is None and not self.redis_sentinels):
            return None
        return redis_at(self._redis_places, self.redis_user, self.redis_password, self.redis_tls)

    @property
    def _redis_places(self) -> RedisPlaces:
        return RedisPlaces(self.redis_host, self.redis_port, self.redis_sentinels, self.redis_sentinel_name)


class LinkCheckFunctionSettings(LookSettings):
    port: ListenPort = 8090
    #: Longer than a check may take.
    request_timeout: Seconds = Field(default=12.0, validation_alias="REQUEST_TIMEOUT")
