"""From a bookmarks file to links, and from what became of them to a report.

Reading is free of side effects and may take a second for a large file: it is done in a thread. Rows of one file that
are the same link are merged before anything is saved. A value that is too long is cut and told, not refused: an import
should lose nothing that can be kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import IO, Final

from pkg.link_manager.bookmark_file import Bookmark, read_bookmarks
from pkg.link_manager.store import Candidate, ImportOutcome
from pkg.link_manager.tags import MAX_TAGS, mend_tag, merge_tags
from pkg.link_manager.urls import MAX_URL_LENGTH, SavedUrl, parse_url
from pkg.object_model.clock import IdGenerator
from pkg.object_model.errors import InvalidArgument, TooLarge
from pkg.object_model.types import (
    MAX_IMPORT_ROWS_LISTED,
    ImportAction,
    ImportReport,
    ImportRequest,
    ImportRow,
    Link,
    LinkStatus,
)

MAX_TITLE_LENGTH: Final = 1_024
MAX_DESCRIPTION_LENGTH: Final = 65_536
#: Rows of a file. So many fit the largest file only if they have no titles.
MAX_IMPORT_ROWS: Final = 200_000

#: What no database keeps.
UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

_ACTIONS: Final = {
    ImportOutcome.IMPORTED: ImportAction.IMPORTED,
    ImportOutcome.MERGED: ImportAction.MERGED,
    ImportOutcome.UNCHANGED: ImportAction.UNCHANGED,
    ImportOutcome.LIMIT_REACHED: ImportAction.SKIPPED,
}


@dataclass(slots=True)
class _Row:
    line: int
    url: str
    #: Which candidate it became part of; None if it cannot be saved.
    candidate: int | None
    #: Why not, or what was lost on the way.
    reason: str = ""


@dataclass(slots=True)
class ImportPlan:
    """What a file asks for."""

    candidates: list[Candidate] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)
    #: The row that each candidate began with.
    first_rows: list[int] = field(default_factory=list)


def read_plan(file: IO[bytes], request: ImportRequest, now: datetime, ids: IdGenerator) -> ImportPlan:
    """
    Raises:
        InvalidArgument: it is no bookmarks file.
        TooLarge: it has too many rows.
    """
    plan = ImportPlan()
    places: dict[str, int] = {}
    for bookmark in read_bookmarks(file):
        if len(plan.rows) >= MAX_IMPORT_ROWS:
            raise TooLarge(f"the file has more than {MAX_IMPORT_ROWS} bookmarks; split it", code="too_many_bookmarks")
        _take(plan, places, bookmark, request, now, ids)
    return plan


def _take(
    plan: ImportPlan,
    places: dict[str, int],
    bookmark: Bookmark,
    request: ImportRequest,
    now: datetime,
    ids: IdGenerator,
) -> None:
    row = _Row(bookmark.line, bookmark.url[:MAX_URL_LENGTH], None)
    plan.rows.append(row)
    try:
        url = parse_url(bookmark.url)
    except InvalidArgument as error:
        row.reason = error.code
        return
    link, row.reason = _make_link(url, bookmark, request, now)
    place = places.setdefault(url.canonical, len(plan.candidates))
    row.candidate = place
    if place == len(plan.candidates):
        plan.candidates.append(Candidate(url.key, replace(link, id=ids.new_id())))
        plan.first_rows.append(len(plan.rows) - 1)
    else:
        present = plan.candidates[place]
        plan.candidates[place] = Candidate(present.url_key, merge_links(present.link, link))


def _make_link(url: SavedUrl, bookmark: Bookmark, request: ImportRequest, now: datetime) -> tuple[Link, str]:
    """The link, and a word on what of it had to be cut."""
    given = (*bookmark.tags, *bookmark.folders) if request.folders_as_tags else bookmark.tags
    tags = merge_tags((), map(mend_tag, given))
    title = UNSTORABLE.sub("\ufffd", bookmark.title)
    description = UNSTORABLE.sub("\ufffd", bookmark.description)
    cut = ""
    if len(title) > MAX_TITLE_LENGTH:
        title, cut = title[:MAX_TITLE_LENGTH], "title_cut"
    if len(description) > MAX_DESCRIPTION_LENGTH:
        description, cut = description[:MAX_DESCRIPTION_LENGTH], "description_cut"
    if len(tags) > MAX_TAGS:
        tags, cut = tags[:MAX_TAGS], "tags_cut"
    # A time to come would keep it on top of the list for ever.
    created_at = min(bookmark.created_at or now, now)
    updated_at = max(created_at, min(bookmark.updated_at or created_at, now))
    link = Link(
        id=0,
        url=url.text,
        title=title,
        description=description,
        status=LinkStatus.PENDING,
        tags=tags,
        created_at=created_at,
        updated_at=updated_at,
        visibility=bookmark.visibility or request.visibility,
        version=0,
    )
    return link, cut


def merge_links(present: Link, other: Link) -> Link:
    """``present`` with the other's tags, and its texts where there are none."""
    return replace(
        present,
        title=present.title or other.title,
        description=present.description or other.description,
        tags=merge_tags(present.tags, other.tags)[: max(MAX_TAGS, len(present.tags))],
    )


def merge_into_saved(saved: Link, candidate: Link, now: datetime) -> Link:
    """What becomes of a saved link when a file has it as well; the same object if nothing does."""
    merged = merge_links(saved, candidate)
    if merged == saved:
        return saved
    return replace(merged, updated_at=max(now, saved.updated_at), version=saved.version + 1)


def make_report(import_id: int, plan: ImportPlan, outcomes: Sequence[ImportOutcome]) -> ImportReport:
    counts = dict.fromkeys(ImportAction, 0)
    told: list[ImportRow] = []
    unchanged: list[ImportRow] = []
    worth_telling = 0
    for number, row in enumerate(plan.rows):
        action, reason = _judge(plan, outcomes, number, row)
        counts[action] += 1
        if action is ImportAction.IMPORTED and not reason:
            continue
        worth_telling += 1
        rows = unchanged if action is ImportAction.UNCHANGED else told
        if len(rows) < MAX_IMPORT_ROWS_LISTED:
            rows.append(ImportRow(line=row.line, url=row.url, action=action, reason=reason))
    # What needs a person's attention first; of what is as it was, as many as there is room for.
    listed = (told + unchanged)[:MAX_IMPORT_ROWS_LISTED]
    listed.sort(key=lambda row: row.line)
    return ImportReport(
        import_id=import_id,
        total=len(plan.rows),
        imported=counts[ImportAction.IMPORTED],
        merged=counts[ImportAction.MERGED],
        unchanged=counts[ImportAction.UNCHANGED],
        skipped=counts[ImportAction.SKIPPED],
        rows=listed,
        rows_truncated=worth_telling > MAX_IMPORT_ROWS_LISTED,
    )


def _judge(plan: ImportPlan, outcomes: Sequence[ImportOutcome], number: int, row: _Row) -> tuple[ImportAction, str]:
    if row.candidate is None:
        return ImportAction.SKIPPED, row.reason
    outcome = outcomes[row.candidate]
    if outcome is ImportOutcome.LIMIT_REACHED:
        return ImportAction.SKIPPED, outcome.value
    first = plan.first_rows[row.candidate]
    if outcome is ImportOutcome.UNCHANGED:
        return ImportAction.UNCHANGED, "already_saved"
    if number != first:
        return ImportAction.MERGED, f"duplicate_of_line_{plan.rows[first].line}"
    return _ACTIONS[outcome], row.reason or ("already_saved" if outcome is ImportOutcome.MERGED else "")
