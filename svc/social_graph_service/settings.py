"""What the social graph service is told from outside."""

from typing import ClassVar

from pydantic import Field

from pkg.events.settings import EventSettings
from pkg.runtime.access import SOCIAL_GRAPH_MANAGER
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.settings import (
    HostName,
    ListenPort,
    PortNumber,
    SecretFile,
    ServiceAddress,
)


class SocialGraphServiceSettings(EventSettings):
    service_name: ClassVar[str] = SOCIAL_GRAPH_MANAGER

    port: ListenPort = 9090

    db_host: HostName = Field(validation_alias="SOCIAL_GRAPH_DB_SERVICE_HOST")
    db_port: PortNumber = Field(default=5432, validation_alias="SOCIAL_GRAPH_DB_SERVICE_PORT")
    db_name: str = Field(default="social_graph_manager", validation_alias="SOCIAL_GRAPH_DB_NAME")
    db_user: str = Field(default="social_graph_manager_service", validation_alias="SOCIAL_GRAPH_DB_USER")
    db_password: SecretFile = Field(validation_alias="SOCIAL_GRAPH_DB_PASSWORD_FILE")
    #: The certificates by which a server elsewhere is known; connections to it are then encrypted.
    db_ca: str = Field(default="", max_length=4096, validation_alias="SOCIAL_GRAPH_DB_CA")

    user_manager_host: HostName = Field(validation_alias="USER_MANAGER_SERVICE_HOST")
    user_manager_port: PortNumber = Field(default=7070, validation_alias="USER_MANAGER_SERVICE_PORT")

    @property
    def database(self) -> PostgresAddress:
        return PostgresAddress(self.db_host, self.db_port, self.db_name, self.db_user, self.db_password, self.db_ca)

    @property
    def user_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.user_manager_host, port=self.user_manager_port)
