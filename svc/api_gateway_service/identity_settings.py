"""What the API gateway is told of who may vouch for people, and of what browsers keep."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from pkg.identity_providers.github import GITHUB_API_URL, GITHUB_URL
from pkg.runtime.settings import SecretFile, ServiceAddress, ServiceSettings


def _base_url(value: str) -> str:
    url = value.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be a URL like https://host, without a query and without credentials")
    return url


def _origin(value: str) -> str:
    url = _base_url(value)
    if urlsplit(url).path:
        raise ValueError("must be a URL without a path, like https://delinkcious.example")
    return url.lower()


def _absent_as_none(value: object) -> object:
    """Secrets that need not be there are mounted where they would be all the same."""
    return None if isinstance(value, str) and not Path(value).exists() else value


BaseUrl = Annotated[str, AfterValidator(_base_url)]
Origin = Annotated[str, AfterValidator(_origin)]
OptionalSecretFile = Annotated[SecretFile | None, BeforeValidator(_absent_as_none)]


class IdentitySettings(ServiceSettings):
    """Who may vouch for people, and what browsers keep."""

    #: Where people reach us. https turns on what only a browser behind TLS keeps.
    public_url: Origin | None = Field(default=None, validation_alias="DELINKCIOUS_PUBLIC_URL")
    #: Seals what browsers keep for us. Two lines: the first seals, either opens.
    browser_key: SecretFile | None = Field(default=None, validation_alias="BROWSER_KEY_FILE")

    github_client_id: OptionalSecretFile = Field(default=None, validation_alias="GITHUB_CLIENT_ID_FILE")
    github_client_secret: OptionalSecretFile = Field(default=None, validation_alias="GITHUB_CLIENT_SECRET_FILE")
    #: Another one is a GitHub Enterprise, with an API of its own.
    github_url: BaseUrl = Field(default=GITHUB_URL, validation_alias="GITHUB_URL")
    github_api_url: BaseUrl = Field(
        default_factory=lambda data: (
            GITHUB_API_URL if data["github_url"] == GITHUB_URL else f"{data['github_url']}/api/v3"
        ),
        validation_alias="GITHUB_API_URL",
    )
    #: As the provider itself writes it.
    oidc_issuer: str = Field(default="", validation_alias="OIDC_ISSUER")
    oidc_client_id: str = Field(default="", max_length=255, validation_alias="OIDC_CLIENT_ID")
    oidc_client_secret: OptionalSecretFile = Field(default=None, validation_alias="OIDC_CLIENT_SECRET_FILE")
    #: People log in by tickets alone.
    login_without_provider: bool = Field(default=False, validation_alias="LOGIN_WITHOUT_PROVIDER")

    _made_key: str = PrivateAttr(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def reached_at(self) -> str:
        """``public_url``; in local mode the address where we listen, if it is not said."""
        return self.public_url or ServiceAddress(host=self.host, port=self.port).base_url

    @property
    def is_behind_tls(self) -> bool:
        return urlsplit(self.reached_at).scheme == "https"

    def browser_keys(self) -> Sequence[str]:
        """The one to seal with first. In local mode one of this process, if none is given."""
        return [self._made_key] if self.browser_key is None else self.browser_key.values()

    @property
    def has_github(self) -> bool:
        return self.github_client_id is not None

    @property
    def has_oidc(self) -> bool:
        return bool(self.oidc_issuer)

    @model_validator(mode="after")
    def _check_providers(self) -> Self:
        if (self.github_client_id is None) != (self.github_client_secret is None):
            raise ValueError("of GITHUB_CLIENT_ID_FILE and GITHUB_CLIENT_SECRET_FILE one has no file; mount both")
        if self.has_oidc:
            if not self.oidc_client_id or self.oidc_client_secret is None:
                raise ValueError("OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET_FILE beside it; set them")
            if not self.is_local and urlsplit(self.oidc_issuer).scheme != "https":
                raise ValueError("OIDC_ISSUER must begin with https:// outside local mode")
        return self

    @model_validator(mode="after")
    def _need_what_others_rely_on(self) -> Self:
        if self.is_local:
            return self
        if self.public_url is None:
            raise ValueError("DELINKCIOUS_PUBLIC_URL is not set; set it to where people reach this system")
        if self.browser_key is None:
            raise ValueError("BROWSER_KEY_FILE is not set; set it to the file of a random secret")
        if not (self.has_github or self.has_oidc or self.login_without_provider):
            raise ValueError(
                "nobody can log in: mount GitHub's client id and secret at GITHUB_CLIENT_ID_FILE and "
                "GITHUB_CLIENT_SECRET_FILE, set OIDC_ISSUER, or LOGIN_WITHOUT_PROVIDER=true for tickets alone"
            )
        return self
