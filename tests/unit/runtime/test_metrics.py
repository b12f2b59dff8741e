"""What is counted, in which units, under how many labels."""

from prometheus_client.parser import text_string_to_metric_families

from pkg.runtime.metrics import RequestMetrics, render_metrics


def sample(name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(render_metrics().decode()):
        for found in family.samples:
            if found.name == name and labels.items() <= found.labels.items():
                return found.value
    return None


def test_requests_by_route_and_outcome() -> None:
    metrics = RequestMetrics.of("metrics-a")
    metrics.observe("GET", "/links", 200, 0.004)
    metrics.observe("GET", "/links", 200, 0.004)
    metrics.observe("GET", "/links", 404, 0.3)
    total = "delinkcious_http_requests_total"
    assert sample(total, service="metrics-a", method="GET", route="/links", status="200") == 2
    assert sample(total, service="metrics-a", method="GET", route="/links", status="404") == 1


def test_latency_is_in_seconds_and_cumulative() -> None:
    metrics = RequestMetrics.of("metrics-b")
    for seconds in (0.001, 0.004, 0.3, 60.0):
        metrics.observe("GET", "/links", 200, seconds)
    name = "delinkcious_http_request_duration_seconds"
    assert sample(f"{name}_bucket", service="metrics-b", le="0.001") == 1
    assert sample(f"{name}_bucket", service="metrics-b", le="0.005") == 2
    assert sample(f"{name}_bucket", service="metrics-b", le="10.0") == 3
    assert sample(f"{name}_bucket", service="metrics-b", le="+Inf") == 4
    assert sample(f"{name}_count", service="metrics-b") == 4
    total = sample(f"{name}_sum", service="metrics-b")
    assert total is not None and abs(total - 60.305) < 1e-9


def test_what_a_stranger_sends_makes_no_labels() -> None:
    metrics = RequestMetrics.of("metrics-c")
    for number in range(3_000):
        metrics.observe(f"METHOD{number}", f"/made-up/{number}", 200, 0.1)
    mine = [line for line in render_metrics().decode().splitlines() if 'service="metrics-c"' in line]
    assert "METHOD" not in str(mine)
    assert len([line for line in mine if line.startswith("delinkcious_http_requests_total")]) <= 501
    assert sample("delinkcious_http_requests_total", service="metrics-c", route="unmatched") == 2_500


def test_in_flight_is_what_it_is_at_the_moment_of_asking() -> None:
    metrics = RequestMetrics.of("metrics-d")
    metrics.in_flight = 3
    assert sample("delinkcious_http_requests_in_flight", service="metrics-d") == 3
