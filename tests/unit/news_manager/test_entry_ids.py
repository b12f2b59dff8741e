from datetime import UTC, datetime, timedelta

from pkg.news_manager.entry_ids import GROUPS, group_of_entry, group_of_user, make_entry_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def test_newer_is_greater_whoever_did_it() -> None:
    late = make_entry_id(NOW + MILLISECOND, 0, 2**63 - 1)
    assert late > make_entry_id(NOW, 2**63 - 1, 1)
    assert make_entry_id(NOW, 7, 1) == make_entry_id(NOW, 7, 1)
    assert make_entry_id(NOW, 7, 1) != make_entry_id(NOW, 8, 1)


def test_an_id_says_its_authors_group() -> None:
    for author_id in range(1, 1_000):
        assert group_of_entry(make_entry_id(NOW, author_id * 977, author_id)) == group_of_user(author_id)
    assert {group_of_user(user_id) for user_id in range(1, 1_000)} == set(range(GROUPS))


def test_ids_are_63_bits_at_any_time() -> None:
    for year in (1, 1960, 1970, 2039, 9999):
        assert 0 <= make_entry_id(datetime(year, 6, 1, tzinfo=UTC), 2**63 - 1, 2**63 - 1) < 2**63
