"""One running system for all tests that do no harm to it. Each file has people of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.stack import Stack, running_stack
from tests.fake_github import CLIENT_ID, CLIENT_SECRET, FakeGitHub, fake_github

PEOPLE = (
    *("eve", "mallory"),  # test_bad_input
    *("alice", "bob", "carol"),  # test_bookmarks
    *("nina", "ned", "nora", "nick"),  # test_news
    *("stella", "stan", "stig", "sven"),  # test_news_stream
    *("pia", "percy", "paul", "petra"),  # test_privacy
    *("walter", "wendy"),  # test_observability
    *("lena", "leo"),  # test_leaving
    *("moira", "milo"),  # test_link_checks
)


@pytest.fixture(scope="session")
async def github() -> AsyncIterator[FakeGitHub]:
    """Where people of the running system may log in. It answers in the loop of the tests."""
    async with fake_github() as fake:
        yield fake


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, github: FakeGitHub) -> Iterator[Stack]:
    identity = {
        "GITHUB_CLIENT_ID": CLIENT_ID,
        "GITHUB_CLIENT_SECRET": CLIENT_SECRET,
        "GITHUB_URL": github.url,
        "GITHUB_API_URL": github.api_url,
    }
    # Nobody here goes while requests of theirs run.
    # Who does not read a stream is left soon.
    environment = identity | {"ACCOUNT_DELETION_SETTLE": "0", "NEWS_STREAM_WRITE_TIMEOUT": "2"}
    with running_stack(tmp_path_factory.mktemp("shared") / "data", users=PEOPLE, environment=environment) as stack:
        yield stack
