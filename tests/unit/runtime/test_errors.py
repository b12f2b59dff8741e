"""Every kind of error has one status, and one form."""

import orjson
import pytest

from pkg.object_model.errors import ERROR_KINDS, Conflict, DelinkciousError, Unavailable
from pkg.runtime.errors import ERROR_STATUS, error_response, status_of


def test_the_table_knows_every_kind_and_no_other() -> None:
    assert set(ERROR_STATUS) == set(ERROR_KINDS)


@pytest.mark.parametrize(
    ("kind", "http", "grpc"),
    [
        ("invalid_argument", 400, 3),
        ("unauthenticated", 401, 16),
        ("permission_denied", 403, 7),
        ("not_found", 404, 5),
        ("conflict", 409, 9),
        ("precondition_failed", 412, 10),
        ("too_large", 413, 8),
        ("unsupported_media", 415, 3),
        ("unavailable", 503, 14),
        ("deadline_exceeded", 504, 4),
        ("internal", 500, 13),
    ],
)
def test_statuses(kind: str, http: int, grpc: int) -> None:
    assert (ERROR_STATUS[kind].http, ERROR_STATUS[kind].grpc) == (http, grpc)


def test_http_statuses_tell_kinds_apart() -> None:
    assert len({status.http for status in ERROR_STATUS.values()}) == len(ERROR_STATUS)


def test_grpc_names_are_those_of_grpc() -> None:
    grpc = pytest.importorskip("grpc")
    for status in ERROR_STATUS.values():
        assert grpc.StatusCode[status.grpc_name].value[0] == status.grpc


def test_the_body() -> None:
    response = error_response(Conflict("the link exists already", code="link_exists"), "r-1")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/json"
    assert "retry-after" not in response.headers
    assert orjson.loads(response.body) == {
        "err": "the link exists already",
        "code": "link_exists",
        "request_id": "r-1",
    }


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (1, "1"), (1.5, "2"), (30, "30")])
def test_retry_after_is_in_whole_seconds(seconds: float, header: str) -> None:
    assert error_response(Unavailable("later", retry_after=seconds), "r").headers["retry-after"] == header


def test_a_kind_that_the_table_lacks_is_our_fault() -> None:
    class Strange(DelinkciousError):
        kind = "strange"

    assert status_of(Strange("?")).http == 500
