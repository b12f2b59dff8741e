"""User names: what is one, and which a newcomer gets.

A name is part of addresses, so it is made of what needs no escape there. Its *key* is the name casefolded: by it names
are found and are unique.
"""

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterator
from typing import Final

from pkg.object_model.errors import Conflict, InvalidArgument
from pkg.object_model.types import USER_NAME_PATTERN

MAX_NAME_CHARACTERS: Final = 39
#: Of whom nothing is left that a name is made of.
FALLBACK_NAME: Final = "user"
#: Keys that nobody gets: they look like a part of the site, or like somebody who speaks for it.
RESERVED_NAMES: Final = frozenset(
    [
        "about",
        "abuse",
        "account",
        "admin",
        "administrator",
        "api",
        "app",
        "auth",
        "delinkcious",
        "docs",
        "help",
        "info",
        "legal",
        "link",
        "links",
        "login",
        "logout",
        "me",
        "news",
        "null",
        "official",
        "operator",
        "postmaster",
        "privacy",
        "root",
        "security",
        "settings",
        "signup",
        "staff",
        "static",
        "status",
        "support",
        "system",
        "undefined",
        "user",
        "users",
        "webmaster",
        "www",
    ]
)

#: alice-2 up to alice-20; then something that is hardly taken.
_LAST_NUMBER: Final = 20
_RANDOM_TRIES: Final = 5
_RANDOM_BYTES: Final = 4
#: Of what a provider calls somebody; the rest is not looked at.
_LOOKED_AT: Final = 1_000
_OTHERS: Final = re.compile(r"[^A-Za-z0-9._-]+")
_AT_ENDS: Final = "._-"


def is_name(text: str) -> bool:
    return USER_NAME_PATTERN.fullmatch(text) is not None


def check_name(name: str) -> str:
    """``name`` itself, if a newcomer may choose it.

    Raises:
        InvalidArgument: it is none (``invalid_name``).
        Conflict: nobody gets it (``name_reserved``).
    """
    if not is_name(name):
        raise InvalidArgument(
            f"Name must have 1 to {MAX_NAME_CHARACTERS} letters (a-z), digits, dots, dashes or underscores,"
            " and begin and end with a letter or digit",
            code="invalid_name",
        )
    if name.casefold() in RESERVED_NAMES:
        raise Conflict(f"the name {name} is reserved; choose another", code="name_reserved")
    return name


def candidate_names(login: str) -> Iterator[str]:
    """Names for somebody whom a provider calls ``login``, the nearest first; the last ones are hardly taken."""
    base = _fold(login)
    if base.casefold() not in RESERVED_NAMES:
        yield base
    for number in range(2, _LAST_NUMBER + 1):
        yield _with_suffix(base, str(number))
    for _ in range(_RANDOM_TRIES):
        yield _with_suffix(base, secrets.token_hex(_RANDOM_BYTES))


def hash_name(key: str) -> bytes:
    """What is kept of the name of a deleted account, so that nobody gets it."""
    return hashlib.sha256(key.encode()).digest()


def _fold(login: str) -> str:
    """The nearest name: letters lose their accents, whatever else no name has becomes a dash."""
    ascii_only = unicodedata.normalize("NFKD", login[:_LOOKED_AT]).encode("ascii", "ignore").decode()
    name = _OTHERS.sub("-", ascii_only).strip(_AT_ENDS)[:MAX_NAME_CHARACTERS].rstrip(_AT_ENDS)
    return name or FALLBACK_NAME


def _with_suffix(base: str, suffix: str) -> str:
    return f"{base[: MAX_NAME_CHARACTERS - len(suffix) - 1].rstrip(_AT_ENDS)}-{suffix}"
