"""Secrets that stand for a user: 256 random bits behind a prefix that says what they are for.

Only their SHA-256 is stored. A slow hash would add nothing: what it hashes cannot be guessed.
"""

import hashlib
import secrets
from typing import Final

SESSION_PREFIX: Final = "dls_"
API_TOKEN_PREFIX: Final = "dlt_"  # noqa: S105  # a prefix, not a token
#: Of the one-use tickets that a login takes.
TICKET_PREFIX: Final = "dli_"

_RANDOM_BYTES: Final = 32
#: A prefix of four and 32 bytes in base64 without padding.
_CHARACTERS: Final = 4 + 43


def make_token(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(_RANDOM_BYTES)


def is_token(text: str, *prefixes: str) -> bool:
    """Whether ``text`` has the form of a token with one of ``prefixes``."""
    return len(text) == _CHARACTERS and text.isascii() and text.startswith(prefixes)


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
