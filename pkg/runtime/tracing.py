"""Trace context as the W3C writes it (https://www.w3.org/TR/trace-context/, level 1): ``traceparent`` through
every hop.

Nothing is exported here. A trace that begins with us has flag 00 (not sampled), so that no service behind us
records a span that nobody asked for; a caller's decision to sample is passed on as it is.
"""

import os
from dataclasses import dataclass
from typing import Final, Self

_LENGTH: Final = 55  # 2-32-16-2 hexadecimal digits and three hyphens
_LOWER_HEX: Final = frozenset("0123456789abcdef")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


@dataclass(frozen=True, slots=True)
class TraceContext:
    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def new(cls) -> Self:
        digits = os.urandom(24).hex()
        return cls(digits[:32], digits[32:], False)

    @classmethod
    def continue_from(cls, header: str | None) -> Self:
        """A child of the caller's span; a new trace where there is none, or an unreadable one."""
        parent = parse_traceparent(header) if header else None
        if parent is None:
            return cls.new()
        return cls(parent.trace_id, os.urandom(8).hex(), parent.sampled)

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(header: str) -> TraceContext | None:
    """None if the header is malformed: the standard has the receiver then begin a new trace."""
    version = header[:2]
    if len(header) != _LENGTH and (version == "00" or len(header) < _LENGTH or header[_LENGTH] != "-"):
        return None
    trace_id, span_id, flags = header[3:35], header[36:52], header[53:55]
    if header[2] != "-" or header[35] != "-" or header[52] != "-" or version == "ff":
        return None
    if not _LOWER_HEX.issuperset(version + trace_id + span_id + flags):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))
