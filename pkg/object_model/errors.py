"""Every failure that a manager or a client raises.

A class says what *kind* of failure it is, which a transport turns into a status (one table, in
``pkg.runtime.errors``). ``code`` is the stable name a program can act on, the message what a person can act on.
"""

from typing import ClassVar


class DelinkciousError(Exception):
    """The root. ``kind`` names the class on the wire and in the error table."""

    kind: ClassVar[str] = "internal"
    default_code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        #: Seconds after which a repeat may succeed, where that is known.
        self.retry_after = retry_after


class InvalidArgument(DelinkciousError):
    """What was sent can never be accepted; the caller has to change it."""

    kind = "invalid_argument"
    default_code = "invalid_argument"


class Unauthenticated(DelinkciousError):
    """Nobody, or nobody we know, is asking."""

    kind = "unauthenticated"
    default_code = "unauthenticated"


class PermissionDenied(DelinkciousError):
    """We know who asks, and they may not."""

    kind = "permission_denied"
    default_code = "permission_denied"


class NotFound(DelinkciousError):
    """It does not exist, or the asker may not learn that it does."""

    kind = "not_found"
    default_code = "not_found"


class Conflict(DelinkciousError):
    """The state of things forbids it: it exists already, or a limit is reached."""

    kind = "conflict"
    default_code = "conflict"


class PreconditionFailed(DelinkciousError):
    """The caller's picture is out of date (``If-Match``)."""

    kind = "precondition_failed"
    default_code = "precondition_failed"


class TooLarge(DelinkciousError):
    """The body is larger than the operation takes."""

    kind = "too_large"
    default_code = "body_too_large"


class UnsupportedMedia(DelinkciousError):
    """The body is of a kind that the operation does not read."""

    kind = "unsupported_media"
    default_code = "unsupported_media_type"


class RateLimited(DelinkciousError):
    """Asked too often; ``retry_after`` says when the next try will do."""

    kind = "rate_limited"
    default_code = "rate_limited"


class Unavailable(DelinkciousError):
    """Something we depend on is away or overloaded; the same call may succeed later."""

    kind = "unavailable"
    default_code = "unavailable"


class DeadlineExceeded(DelinkciousError):
    """The time allowed for the call ran out. A write may or may not have happened."""

    kind = "deadline_exceeded"
    default_code = "deadline_exceeded"


class Internal(DelinkciousError):
    """Our fault."""

    kind = "internal"
    default_code = "internal"


ERROR_KINDS: dict[str, type[DelinkciousError]] = {
    cls.kind: cls
    for cls in (
        InvalidArgument,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        Conflict,
        PreconditionFailed,
        TooLarge,
        UnsupportedMedia,
        RateLimited,
        Unavailable,
        DeadlineExceeded,
        Internal,
    )
}
