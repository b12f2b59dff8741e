"""The identity providers that the settings name, in the order in which people are shown them."""

import aiohttp

from pkg.identity_providers.back_channel import BackChannel
from pkg.identity_providers.github import GitHubProvider
from pkg.identity_providers.oidc import OidcProvider, provider_title
from pkg.identity_providers.provider import IdentityProvider
from pkg.object_model.clock import Clock
from svc.api_gateway_service.identity_settings import IdentitySettings


def build_providers(settings: IdentitySettings, session: aiohttp.ClientSession, clock: Clock) -> list[IdentityProvider]:
    providers: list[IdentityProvider] = []
    if settings.github_client_id is not None and settings.github_client_secret is not None:
        providers.append(
            GitHubProvider(
                BackChannel(session, GitHubProvider.title),
                settings.github_client_id.get_secret_value(),
                settings.github_client_secret.get_secret_value,
                url=settings.github_url,
                api_url=settings.github_api_url,
            )
        )
    if settings.oidc_client_secret is not None and settings.oidc_issuer:
        providers.append(
            OidcProvider(
                BackChannel(session, provider_title(settings.oidc_issuer)),
                clock,
                settings.oidc_issuer,
                settings.oidc_client_id,
                settings.oidc_client_secret.get_secret_value,
            )
        )
    return providers
