"""The services that a service calls."""

from pkg.object_model.clock import Clock
from pkg.runtime.caller_auth import NO_SECRET, EdgeCredentials, MutualAuth
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.settings import ServiceAddress, ServiceSettings
from pkg.runtime.start_error import StartError


def connect_peer(
    settings: ServiceSettings,
    mutual_auth: MutualAuth,
    session: HttpSession,
    callee: str,
    address: ServiceAddress,
    clock: Clock,
) -> ServiceHttpClient:
    """A client of ``callee``, on this service's own edge to it. Nothing is sent until it is used.

    Raises:
        StartError: caller checks are on, and we have no secret to show to ``callee``.
    """
    return ServiceHttpClient(session, address.base_url, peer_credentials(settings, mutual_auth, callee, clock))


def peer_credentials(settings: ServiceSettings, mutual_auth: MutualAuth, callee: str, clock: Clock) -> EdgeCredentials:
    """What this service shows to ``callee``.

    Raises:
        StartError: caller checks are on, and there is no secret to show.
    """
    secret = mutual_auth.presents.get(callee)
    if secret is None:
        if settings.mutual_auth:
            raise StartError(
                f"{settings.mutual_auth_file} has no secret for {callee} under `presents`; add the one that "
                f"{callee} accepts from {settings.service_name}"
            )
        secret = NO_SECRET
    return EdgeCredentials(settings.service_name, callee, secret, clock)
