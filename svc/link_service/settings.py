"""What the link service is told from outside."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from pkg.events.settings import EventSettings
from pkg.link_manager.archive import DEFAULT_TEMPLATE, parse_template
from pkg.object_model.types import DEFAULT_MAX_LINKS_PER_USER
from pkg.runtime.access import LINK_MANAGER
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.settings import (
    HostName,
    ListenPort,
    PortNumber,
    SecretFile,
    ServiceAddress,
    ServiceSettings,
)


class LinkSweepSettings(ServiceSettings):
    """What the sweep needs, which is a part of what the service does."""

    service_name: ClassVar[str] = LINK_MANAGER

    db_host: HostName = Field(validation_alias="LINK_DB_SERVICE_HOST")
    db_port: PortNumber = Field(default=5432, validation_alias="LINK_DB_SERVICE_PORT")
    db_name: str = Field(default="link_manager", validation_alias="LINK_DB_NAME")
    db_user: str = Field(default="link_manager_service", validation_alias="LINK_DB_USER")
    db_password: SecretFile = Field(validation_alias="LINK_DB_PASSWORD_FILE")
    #: The certificates by which a server elsewhere is known; connections to it are then encrypted.
    db_ca: str = Field(default="", max_length=4096, validation_alias="LINK_DB_CA")

    user_manager_host: HostName = Field(validation_alias="USER_MANAGER_SERVICE_HOST")
    user_manager_port: PortNumber = Field(default=7070, validation_alias="USER_MANAGER_SERVICE_PORT")
    social_graph_manager_host: HostName = Field(validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_HOST")
    social_graph_manager_port: PortNumber = Field(default=9090, validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_PORT")

    @property
    def database(self) -> PostgresAddress:
        return PostgresAddress(self.db_host, self.db_port, self.db_name, self.db_user, self.db_password, self.db_ca)

    @property
    def user_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.user_manager_host, port=self.user_manager_port)

    @property
    def social_graph_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.social_graph_manager_host, port=self.social_graph_manager_port)


class LinkServiceSettings(LinkSweepSettings, EventSettings):
    port: ListenPort = 8080
    max_links_per_user: int = Field(
        default=DEFAULT_MAX_LINKS_PER_USER, ge=1, le=10_000_000, validation_alias="MAX_LINKS_PER_USER"
    )
    #: Where a dead link may have a copy, with {url} in the place of its URL; empty for nowhere. Nobody is asked there.
    archive_template: Annotated[str, AfterValidator(parse_template)] = Field(
        default=DEFAULT_TEMPLATE, validation_alias="ARCHIVE_URL_TEMPLATE"
    )
