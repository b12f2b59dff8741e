"""The API gateway, put together: settings, clients, tokens, transport."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from pkg.clients.link_client import LinkClient
from pkg.clients.news_client import NewsClient
from pkg.clients.social_graph_client import SocialGraphClient
from pkg.clients.user_client import UserClient
from pkg.events.nats_bus import connect_nats
from pkg.identity_providers.back_channel import open_session
from pkg.identity_providers.provider import IdentityProvider
from pkg.object_model.clock import Clock, SystemClock
from pkg.rate_limits.limiter import RateLimiter
from pkg.rate_limits.redis_store import RedisLimitStore
from pkg.rate_limits.store import LimitStore
from pkg.runtime.access import LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.errors import install_error_handlers
from pkg.runtime.health import ReadinessProbe
from pkg.runtime.http_service import HttpService
from pkg.runtime.http_session import HttpSession
from pkg.runtime.peers import connect_peer
from pkg.runtime.redis import connect_redis
from svc.api_gateway_service.browser_keys import BrowserKeys
from svc.api_gateway_service.cookies import SESSION, Cookies
from svc.api_gateway_service.door import Door
from svc.api_gateway_service.limits import LimitedAuthenticator, LimitedPages, Limits, told_address
from svc.api_gateway_service.news_changes import hear_news_changes
from svc.api_gateway_service.news_streams import NewsStreams
from svc.api_gateway_service.operation import PREFIXES
from svc.api_gateway_service.pages.account import AccountPages
from svc.api_gateway_service.pages.login import LoginPages
from svc.api_gateway_service.pages.page import Pages, style_route
from svc.api_gateway_service.peers import Peers
from svc.api_gateway_service.providers import build_providers
from svc.api_gateway_service.public_service import PublicHttpService
from svc.api_gateway_service.readiness import ReachedOnce
from svc.api_gateway_service.revocations import hear_revocations
from svc.api_gateway_service.routes import FILE_PATHS, STREAM_PATHS, body_limit, build_app
from svc.api_gateway_service.sessions import Sessions
from svc.api_gateway_service.settings import ApiGatewaySettings
from svc.api_gateway_service.tokens import Authenticator, TokenVerdicts

#: Seconds: a stream ends by itself before its time is over.
_MARGIN: Final = 30.0


@asynccontextmanager
async def create_app(settings: ApiGatewaySettings) -> AsyncIterator[HttpService]:
    clock = SystemClock()
    mutual_auth = settings.load_mutual_auth()
    async with (
        connect_redis(settings.limit_redis) as redis,
        connect_nats(settings) as bus,
        HttpSession() as session,
        open_session() as outside,
    ):
        peer = partial(connect_peer, settings, mutual_auth, session, clock=clock)
        peers = Peers(
            links=LinkClient(peer(LINK_MANAGER, settings.link_manager)),
            users=UserClient(peer(USER_MANAGER, settings.user_manager, tell_address=told_address)),
            social_graph=SocialGraphClient(peer(SOCIAL_GRAPH_MANAGER, settings.social_graph_manager)),
            news=NewsClient(peer(NEWS_MANAGER, settings.news_manager)),
        )
        limits = build_limits(settings, RedisLimitStore(redis, timeout=settings.limit_timeout))
        verdicts = build_verdicts(settings, peers.users, limits, clock)
        # Not ready for less without NATS: verdicts have a lifetime.
        streams = NewsStreams(peers.news, peers.social_graph, clock, settings.stream_bounds)
        await hear_revocations(bus, verdicts, streams)
        await hear_news_changes(bus, streams)
        providers = build_providers(settings, outside, clock)
        yield build_gateway(settings, peers, streams, clock, limits, verdicts, providers)


def build_limits(settings: ApiGatewaySettings, store: LimitStore) -> Limits:
    return Limits(RateLimiter(store), users=settings.user_limits, addresses=settings.address_limits)


def build_verdicts(settings: ApiGatewaySettings, users: Authenticator, limits: Limits, clock: Clock) -> TokenVerdicts:
    return TokenVerdicts(LimitedAuthenticator(users, limits), clock, lifetime=settings.token_cache_seconds)


def build_gateway(
    settings: ApiGatewaySettings,
    peers: Peers,
    streams: NewsStreams,
    clock: Clock,
    limits: Limits,
    verdicts: TokenVerdicts,
    providers: Sequence[IdentityProvider] = (),
) -> HttpService:
    """The gateway in front of these peers."""
    cookies = Cookies(secure=settings.is_behind_tls)
    keys = BrowserKeys(settings.browser_keys)
    door = Door(verdicts, limits, cookies, keys, settings.reached_at)
    pages = Pages()
    login = LoginPages(
        pages,
        door,
        peers.users,
        Sessions(peers.users, verdicts),
        providers,
        cookies,
        keys,
        clock,
        public_url=settings.reached_at,
        local_users=settings.is_local,
    )
    account = AccountPages(pages, door, peers.users, cookies, keys)
    app = build_app(peers, streams, door, [*login.routes(), *account.routes(), style_route()], cookies.name(SESSION))
    install_error_handlers(app)
    return PublicHttpService(
        settings,
        LimitedPages(app, limits, PREFIXES),
        ReadinessProbe({"user-manager": ReachedOnce(peers.users).check}),
        body_limit,
        dict.fromkeys(FILE_PATHS, settings.stream_timeout)
        | dict.fromkeys(STREAM_PATHS, settings.news_stream_lifetime + _MARGIN),
        streams,
    )
