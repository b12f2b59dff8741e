"""What goes out and what is refused on the way in."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.types import LinkStatus
from pkg.runtime.json import decode, encode


def test_times_are_utc_with_z() -> None:
    assert encode({"At": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}) == b'{"At":"2026-01-02T03:04:05Z"}'


def test_a_time_without_a_zone_is_utc() -> None:
    assert encode(datetime(2026, 1, 2, tzinfo=UTC).replace(tzinfo=None)) == b'"2026-01-02T00:00:00Z"'


def test_a_time_of_another_zone_keeps_its_meaning() -> None:
    text = encode(datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2)))).decode().strip('"')
    assert datetime.fromisoformat(text) == datetime(2026, 1, 1, 22, tzinfo=UTC)


def test_enums_and_text_beyond_ascii() -> None:
    assert encode({"Status": LinkStatus.VALID, "Title": "Größe 猫"}) == '{"Status":"valid","Title":"Größe 猫"}'.encode()


@pytest.mark.parametrize(
    "sent", [b"", b"{", b'{"a": NaN}', b'{"a": 1,}', b"\xff\xfe", b'{"a": "\xff"}', b'"\\ud800"', b"[" * 100_000]
)
def test_what_is_not_json_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode(sent)
    assert refused.value.code == "malformed_json"


def test_a_refusal_says_where_and_quotes_nothing() -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode(b'{"Title": "secret plan",\n "Url": oops}')
    assert "line 2" in refused.value.message
    assert "secret" not in refused.value.message and "oops" not in refused.value.message
