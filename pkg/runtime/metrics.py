"""Metrics, by hand: labels are resolved once, so that counting costs an addition.

A label takes few values, known beforehand: methods and path templates, never a raw path; codes, never a
message. Times are in seconds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: Path template of a request that no route took.
UNMATCHED: Final = "unmatched"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: More than we have; beyond it something feeds us made-up routes.
_MAX_ROUTES: Final = 500

SHED: Final = Counter(
    "delinkcious_http_requests_shed_total",
    "Requests refused because too many were being worked on.",
    ("service",),
)
CALLER_REFUSALS: Final = Counter(
    "delinkcious_caller_refusals_total", "Internal calls refused.", ("service", "operation", "reason")
)
SECRET_FILE_MODIFIED: Final = Gauge(
    "delinkcious_secret_file_modified_timestamp_seconds",
    "When the version of a secret's file that is in use was written.",
    ("file",),
)
SECRET_FILE_FAULTS: Final = Counter(
    "delinkcious_secret_file_faults_total", "New versions of a secret's file that could not be used.", ("file",)
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
    """What one service counts of its requests: plain numbers, which become metrics when somebody asks.

    Not for several threads; an event loop is one.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._routes: dict[tuple[str, str], _Route] = {}
        self.in_flight = 0
        self.shed = SHED.labels(service)

    @classmethod
    def of(cls, service: str) -> "RequestMetrics":
        """The one of ``service`` in this process."""
        return _REQUESTS.services.setdefault(service, cls(service))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        found = self._routes.get((method, route))
        if found is None:
            found = self._add(method, route)
        found.buckets[bisect_left(_BUCKETS, seconds)] += 1
        found.seconds += seconds
        found.statuses[status] = found.statuses.get(status, 0) + 1

    def _add(self, method: str, route: str) -> "_Route":
        if method not in _METHODS:
            method = "OTHER"
        if len(self._routes) >= _MAX_ROUTES:
            route = UNMATCHED
        return self._routes.setdefault((method, route), _Route())

    def collect(self, requests: CounterMetricFamily, latency: HistogramMetricFamily) -> None:
        for (method, route), counted in self._routes.items():
            for status, number in counted.statuses.items():
                requests.add_metric((self._service, method, route, str(status)), number)
            bounds = (*map(str, _BUCKETS), "+Inf")
            cumulative = list(zip(bounds, accumulate(counted.buckets), strict=True))
            latency.add_metric((self._service, method, route), cumulative, counted.seconds)


class _Route:
    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0
        self.statuses: dict[int, int] = {}


class _RequestCollector(Collector):
    def __init__(self) -> None:
        self.services: dict[str, RequestMetrics] = {}

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "delinkcious_http_requests", "Requests answered.", labels=("service", "method", "route", "status")
        )
        latency = HistogramMetricFamily(
            "delinkcious_http_request_duration_seconds",
            "From the request's head to the answer's last byte, in seconds.",
            labels=("service", "method", "route"),
        )
        in_flight = GaugeMetricFamily(
            "delinkcious_http_requests_in_flight", "Requests being worked on.", labels=("service",)
        )
        for service, metrics in self.services.items():
            metrics.collect(requests, latency)
            in_flight.add_metric((service,), metrics.in_flight)
        yield requests
        yield latency
        yield in_flight


_REQUESTS: Final = _RequestCollector()
REGISTRY.register(_REQUESTS)


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
