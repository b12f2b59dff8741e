"""The keys of news in Valkey (see docs/adr/012 and 037).

::

    feed:{b}:<user>                   list of entry ids, newest first      b: the reader's group
    news:reader:{b}:<user>            hash: who builds the feed, or that   b: the reader's
                                      it is built; and of each author
                                      whose timeline it takes from, how
                                      far it has come
    news:entry:{b}:<entry>            <author>:<link>:<entry, as JSON>     b: its author's
    news:link:{b}:<author>:<link>     <rank>:<entry id, or nothing>        b: the author's
    news:since:{b}                    when it was begun to remember them,  b: theirs
                                      in milliseconds since 1970
    news:timeline:{b}:<author>        list of entry ids, as they came      b: the author's
    news:count:{b}:<author>           a number that rises by one with      b: the author's
                                      each of them
    news:counts:{b}                   hash of these numbers by author,     b: each, for its readers
                                      which may be late
    news:newest:{b}                   hash of the ids that came last, by   b: each, for its readers
                                      author: <number>:<id>,<id>...
    news:untold:{b}:<author>          which followers to tell of it next,  b: the author's
                                      or that all are told; while it is
                                      there, the timeline is open
    news:progress:{b}:<author>:<entry>  which followers to push to next    b: the author's
    news:follow:{b}:<user>:<author>   the newest order known of the two    b: the user's
    news:left:{b}:<author>            hash of those who left lately        b: theirs
    news:gone:{b}                     users who are gone, by when that     b: theirs
                                      is forgotten
    news:written:{0}                  written after what replicas are to   0
                                      have

Keys of one command or script share the tag in braces, and so a slot: the store can be a cluster.
"""

from typing import Final

from pkg.news_manager.entry_ids import group_of_entry, group_of_user

READERS: Final = "news:reader:"
WRITTEN: Final = "news:written:{0}"


def feed_key(reader_id: int) -> str:
    return f"feed:{{{group_of_user(reader_id)}}}:{reader_id}"


def entry_prefix(group: int) -> str:
    return f"news:entry:{{{group}}}:"


def entry_key(entry_id: int) -> str:
    return f"{entry_prefix(group_of_entry(entry_id))}{entry_id}"


def link_key(author_id: int, link_id: int) -> str:
    return f"news:link:{{{group_of_user(author_id)}}}:{author_id}:{link_id}"


def since_key(group: int) -> str:
    return f"news:since:{{{group}}}"


def reader_prefix(group: int) -> str:
    return f"{READERS}{{{group}}}:"


def reader_key(reader_id: int) -> str:
    return f"{reader_prefix(group_of_user(reader_id))}{reader_id}"


def timeline_key(author_id: int) -> str:
    return f"news:timeline:{{{group_of_user(author_id)}}}:{author_id}"


def count_key(author_id: int) -> str:
    return f"news:count:{{{group_of_user(author_id)}}}:{author_id}"


def counts_key(group: int) -> str:
    return f"news:counts:{{{group}}}"


def newest_key(group: int) -> str:
    return f"news:newest:{{{group}}}"


def untold_key(author_id: int) -> str:
    return f"news:untold:{{{group_of_user(author_id)}}}:{author_id}"


def progress_key(author_id: int, entry_id: int) -> str:
    return f"news:progress:{{{group_of_user(author_id)}}}:{author_id}:{entry_id}"


def follow_key(follower_id: int, author_id: int) -> str:
    return f"news:follow:{{{group_of_user(follower_id)}}}:{follower_id}:{author_id}"


def left_key(follower_group: int, author_id: int) -> str:
    return f"news:left:{{{follower_group}}}:{author_id}"


def gone_key(group: int) -> str:
    return f"news:gone:{{{group}}}"
