"""What the API gateway is told from outside."""

from typing import ClassVar

from pydantic import Field

from pkg.runtime.access import API_GATEWAY
from pkg.runtime.settings import HostName, ListenPort, PortNumber, ServiceAddress, ServiceSettings


class ApiGatewaySettings(ServiceSettings):
    service_name: ClassVar[str] = API_GATEWAY

    port: ListenPort = 5000
    #: Seconds for which a token is taken without asking again: so long may one that was revoked still open the door.
    #: 0 asks every time.
    token_cache_seconds: float = Field(default=5.0, ge=0, le=60, validation_alias="DELINKCIOUS_TOKEN_CACHE_SECONDS")

    link_manager_host: HostName = Field(validation_alias="LINK_MANAGER_SERVICE_HOST")
    link_manager_port: PortNumber = Field(default=8080, validation_alias="LINK_MANAGER_SERVICE_PORT")
    user_manager_host: HostName = Field(validation_alias="USER_MANAGER_SERVICE_HOST")
    user_manager_port: PortNumber = Field(default=7070, validation_alias="USER_MANAGER_SERVICE_PORT")
    social_graph_manager_host: HostName = Field(validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_HOST")
    social_graph_manager_port: PortNumber = Field(default=9090, validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_PORT")

    news_manager_host: HostName = Field(validation_alias="NEWS_MANAGER_SERVICE_HOST")
    #: Of its HTTP; NEWS_MANAGER_SERVICE_PORT is gRPC's.
    news_manager_port: PortNumber = Field(default=6061, validation_alias="NEWS_MANAGER_SERVICE_PORT_HTTP")

    @property
    def link_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.link_manager_host, port=self.link_manager_port)

    @property
    def user_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.user_manager_host, port=self.user_manager_port)

    @property
    def social_graph_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.social_graph_manager_host, port=self.social_graph_manager_port)

    @property
    def news_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.news_manager_host, port=self.news_manager_port)
