"""What the relay and the consumers count."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0)

RELAY_WAITING: Final = Gauge(
    "delinkcious_outbox_waiting",
    "Events that wait to be published, of the partitions that this worker owns.",
    ("service",),
)
RELAY_OLDEST: Final = Gauge(
    "delinkcious_outbox_oldest_seconds", "Age of the oldest of them, in seconds; 0 if there is none.", ("service",)
)
RELAY_PARTITIONS: Final = Gauge("delinkcious_outbox_partitions", "Partitions that this worker owns.", ("service",))
RELAY_PUBLISHED: Final = Counter("delinkcious_outbox_published_total", "Events published.", ("service",))
RELAY_FAILURES: Final = Counter(
    "delinkcious_outbox_failures_total", "Times that publishing failed, by the error's code.", ("service", "reason")
)

HANDLED: Final = Counter(
    "delinkcious_events_handled_total", "Events worked on: done, retried, dead.", ("consumer", "outcome")
)
HANDLING_SECONDS: Final = Histogram(
    "delinkcious_events_run_duration_seconds",
    "Work on a run of events of one key, in seconds.",
    ("consumer",),
    buckets=_SECONDS,
)
EVENT_AGE: Final = Histogram(
    "delinkcious_events_age_seconds",
    "From an event to the end of the work on it, in seconds.",
    ("consumer",),
    buckets=_SECONDS,
)
BEHIND: Final = Gauge(
    "delinkcious_events_behind", "Events that nobody had taken yet when the last one was taken.", ("consumer",)
)

ANNOUNCEMENTS: Final = Counter(
    "delinkcious_announcements_total", "Told to whoever listens, by the subject: sent, or lost.", ("subject", "outcome")
)
