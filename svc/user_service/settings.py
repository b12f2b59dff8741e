"""What the user service is told from outside."""

from typing import ClassVar

from pydantic import Field

from pkg.events.settings import NatsSettings
from pkg.runtime.access import USER_MANAGER
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.settings import HostName, ListenPort, PortNumber, SecretFile, ServiceSettings


class UserSweepSettings(ServiceSettings):
    """What the sweep needs, which is a part of what the service does."""

    service_name: ClassVar[str] = USER_MANAGER

    db_host: HostName = Field(validation_alias="USER_DB_SERVICE_HOST")
    db_port: PortNumber = Field(default=5432, validation_alias="USER_DB_SERVICE_PORT")
    db_name: str = Field(default="user_manager", validation_alias="USER_DB_NAME")
    db_user: str = Field(default="user_manager_service", validation_alias="USER_DB_USER")
    db_password: SecretFile = Field(validation_alias="USER_DB_PASSWORD_FILE")

    @property
    def database(self) -> PostgresAddress:
        return PostgresAddress(self.db_host, self.db_port, self.db_name, self.db_user, self.db_password)


class UserServiceSettings(UserSweepSettings, NatsSettings):
    port: ListenPort = 7070
