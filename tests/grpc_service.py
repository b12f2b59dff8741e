"""A gRPC service on a loopback port, in the test's own loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from pkg.object_model.clock import SystemClock
from pkg.object_model.interfaces import News
from pkg.runtime.access import API_GATEWAY, NEWS_MANAGER
from pkg.runtime.caller_auth import CallerAuth, EdgeCredentials
from pkg.runtime.grpc_client import ServiceGrpcClient, open_channel
from pkg.runtime.grpc_service import GrpcService, serve_grpc
from pkg.runtime.settings import Mode, ServiceAddress, ServiceSettings
from svc.news_service.grpc_methods import SERVICES, register
from tests.internal_service import CALLERS, edge_secret


class NewsSettings(ServiceSettings):
    service_name = NEWS_MANAGER


async def _ready() -> bool:
    return True


@asynccontextmanager
async def served_news(
    manager: News, settings: NewsSettings | None = None, port: int = 0
) -> AsyncIterator[tuple[GrpcService, ServiceAddress]]:
    """The news service as its own ``app.py`` puts it together, but for store and events; and where it is."""
    settings = settings or NewsSettings(mode=Mode.LOCAL, port=port, shutdown_grace=1)
    accepts = {caller: edge_secret(caller, NEWS_MANAGER) for caller in CALLERS}
    service = GrpcService(settings, CallerAuth(NEWS_MANAGER, accepts, SystemClock()), _ready)

    def methods(server: grpc.aio.Server) -> None:
        register(manager, service, server)

    async with serve_grpc(settings, service, SERVICES, methods) as bound:
        yield service, ServiceAddress(host="127.0.0.1", port=bound)


@asynccontextmanager
async def news_caller(
    address: ServiceAddress, caller: str = API_GATEWAY, timeout: float = 10.0
) -> AsyncIterator[ServiceGrpcClient]:
    credentials = EdgeCredentials(caller, NEWS_MANAGER, edge_secret(caller, NEWS_MANAGER), SystemClock())
    async with open_channel(address) as channel:
        yield ServiceGrpcClient(channel, credentials, timeout=timeout)
