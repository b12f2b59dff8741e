"""Trace context as the W3C has it: what is continued and what begins anew."""

import pytest

from pkg.runtime.tracing import child_traceparent, new_traceparent, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_child_keeps_the_trace_and_has_a_span_of_its_own() -> None:
    child = parse_traceparent(child_traceparent(f"00-{TRACE}-{SPAN}-01"))
    assert child is not None
    assert child.trace_id == TRACE
    assert child.span_id != SPAN


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("03", True), ("02", False)])
def test_the_callers_decision_to_sample_is_passed_on(flags: str, sampled: bool) -> None:
    child = parse_traceparent(child_traceparent(f"00-{TRACE}-{SPAN}-{flags}"))
    assert child is not None
    assert child.sampled is sampled


def test_a_trace_of_ours_is_not_sampled() -> None:
    first, second = parse_traceparent(new_traceparent()), parse_traceparent(new_traceparent())
    assert first is not None and second is not None
    assert not first.sampled
    assert first.trace_id != second.trace_id and first.span_id != second.span_id


def test_a_later_version_may_say_more() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings") is not None
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01.what") is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"0g-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-٠١",
    ],
)
def test_what_is_malformed_begins_a_new_trace(header: str) -> None:
    assert parse_traceparent(header) is None
    fresh = parse_traceparent(child_traceparent(header))
    assert fresh is not None
    assert fresh.trace_id != TRACE
    assert not fresh.sampled
