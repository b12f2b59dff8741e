"""The users of Valkey: one for each service that keeps something there, with the keys and commands that it needs."""

from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Final

ADMINISTRATOR: Final = "administrator"

#: Rules of each user, in the server's own words (https://valkey.io/topics/acl/).
RULES: Final[Mapping[str, str]] = {
    ADMINISTRATOR: "~* &* +@all",
    "news-manager": "~feed:* ~news:* resetchannels -@all +@read +@write +@scripting +@connection +@transaction"
    " -@admin -@dangerous",
    "api-gateway": "~limit:* resetchannels -@all +get +set +time +eval +evalsha +@connection -@admin -@dangerous",
}


def render_access_list(passwords_of: Callable[[str], tuple[str, ...]], users: Collection[str] = RULES.keys()) -> str:
    """The file of these users, which holds digests of the passwords only. While one is rotated, either holds."""
    lines = ["user default off"]
    for user in users:
        digests = " ".join(f"#{sha256(password.encode()).hexdigest()}" for password in passwords_of(user))
        lines.append(f"user {user} on {digests} {RULES[user]}")
    return "\n".join(lines) + "\n"
