"""What the API gateway is told from outside."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from pkg.events.settings import NatsSettings
from pkg.rate_limits.store import Limit
from pkg.runtime.access import API_GATEWAY
from pkg.runtime.redis import RedisAddress
from pkg.runtime.redis_sentinels import RedisSentinels
from pkg.runtime.redis_settings import RedisPlaces, SentinelPlaces, only_with, only_without, redis_at
from pkg.runtime.settings import (
    HostName,
    ListenPort,
    Mode,
    PortNumber,
    Seconds,
    SecretFile,
    ServiceAddress,
)
from svc.api_gateway_service.client_address import ForwardedHeader, Network, parse_networks
from svc.api_gateway_service.cross_origin import parse_origins
from svc.api_gateway_service.identity_settings import IdentitySettings
from svc.api_gateway_service.limits import Pace
from svc.api_gateway_service.news_stream import StreamBounds


def _read_networks(value: object) -> object:
    return parse_networks(value) if isinstance(value, str) else value


def _read_origins(value: object) -> object:
    return parse_origins(value) if isinstance(value, str) else value


_SENTINELS: Final = ("limit_redis_sentinels", "RATE_LIMIT_REDIS_SENTINELS")

#: 0 is without limit.
Requests = Annotated[int, Field(ge=0, le=1_000_000)]


class ApiGatewaySettings(IdentitySettings, NatsSettings):
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

    #: Where buckets of tokens are, which all gateways share: one server, or those whose sentinels are named, and what
    #: the sentinels call them.
    limit_redis_sentinels: SentinelPlaces = Field(default=(), validation_alias="RATE_LIMIT_REDIS_SENTINELS")
    limit_redis_sentinel_name: Annotated[str | None, only_with(*_SENTINELS)] = Field(
        default=None, validate_default=True, max_length=64, validation_alias="RATE_LIMIT_REDIS_SENTINEL_NAME"
    )
    limit_redis_host: Annotated[HostName | None, only_without(*_SENTINELS)] = Field(
        default=None, validate_default=True, validation_alias="RATE_LIMIT_REDIS_SERVICE_HOST"
    )
    limit_redis_port: PortNumber = Field(default=6379, validation_alias="RATE_LIMIT_REDIS_SERVICE_PORT")
    limit_redis_user: str = Field(
        default=API_GATEWAY, min_length=1, max_length=64, validation_alias="RATE_LIMIT_REDIS_USER"
    )
    limit_redis_tls: bool = Field(default=False, validation_alias="RATE_LIMIT_REDIS_TLS")
    limit_redis_password: SecretFile = Field(validation_alias="RATE_LIMIT_REDIS_PASSWORD_FILE")
    #: Seconds. Who is not answered in time lets everybody go on.
    limit_timeout: Seconds = Field(default=0.1, validation_alias="RATE_LIMIT_TIMEOUT")
    #: All limits are multiplied by it; 0 switches all of them off. On a developer's machine everybody comes from one
    #: address, and load is what is looked for.
    limit_factor: float = Field(
        default_factory=lambda data: 100.0 if data.get("mode") == Mode.LOCAL else 1.0,
        ge=0,
        le=1_000_000,
        validation_alias="RATE_LIMIT_FACTOR",
    )
    #: In a minute, of one user.
    user_reads: Requests = Field(default=1_200, validation_alias="RATE_LIMIT_USER_READS")
    user_writes: Requests = Field(default=300, validation_alias="RATE_LIMIT_USER_WRITES")
    user_files: Requests = Field(default=20, validation_alias="RATE_LIMIT_USER_FILES")
    user_checks: Requests = Field(default=30, validation_alias="RATE_LIMIT_USER_CHECKS")
    #: In a minute, from one address: that of many, where a company or a provider has one for all.
    address_reads: Requests = Field(default=6_000, validation_alias="RATE_LIMIT_ADDRESS_READS")
    address_writes: Requests = Field(default=1_500, validation_alias="RATE_LIMIT_ADDRESS_WRITES")
    address_files: Requests = Field(default=100, validation_alias="RATE_LIMIT_ADDRESS_FILES")
    address_checks: Requests = Field(default=150, validation_alias="RATE_LIMIT_ADDRESS_CHECKS")
    address_pages: Requests = Field(default=1_200, validation_alias="RATE_LIMIT_ADDRESS_PAGES")
    address_logins: Requests = Field(default=60, validation_alias="RATE_LIMIT_ADDRESS_LOGINS")
    #: Requests with a token that is nobody's, or with none.
    address_failures: Requests = Field(default=120, validation_alias="RATE_LIMIT_ADDRESS_FAILURES")

    #: Streams of news that a user may have open here, and that there may be in all: each holds a connection.
    news_streams_of_user: int = Field(default=5, ge=1, le=1_000, validation_alias="NEWS_STREAMS_OF_USER")
    news_streams: int = Field(default=1_000, ge=1, le=100_000, validation_alias="NEWS_STREAMS")
    #: Seconds between two signs of life of one that has nothing to tell.
    news_stream_heartbeat: Seconds = Field(default=15.0, validation_alias="NEWS_STREAM_HEARTBEAT")
    #: Seconds after which one ends, so that clients spread over the gateways that there are by then.
    news_stream_lifetime: Seconds = Field(default=3_600.0, validation_alias="NEWS_STREAM_LIFETIME")
    #: Seconds in which a client takes what is written for it.
    news_stream_write_timeout: Seconds = Field(default=10.0, validation_alias="NEWS_STREAM_WRITE_TIMEOUT")

    #: Proxies whose word on where a request comes from is taken: addresses and networks, with commas between them.
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_read_networks)] = Field(
        default=(), validation_alias="TRUSTED_PROXIES"
    )
    #: Where they say it.
    forwarded_header: ForwardedHeader = Field(
        default=ForwardedHeader.X_FORWARDED_FOR, validation_alias="TRUSTED_PROXY_HEADER"
    )
    #: Sites whose scripts may call the API, such as https://app.example, with commas between them; * is any.
    cors_origins: Annotated[frozenset[str], NoDecode, BeforeValidator(_read_origins)] = Field(
        default=frozenset(), validation_alias="CORS_ORIGINS"
    )

    @property
    def limit_redis(self) -> RedisAddress | RedisSentinels:
        return redis_at(
            self._limit_redis_places, self.limit_redis_user, self.limit_redis_password, self.limit_redis_tls
        )

    @property
    def _limit_redis_places(self) -> RedisPlaces:
        return RedisPlaces(
            self.limit_redis_host, self.limit_redis_port, self.limit_redis_sentinels, self.limit_redis_sentinel_name
        )

    @property
    def stream_bounds(self) -> StreamBounds:
        return StreamBounds(
            of_user=self.news_streams_of_user,
            in_all=self.news_streams,
            heartbeat=self.news_stream_heartbeat,
            lifetime=self.news_stream_lifetime,
            write_timeout=self.news_stream_write_timeout,
        )

    @property
    def user_limits(self) -> dict[Pace, Limit]:
        quotas = {
            Pace.READS: self.user_reads,
            Pace.WRITES: self.user_writes,
            Pace.FILES: self.user_files,
            Pace.CHECKS: self.user_checks,
        }
        return self._limits("", quotas)

    @property
    def address_limits(self) -> dict[Pace, Limit]:
        quotas = {
            Pace.READS: self.address_reads,
            Pace.WRITES: self.address_writes,
            Pace.FILES: self.address_files,
            Pace.CHECKS: self.address_checks,
            Pace.PAGES: self.address_pages,
            Pace.LOGINS: self.address_logins,
            Pace.FAILURES: self.address_failures,
        }
        return self._limits("address-", quotas)

    def _limits(self, prefix: str, quotas: Mapping[Pace, int]) -> dict[Pace, Limit]:
        wanted = {pace: quota * self.limit_factor for pace, quota in quotas.items()}
        return {pace: Limit(prefix + pace, max(1, round(quota))) for pace, quota in wanted.items() if quota}

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
