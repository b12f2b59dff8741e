"""What the client of a stream is told when the newest entries of its feed are others."""

from collections.abc import Iterable
from random import Random

from svc.api_gateway_service.feed_view import WINDOW, Entry, FeedView, entry_id


def page(ids: Iterable[int]) -> list[Entry]:
    """The newest page of a feed of these."""
    return [{"Id": str(each)} for each in sorted(ids, reverse=True)[:WINDOW]]


def told(view: FeedView, ids: Iterable[int]) -> tuple[list[int], list[int]]:
    """What is gone, and what is new."""
    difference = view.update(page(ids))
    return list(difference.gone), [entry_id(entry) for entry in difference.new]


def test_what_is_there_at_the_beginning_is_no_news() -> None:
    view = FeedView(page([3, 1]))
    assert view.place == 3
    assert told(view, [3, 1]) == ([], [])
    assert FeedView([]).place == 0


def test_what_is_new_what_ends_and_what_comes_late() -> None:
    view = FeedView(page([3, 1]))
    assert told(view, [5, 4, 3, 1]) == ([], [4, 5])
    assert told(view, [5, 4, 2, 1]) == ([3], [2])
    assert view.place == 5
    assert told(view, [4, 2, 1]) == ([5], [])
    assert view.place == 5, "a client that comes back must not be told the others again"
    assert told(view, []) == ([1, 2, 4], [])


def test_who_comes_back_has_what_is_not_newer_than_their_place() -> None:
    view = FeedView(page([5, 4, 2]), 3)
    assert told(view, [5, 4, 2]) == ([], [4, 5])
    assert told(FeedView(page([5, 4]), 0), [5, 4]) == ([], [4, 5])


def test_a_place_that_there_is_not_yet_keeps_nothing_away() -> None:
    view = FeedView(page([5, 4]), 2**63 - 1)
    assert told(view, [6, 5, 4]) == ([], [6])
    assert view.place == 6


def test_what_comes_into_sight_is_no_news_and_what_goes_out_of_it_does_not_end() -> None:
    everything = range(1, WINDOW + 11)
    view = FeedView(page(everything))
    ended = [*everything[:-3], WINDOW + 10]
    assert told(view, ended) == ([WINDOW + 8, WINDOW + 9], [])
    more = [*ended, *range(100, 105)]
    assert told(view, more) == ([], [*range(100, 105)])
    assert told(view, [*more, 50]) == ([], [])


def test_whether_something_may_have_been_missed_in_between() -> None:
    view = FeedView(page([1]))
    assert not view.may_miss(page(range(1, WINDOW)))
    assert view.may_miss(page(range(2, WINDOW + 2)))
    assert FeedView([]).may_miss(page(range(1, WINDOW + 1)))
    assert not FeedView([]).may_miss(page(range(1, WINDOW)))


def test_a_client_that_does_as_it_is_told_has_what_is_in_sight() -> None:
    random = Random(7)
    feed = set(random.sample(range(1_000), 70))
    view = FeedView(page(feed))
    client = {entry_id(entry) for entry in page(feed)}
    for step in range(300):
        before = set(feed)
        feed -= set(random.sample(sorted(feed), random.randint(0, min(4, len(feed)))))
        feed |= {random.randint(900, 1_000) + step for _ in range(random.randint(0, 4))}
        gone, new = told(view, feed)
        assert set(gone) <= before - feed
        assert not client & set(new)
        assert set(new) <= feed - before
        client = (client - set(gone)) | set(new)
        newest = {entry_id(entry) for entry in page(feed)}
        bottom = min(newest) if len(newest) == WINDOW else 0
        # Out of sight a client keeps nothing. What came into sight from there it never had, or has no more.
        client = {each for each in client if each >= bottom}
        assert client <= newest
        assert newest - client <= before
        client |= newest
