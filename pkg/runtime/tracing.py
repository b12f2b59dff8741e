"""Trace context as the W3C writes it (https://www.w3.org/TR/trace-context/, level 1): ``traceparent`` through
every hop.

Nothing is exported here. A trace that begins with us has flag 00 (not sampled), so that no service behind us
records a span that nobody asked for; a caller's decision to sample is passed on as it is.
"""

import os
import re
from typing import Final, NamedTuple

_TRACEPARENT: Final = re.compile(
    # Version ff is none, ids of zeros mean "no id", and a later version may say more after another hyphen.
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class TraceContext(NamedTuple):
    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(header: str) -> TraceContext | None:
    """None if the header is malformed: the standard has the receiver then begin a new trace."""
    match = _TRACEPARENT.fullmatch(header)
    if match is None or (match[5] is not None and match[1] == "00"):
        return None
    return TraceContext(match[2], match[3], bool(int(match[4], 16) & 1))


def is_sampled(header: str) -> bool:
    """Whether somebody asked for this trace."""
    context = parse_traceparent(header)
    return context is not None and context.sampled


def new_traceparent() -> str:
    digits = os.urandom(24).hex()
    return f"00-{digits[:32]}-{digits[32:]}-00"


def child_traceparent(header: str | None) -> str:
    """Of a span of ours in the caller's trace; in a new one where there is none, or an unreadable one."""
    parent = parse_traceparent(header) if header else None
    if parent is None:
        return new_traceparent()
    return f"00-{parent.trace_id}-{os.urandom(8).hex()}-{'01' if parent.sampled else '00'}"
