"""What the user service is told from outside."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from pkg.events.settings import EventSettings
from pkg.runtime.access import USER_MANAGER
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.settings import HostName, ListenPort, PortNumber, SecretFile, ServiceAddress, ServiceSettings
from pkg.user_manager.deletions import SETTLE


class UserSweepSettings(ServiceSettings):
    """What the sweep needs, which is a part of what the service does."""

    service_name: ClassVar[str] = USER_MANAGER

    db_host: HostName = Field(validation_alias="USER_DB_SERVICE_HOST")
    db_port: PortNumber = Field(default=5432, validation_alias="USER_DB_SERVICE_PORT")
    db_name: str = Field(default="user_manager", validation_alias="USER_DB_NAME")
    db_user: str = Field(default="user_manager_service", validation_alias="USER_DB_USER")
    db_password: SecretFile = Field(validation_alias="USER_DB_PASSWORD_FILE")
    #: The certificates by which a server elsewhere is known; connections to it are then encrypted.
    db_ca: str = Field(default="", max_length=4096, validation_alias="USER_DB_CA")

    @property
    def database(self) -> PostgresAddress:
        return PostgresAddress(self.db_host, self.db_port, self.db_name, self.db_user, self.db_password, self.db_ca)


class UserServiceSettings(UserSweepSettings, EventSettings):
    port: ListenPort = 7070

    link_manager_host: HostName = Field(validation_alias="LINK_MANAGER_SERVICE_HOST")
    link_manager_port: PortNumber = Field(default=8080, validation_alias="LINK_MANAGER_SERVICE_PORT")
    social_graph_manager_host: HostName = Field(validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_HOST")
    social_graph_manager_port: PortNumber = Field(default=9090, validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_PORT")
    news_manager_host: HostName = Field(validation_alias="NEWS_MANAGER_SERVICE_HOST")
    #: Of its HTTP; NEWS_MANAGER_SERVICE_PORT is gRPC's.
    news_manager_port: PortNumber = Field(default=6061, validation_alias="NEWS_MANAGER_SERVICE_PORT_HTTP")

    #: Seconds between the end of an account and the first erasure: longer than any request may take, here or elsewhere.
    deletion_settle: float = Field(
        default=SETTLE.total_seconds(), ge=0, le=86_400, validation_alias="ACCOUNT_DELETION_SETTLE"
    )
    #: Days in which whoever logs in again keeps the account.
    deletion_grace: float = Field(default=0, ge=0, le=90, validation_alias="ACCOUNT_DELETION_GRACE")

    @property
    def link_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.link_manager_host, port=self.link_manager_port)

    @property
    def social_graph_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.social_graph_manager_host, port=self.social_graph_manager_port)

    @property
    def news_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.news_manager_host, port=self.news_manager_port)

    @model_validator(mode="after")
    def _settle_after_the_last_request(self) -> Self:
        """Every service has the same ``STREAM_TIMEOUT``, so that this one's stands for all."""
        if not self.is_local and self.deletion_settle <= self.stream_timeout:
            raise ValueError(
                f"ACCOUNT_DELETION_SETTLE must be longer than STREAM_TIMEOUT ({self.stream_timeout:g} s), or what a "
                "request still writes outlives its account; leave it out"
            )
        return self
