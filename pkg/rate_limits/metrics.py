"""What is counted of limits. Labels are names of limits, never whose a bucket is."""

from typing import Final

from prometheus_client import Counter

REFUSALS: Final = Counter("delinkcious_rate_limit_refusals_total", "Requests that came too soon.", ("limit",))
STORE_FAILURES: Final = Counter(
    "delinkcious_rate_limit_store_failures_total", "Requests let through because the store of limits was away."
)
