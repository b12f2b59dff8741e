"""One running system for all tests that do no harm to it. Each file has people of its own."""

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack, running_stack

PEOPLE = (
    *("eve", "mallory"),  # test_bad_input
    *("alice", "bob", "carol"),  # test_bookmarks
    *("nina", "ned", "nora", "nick"),  # test_news
    *("pia", "percy", "paul", "petra"),  # test_privacy
    *("walter", "wendy"),  # test_observability
)


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("shared") / "data", users=PEOPLE) as stack:
        yield stack
