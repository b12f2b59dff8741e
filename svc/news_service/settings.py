"""What the news service is told from outside."""

from typing import Annotated, ClassVar

from pydantic import Field

from pkg.events.settings import EventSettings
from pkg.runtime.access import NEWS_MANAGER
from pkg.runtime.redis import RedisAddress
from pkg.runtime.settings import HostName, ListenPort, PortNumber, SecretFile, ServiceAddress


class NewsServiceSettings(EventSettings):
    service_name: ClassVar[str] = NEWS_MANAGER
    http_port_variable: ClassVar[str] = "HTTP_PORT"

    #: gRPC.
    port: ListenPort = 6060
    #: Probes and metrics, and pages for those who pass them on.
    own_http_port: Annotated[int, Field(validation_alias="HTTP_PORT", ge=0, le=65_535)] = 6061

    redis_host: HostName = Field(validation_alias="NEWS_MANAGER_REDIS_SERVICE_HOST")
    redis_port: PortNumber = Field(default=6379, validation_alias="NEWS_MANAGER_REDIS_SERVICE_PORT")
    redis_user: str = Field(default=NEWS_MANAGER, min_length=1, max_length=64, validation_alias="NEWS_REDIS_USER")
    redis_tls: bool = Field(default=False, validation_alias="NEWS_REDIS_TLS")
    redis_password: SecretFile = Field(validation_alias="NEWS_REDIS_PASSWORD_FILE")

    link_manager_host: HostName = Field(validation_alias="LINK_MANAGER_SERVICE_HOST")
    link_manager_port: PortNumber = Field(default=8080, validation_alias="LINK_MANAGER_SERVICE_PORT")
    social_graph_manager_host: HostName = Field(validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_HOST")
    social_graph_manager_port: PortNumber = Field(default=9090, validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_PORT")

    @property
    def http_port(self) -> int:
        return self.own_http_port

    @property
    def redis(self) -> RedisAddress:
        return RedisAddress(self.redis_host, self.redis_port, self.redis_user, self.redis_password, self.redis_tls)

    @property
    def link_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.link_manager_host, port=self.link_manager_port)

    @property
    def social_graph_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.social_graph_manager_host, port=self.social_graph_manager_port)
