"""What the headers of a public request say, read in one pass."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from pkg.object_model.errors import InvalidArgument

MAX_IDEMPOTENCY_KEY: Final = 255

_VERSION: Final = re.compile(r'"?([0-9]{1,18})"?')


class RequestHead(NamedTuple):
    access_token: str = ""
    authorization: str = ""
    content_type: str = ""
    has_body: bool = False
    idempotency_key: str | None = None
    if_match: str | None = None
    if_none_match: str = ""
    last_event_id: str = ""
    cookie: str = ""
    csrf_token: str = ""
    origin: str = ""
    sec_fetch_site: str = ""

    def token(self) -> str:
        """Of a header; empty if there is none.

        Raises:
            InvalidArgument: there are two, and they differ (``conflicting_argument``).
        """
        scheme, _, bearer = self.authorization.partition(" ")
        bearer = bearer.strip() if scheme.lower() == "bearer" else ""
        if bearer and self.access_token and bearer != self.access_token:
            raise InvalidArgument(
                "Access-Token and Authorization hold different tokens; send one of them", code="conflicting_argument"
            )
        return self.access_token or bearer

    def read_idempotency_key(self) -> str:
        """Empty if none was sent. Raises InvalidArgument."""
        key = self.idempotency_key
        if key is None:
            return ""
        if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY or not key.isascii() or not key.isprintable():
            raise InvalidArgument(f"Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters")
        return key

    def read_if_match(self) -> int | None:
        """The version that the caller saw; None if any will do. Raises InvalidArgument."""
        if self.if_match is None or self.if_match == "*":
            return None
        version = _VERSION.fullmatch(self.if_match)
        if version is None:
            raise InvalidArgument('If-Match must be the Version of a link as you read it, such as 3 or "3"')
        return int(version[1])


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> RequestHead:
    """``headers`` as ASGI has them: names in lower case."""
    found: dict[str, str] = {}
    has_body = False
    for name, value in headers:
        field = _FIELDS.get(name)
        if field is not None:
            found[field] = value.decode("latin-1").strip()
        elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            has_body = True
    return RequestHead(has_body=has_body, **found)


_FIELDS: Final = {
    b"access-token": "access_token",
    b"authorization": "authorization",
    b"content-type": "content_type",
    b"idempotency-key": "idempotency_key",
    b"if-match": "if_match",
    b"if-none-match": "if_none_match",
    b"last-event-id": "last_event_id",
    b"cookie": "cookie",
    b"x-csrf-token": "csrf_token",
    b"origin": "origin",
    b"sec-fetch-site": "sec_fetch_site",
}
