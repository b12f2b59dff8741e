"""Sites that say "there is no such page" with a success, or send everybody to their front page instead.

A page is suspected by where it led or what it is called; then the site is asked for one that cannot be there. If that
looks the same, the site knows neither. (Bar-Yossef et al., "Sic transit gloria telae", 2004.)
"""

import html
import re
from typing import Final, NamedTuple

from yarl import URL

_MAX_TITLE: Final = 200
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{1,1000})", re.IGNORECASE)
_PATH_SAYS: Final = re.compile(
    r"(?:^|[/_.-])(?:404|not-?_?found|page-?_?not-?_?found|error(?:-?_?page)?)(?:$|[/_.-])", re.IGNORECASE
)
_TITLE_SAYS: Final = re.compile(
    r"\b(?:404|410|not found|no longer (?:available|exists?)|(?:does not|doesn.t) exist|page (?:missing|unavailable)"
    r"|(?:domain|site) (?:is )?(?:for sale|parked)|seite nicht gefunden|page introuvable|p[áa]gina no encontrada)\b",
    re.IGNORECASE,
)


class Page(NamedTuple):
    """Where somebody who asked for a page ended up."""

    url: URL
    #: Of what it says, the beginning; empty where only its head was asked for.
    text: str = ""


def is_suspect(asked: URL, found: Page) -> bool:
    """Whether this could be what the site shows instead of the page."""
    if asked.path in ("", "/"):
        return False
    if found.url != asked:
        if found.url.path in ("", "/") and not found.url.query_string:
            return True
        if _PATH_SAYS.search(found.url.path) and not _PATH_SAYS.search(asked.path):
            return True
    return bool(_TITLE_SAYS.search(_title(found.text)))


def sibling_of(url: URL, name: str) -> URL:
    """What would be beside it, if it had that name."""
    return url.with_query(None).with_path(url.path.rstrip("/").rpartition("/")[0] + "/" + name)


def is_same(found: Page, sibling: Page) -> bool:
    """Whether it is the page for all that is not there."""
    if found.url.with_query(None) == sibling.url.with_query(None):
        return True
    return bool(found.text) and _title(found.text) == _title(sibling.text) != ""


def _title(text: str) -> str:
    title = _TITLE.search(text)
    return " ".join(html.unescape(title[1]).split())[:_MAX_TITLE] if title else ""
