"""What a metric shows, by the library's public interface."""

from prometheus_client.metrics import MetricWrapperBase


def value_of(metric: MetricWrapperBase) -> float:
    """Of a counter or a gauge; if it has labels, of one of them (``metric.labels(...)``)."""
    (family,) = metric.collect()
    return next(sample.value for sample in family.samples if not sample.name.endswith("_created"))
