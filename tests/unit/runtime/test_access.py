"""The table of who may call what, as the architecture has it."""

import pytest

from pkg.runtime.access import ALLOWED_CALLERS


@pytest.mark.parametrize("operation", ["links.write", "links.import", "links.export"])
def test_links_are_the_gateways_alone(operation: str) -> None:
    assert ALLOWED_CALLERS["link-manager"][operation] == {"api-gateway"}


def test_news_reads_links_for_new_followers() -> None:
    assert ALLOWED_CALLERS["link-manager"]["links.read"] == {"api-gateway", "news-manager"}


def test_only_the_gateway_asks_whose_a_token_is() -> None:
    assert ALLOWED_CALLERS["user-manager"]["users.authenticate"] == {"api-gateway"}


def test_only_the_gateway_writes_the_graph() -> None:
    assert ALLOWED_CALLERS["social-graph-manager"]["graph.write"] == {"api-gateway"}
    assert "link-manager" in ALLOWED_CALLERS["social-graph-manager"]["graph.read"]


def test_nobody_calls_the_gateway_as_a_service() -> None:
    assert not ALLOWED_CALLERS["api-gateway"]


def test_nobody_calls_themselves() -> None:
    for service, operations in ALLOWED_CALLERS.items():
        assert all(service not in callers for callers in operations.values())


def test_only_the_user_service_erases_users() -> None:
    for service, operation in (
        ("link-manager", "links.erase"),
        ("social-graph-manager", "graph.erase"),
        ("news-manager", "news.erase"),
    ):
        assert ALLOWED_CALLERS[service][operation] == {"user-manager"}
