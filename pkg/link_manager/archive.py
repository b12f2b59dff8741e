"""Where an archive of the web would have a copy of a page. Nobody is asked whether it has one."""

from typing import Final
from urllib.parse import quote

from pkg.link_manager.urls import parse_url

DEFAULT_TEMPLATE: Final = "https://web.archive.org/web/{url}"

_PLACE: Final = "{url}"
_MAX_TEMPLATE: Final = 500


def parse_template(text: str) -> str:
    """``text`` itself; empty for no archive.

    Raises:
        ValueError: it is no http or https URL, or has not one place for the URL of the page, at the end of its path or
            in its query.
    """
    if not text:
        return text
    if not text.startswith(("http://", "https://")) or not text.isascii() or len(text) > _MAX_TEMPLATE:
        raise ValueError(f"must be an http or https URL in ASCII of at most {_MAX_TEMPLATE} characters, or empty")
    before, _, after = text.partition(_PLACE)
    if text.count(_PLACE) != 1 or "#" in text or before.count("/") < 3:
        raise ValueError(f"must have {_PLACE} in it, once, behind the host, and no fragment")
    if after and "?" not in before:
        raise ValueError(f"must have nothing behind {_PLACE}, unless that is in the query")
    return text


def archived_url(template: str, url: str) -> str:
    """Where a copy of ``url``, a saved one, would be. ``template``: a parsed one that is not empty.

    In a query the whole URL is one value, and is escaped as such. At the end of a path it stands as it is, in ASCII:
    archives read it so, and a fragment is the browser's affair there as it was on the page.
    """
    before, _, after = template.partition(_PLACE)
    address = parse_url(url).canonical
    return before + (quote(address, safe="") if "?" in before else address) + after
