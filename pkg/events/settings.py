"""What a service that tells or hears something over NATS is told from outside."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import Field, field_validator

from pkg.runtime.secret import Password
from pkg.runtime.settings import HostName, PortNumber, SecretFile, ServiceSettings

USUAL_PORT: Final = 4222


@dataclass(frozen=True, slots=True)
class NatsAddress:
    host: str
    port: int
    user: str
    password: Password = field(repr=False)
    #: Whether the connection is encrypted; the certificate must then be one that this machine trusts.
    tls: bool = False

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{host}:{self.port}"


class NatsSettings(ServiceSettings):
    # Without a default: a service that cannot tell what it should must not look as if it did.
    nats_host: HostName = Field(validation_alias="NATS_CLUSTER_SERVICE_HOST")
    nats_port: PortNumber = Field(default=USUAL_PORT, validation_alias="NATS_CLUSTER_SERVICE_PORT")
    #: The service's own name, unless set.
    nats_user: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = Field(
        default="", validate_default=True, validation_alias="NATS_USER"
    )
    nats_password: SecretFile = Field(validation_alias="NATS_PASSWORD_FILE")
    nats_tls: bool = Field(default=False, validation_alias="NATS_TLS")

    @property
    def nats(self) -> NatsAddress:
        return NatsAddress(self.nats_host, self.nats_port, self.nats_user, self.nats_password, self.nats_tls)

    @field_validator("nats_user")
    @classmethod
    def _use_own_name(cls, value: str) -> str:
        return value or cls.service_name


class EventSettings(NatsSettings):
    #: Off: requests are answered and events are told, but nothing is worked on unasked: no events, no sweeps, no
    #: deletions. For a colour that nobody has promoted yet.
    consume: bool = Field(default=True, validation_alias="DELINKCIOUS_CONSUME")
