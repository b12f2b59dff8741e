"""The services that a service calls, and those that call it: its edges, with secrets that change while it runs."""

from collections.abc import Callable

from pkg.object_model.clock import Clock
from pkg.runtime.caller_auth import CallerAuth, EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.logs import get_logger
from pkg.runtime.mutual_auth import NO_SECRET, MutualAuth
from pkg.runtime.settings import ServiceAddress, ServiceSettings
from pkg.runtime.start_error import StartError
from pkg.runtime.watched_file import WatchedFile

_log = get_logger(__name__)


def check_callers(settings: ServiceSettings, mutual_auth: WatchedFile[MutualAuth], clock: Clock) -> CallerAuth:
    """Lets in whom the file names, as it stands at the time."""
    checked = CallerAuth(settings.service_name, mutual_auth.content.accepts, clock, enabled=settings.mutual_auth)
    mutual_auth.on_change(lambda changed: checked.accept(changed.accepts))
    return checked


def connect_peer(
    settings: ServiceSettings,
    mutual_auth: WatchedFile[MutualAuth],
    session: HttpSession,
    callee: str,
    address: ServiceAddress,
    clock: Clock,
    tell_address: Callable[[], str] | None = None,
) -> ServiceHttpClient:
    """A client of ``callee``, on this service's own edge to it. Nothing is sent until it is used. ``tell_address`` is
    that of ``ServiceHttpClient``.

    Raises:
        StartError: caller checks are on, and we have no secret to show to ``callee``.
    """
    credentials = peer_credentials(settings, mutual_auth, callee, clock)
    return ServiceHttpClient(session, address.base_url, credentials, tell_address=tell_address)


def peer_credentials(
    settings: ServiceSettings, mutual_auth: WatchedFile[MutualAuth], callee: str, clock: Clock
) -> EdgeCredentials:
    """What this service shows to ``callee``.

    Raises:
        StartError: caller checks are on, and there is no secret to show.
    """
    secret = mutual_auth.content.presents.get(callee)
    if secret is None:
        if settings.mutual_auth:
            raise StartError(
                f"{settings.mutual_auth_file} has no secret for {callee} under `presents`; add the one that "
                f"{callee} accepts from {settings.service_name}"
            )
        secret = NO_SECRET
    credentials = EdgeCredentials(settings.service_name, callee, secret, clock)

    def follow(changed: MutualAuth) -> None:
        presented = changed.presents.get(callee)
        if presented is not None:
            credentials.present(presented)
        elif settings.mutual_auth:
            _log.error("the mutual authentication file has lost a callee; what it had stays", callee=callee)

    mutual_auth.on_change(follow)
    return credentials
