"""Identity providers: those whose word is taken for who somebody is."""

from dataclasses import dataclass
from typing import Final, Protocol

#: The provider of users who are known here alone.
LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class ProviderIdentity:
    """What a user is keyed on: a provider, and the id by which the provider knows them for ever."""

    provider: str
    subject: str


class IdentityProvider(Protocol):
    async def vouch(self, identity: ProviderIdentity, auth_token: str) -> bool:
        """Whether ``auth_token`` proves that whoever sent it is ``identity``.

        Raises:
            Unavailable: the provider cannot be asked.
        """


class LocalProvider(IdentityProvider):
    """Takes everybody's word for who they are, if they are a local user. Fit for a machine of one's own, no other."""

    async def vouch(self, identity: ProviderIdentity, auth_token: str) -> bool:
        return identity.provider == LOCAL
