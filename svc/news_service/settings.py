"""What the news service is told from outside."""

from datetime import timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field

from pkg.events.settings import EventSettings
from pkg.news_manager.feed_writer import PUSH_THRESHOLD
from pkg.news_manager.store import LIFETIME, MAX_FEED_LENGTH
from pkg.runtime.access import NEWS_MANAGER
from pkg.runtime.redis import RedisAddress
from pkg.runtime.redis_sentinels import RedisSentinels
from pkg.runtime.redis_settings import RedisPlaces, SentinelPlaces, only_with, only_without, redis_at
from pkg.runtime.settings import HostName, ListenPort, PortNumber, SecretFile, ServiceAddress

_SENTINELS: Final = ("redis_sentinels", "NEWS_REDIS_SENTINELS")


class NewsServiceSettings(EventSettings):
    service_name: ClassVar[str] = NEWS_MANAGER
    http_port_variable: ClassVar[str] = "HTTP_PORT"

    #: gRPC.
    port: ListenPort = 6060
    #: Probes and metrics, and pages for those who pass them on.
    own_http_port: Annotated[int, Field(validation_alias="HTTP_PORT", ge=0, le=65_535)] = 6061

    #: Where feeds are: one server, or those whose sentinels are named, and what the sentinels call them.
    redis_sentinels: SentinelPlaces = Field(default=(), validation_alias="NEWS_REDIS_SENTINELS")
    redis_sentinel_name: Annotated[str | None, only_with(*_SENTINELS)] = Field(
        default=None, validate_default=True, max_length=64, validation_alias="NEWS_REDIS_SENTINEL_NAME"
    )
    redis_host: Annotated[HostName | None, only_without(*_SENTINELS)] = Field(
        default=None, validate_default=True, validation_alias="NEWS_MANAGER_REDIS_SERVICE_HOST"
    )
    redis_port: PortNumber = Field(default=6379, validation_alias="NEWS_MANAGER_REDIS_SERVICE_PORT")
    redis_user: str = Field(default=NEWS_MANAGER, min_length=1, max_length=64, validation_alias="NEWS_REDIS_USER")
    redis_tls: bool = Field(default=False, validation_alias="NEWS_REDIS_TLS")
    redis_password: SecretFile = Field(validation_alias="NEWS_REDIS_PASSWORD_FILE")
    #: Replicas that have what is written, before an event is done with: 0 where there is one server.
    redis_replicas: int = Field(default=0, ge=0, le=8, validation_alias="NEWS_REDIS_REPLICAS")

    #: Entries that a feed holds at most.
    feed_length: int = Field(default=MAX_FEED_LENGTH, ge=20, le=5_000, validation_alias="NEWS_FEED_LENGTH")
    #: Days after which an entry, and a feed that nobody reads, is gone.
    lifetime_days: int = Field(default=LIFETIME.days, ge=1, le=365, validation_alias="NEWS_LIFETIME_DAYS")
    #: Followers above which an author's saves are not pushed to each, but read by each.
    push_threshold: int = Field(default=PUSH_THRESHOLD, ge=1, le=10_000_000, validation_alias="NEWS_PUSH_THRESHOLD")

    link_manager_host: HostName = Field(validation_alias="LINK_MANAGER_SERVICE_HOST")
    link_manager_port: PortNumber = Field(default=8080, validation_alias="LINK_MANAGER_SERVICE_PORT")
    social_graph_manager_host: HostName = Field(validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_HOST")
    social_graph_manager_port: PortNumber = Field(default=9090, validation_alias="SOCIAL_GRAPH_MANAGER_SERVICE_PORT")

    @property
    def lifetime(self) -> timedelta:
        return timedelta(days=self.lifetime_days)

    @property
    def http_port(self) -> int:
        return self.own_http_port

    @property
    def redis(self) -> RedisAddress | RedisSentinels:
        return redis_at(self._redis_places, self.redis_user, self.redis_password, self.redis_tls)

    @property
    def _redis_places(self) -> RedisPlaces:
        return RedisPlaces(self.redis_host, self.redis_port, self.redis_sentinels, self.redis_sentinel_name)

    @property
    def link_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.link_manager_host, port=self.link_manager_port)

    @property
    def social_graph_manager(self) -> ServiceAddress:
        return ServiceAddress(host=self.social_graph_manager_host, port=self.social_graph_manager_port)
