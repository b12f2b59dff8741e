"""Metrics, by hand: every child is made once, so that counting costs an addition.

A label takes few values, known beforehand: methods and path templates, never a raw path; codes, never a
message. Times are in seconds.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: Path template of a request that no route took.
UNMATCHED: Final = "unmatched"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: More label combinations than all our routes have; beyond it something feeds us made-up routes.
_MAX_CHILDREN: Final = 5_000

REQUESTS: Final = Counter(
    "delinkcious_http_requests_total", "Requests answered.", ("service", "method", "route", "status")
)
LATENCY: Final = Histogram(
    "delinkcious_http_request_duration_seconds",
    "From the request's head to the answer's last byte, in seconds.",
    ("service", "method", "route"),
    buckets=_BUCKETS,
)
IN_FLIGHT: Final = Gauge("delinkcious_http_requests_in_flight", "Requests being worked on.", ("service",))
SHED: Final = Counter(
    "delinkcious_http_requests_shed_total",
    "Requests refused because too many were being worked on.",
    ("service",),
)
CALLER_REFUSALS: Final = Counter(
    "delinkcious_caller_refusals_total", "Internal calls refused.", ("service", "operation", "reason")
)
OUTGOING: Final = Counter(
    "delinkcious_outgoing_calls_total", "Calls of other services, by how they ended.", ("callee", "outcome")
)
OUTGOING_LATENCY: Final = Histogram(
    "delinkcious_outgoing_call_duration_seconds",
    "A call of another service with all its attempts, in seconds.",
    ("callee",),
    buckets=_BUCKETS,
)
RETRIES: Final = Counter("delinkcious_outgoing_retries_total", "Attempts after the first.", ("callee",))


class RequestMetrics:
    """What one service counts of its requests."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}
        self.in_flight = IN_FLIGHT.labels(service)
        self.shed = SHED.labels(service)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        if method not in _METHODS:
            method = "OTHER"
        counter = self._counters.get((method, route, status))
        histogram = self._histograms.get((method, route))
        if counter is None or histogram is None:
            if len(self._counters) >= _MAX_CHILDREN:
                route = UNMATCHED
            counter = REQUESTS.labels(self._service, method, route, str(status))
            histogram = LATENCY.labels(self._service, method, route)
            if len(self._counters) < _MAX_CHILDREN:
                self._counters[method, route, status] = counter
                self._histograms[method, route] = histogram
        counter.inc()
        histogram.observe(seconds)


class CalleeMetrics:
    """What a caller counts of its calls of one service."""

    def __init__(self, callee: str) -> None:
        self._callee = callee
        self._outcomes: dict[str, Counter] = {}
        self._latency = OUTGOING_LATENCY.labels(callee)
        self.retries = RETRIES.labels(callee)

    def observe(self, outcome: str, seconds: float) -> None:
        """``outcome`` is ``ok`` or the kind of an error."""
        counter = self._outcomes.get(outcome)
        if counter is None:
            counter = self._outcomes[outcome] = OUTGOING.labels(self._callee, outcome)
        counter.inc()
        self._latency.observe(seconds)


def prepare_outcomes(service: str, operations: Iterable[str], reasons: Iterable[str]) -> None:
    """Shows the refusal counters at zero, so that the first refusal is seen as a rise."""
    reasons = tuple(reasons)
    for operation in operations:
        for reason in reasons:
            CALLER_REFUSALS.labels(service, operation, reason)


def render_metrics() -> bytes:
    return generate_latest(REGISTRY)
