#!/usr/bin/env python3
"""Saves a link of its own, sees it become valid, changes, finds and deletes it: whether a running Delinkcious works."""

import argparse
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EPILOG = """\
Environment:
  DELINKCIOUS_URL        the gateway, as http://127.0.0.1:5000
  DELINKCIOUS_TOKEN      an access token of the user as whom to act
  DELINKCIOUS_DEMO_SITE  a site whose page /ok is there, in place of --url
What is not set is taken from the local stack's DIR/ready.json.

The link has a query string of its own, so that no other link of the user is touched. It is deleted at the end, whatever
happens. Exit code 0 if every step went well, 1 if one did not.
"""
#: Seconds for one call.
CALL_TIMEOUT = 15.0
#: Seconds between two looks at a status.
POLL = 0.25
#: Pages of a list that are looked through for one link.
MAX_PAGES = 1_000
TAG = "delinkcious-smoke-test"


class Failure(Exception):
    """What went wrong, for the person who ran the test."""


class Api:
    """The public API, with what the original's contract promises of it and nothing else."""

    def __init__(self, url: str, token: str) -> None:
        self._base = url.rstrip("/").removesuffix("/v1")
        self._token = token
        host = urllib.parse.urlsplit(url).hostname or ""
        # A proxy knows another machine under this name.
        handlers = [urllib.request.ProxyHandler({})] if host in ("127.0.0.1", "localhost", "::1") else []
        self._opener = urllib.request.build_opener(*handlers)

    def call(self, method: str, path: str, body: object | None = None, **query: str) -> dict[str, Any]:
        """The answer's JSON object. Raises Failure for any other status than 200, and for an ``err``."""
        status, answer = self._send(method, path, body, query)
        if status != 200 or answer.get("err"):
            raise Failure(f"{method} {path}: answered {status}: {answer.get('err') or answer}")
        return answer

    def delete(self, url: str) -> None:
        """Deletes a link; that there is none is no failure."""
        status, answer = self._send("DELETE", "/v1/links", None, {"url": url})
        if status not in (200, 404):
            raise Failure(f"DELETE /v1/links: answered {status}: {answer.get('err') or answer}")

    def links(self, **filters: str) -> Iterator[dict[str, Any]]:
        """All links, page by page."""
        token = ""
        for _ in range(MAX_PAGES):
            page = self.call("GET", "/v1/links", **filters, **({"start_token": token} if token else {}))
            yield from page.get("links") or []
            token = page.get("NextPageToken") or ""
            if not token:
                return
        raise Failure(f"GET /v1/links: has more than {MAX_PAGES} pages")

    def find(self, url: str, **filters: str) -> dict[str, Any] | None:
        return next((link for link in self.links(**filters) if link.get("Url") == url), None)

    def _send(self, method: str, path: str, body: object | None, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        address = self._base + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Access-Token": self._token}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            request = urllib.request.Request(address, data, headers, method=method)  # noqa: S310  # the user's own URL
            try:
                with self._opener.open(request, timeout=CALL_TIMEOUT) as response:
                    status, content = response.status, response.read()
            except urllib.error.HTTPError as refusal:
                with refusal:
                    status, content = refusal.code, refusal.read()
        except (OSError, ValueError) as fault:
            reason = getattr(fault, "reason", fault)
            raise Failure(f"{method} {path}: {self._base} cannot be reached: {reason}") from None
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Failure(f"{method} {path}: answered {status}, which is no JSON object: {content[:200]!r}")
        return status, answer


class SmokeTest:
    def __init__(self, api: Api, page: str, deadline: float, *, poll: float = POLL) -> None:
        self._api = api
        self._mark = f"smoke={secrets.token_hex(8)}"
        parts = urllib.parse.urlsplit(page)
        query = f"{parts.query}&{self._mark}" if parts.query else self._mark
        self.url = parts._replace(query=query).geturl()
        self._title = f"Smoke test {self._mark}"
        self._deadline = deadline
        self._poll = poll

    def run(self) -> None:
        """
        Raises:
            Failure: a step went wrong.
        """
        self._say(f"the link is {self.url}")
        try:
            self._run()
        except BaseException:
            self._clean_up()
            raise

    def _run(self) -> None:
        api, url = self._api, self.url
        self._step("delete it, in case it is there")
        api.delete(url)

        self._step("add it by query string")
        api.call("POST", "/v1/links", url=url, title=self._title)

        self._step("list links")
        link = self._must_find("in the list of all links")
        self._expect(link, "Title", self._title)
        # A quick checker may have been here already.
        if link.get("Status") not in ("pending", "valid"):
            raise Failure(f"a new link is pending; this one is {link.get('Status')}")
        self._say(f"it is {link['Status']}")

        self._step("wait until it is valid")
        self._say(f"it is valid after {self._wait_until_valid():.1f} s")

        self._step("change it")
        api.call("PUT", "/v1/links", {"url": url, "description": "Seen", "add_tags": {TAG: True}})
        link = self._must_find("after its change", url_regex=self._mark)
        self._expect(link, "Title", self._title)
        self._expect(link, "Description", "Seen")
        self._expect(link, "Tags", {TAG: True})

        self._step("find it by tag")
        self._must_find("by its tag", tag=TAG)

        self._step("find it by regular expressions")
        self._must_find("by its URL and title", url_regex=f"[?&]{self._mark}", title_regex=f"^Smoke test {self._mark}$")

        self._step("delete it")
        api.call("DELETE", "/v1/links", url=url)
        if api.find(url, url_regex=self._mark) is not None:
            raise Failure("it is still there after it was deleted")

    def _wait_until_valid(self) -> float:
        began = time.monotonic()
        while True:
            status = self._must_find("while waiting", url_regex=self._mark).get("Status")
            waited = time.monotonic() - began
            if status == "valid":
                return waited
            if status != "pending":
                raise Failure(f"it became {status}; is {self.url} there, as the link checker sees it?")
            if waited > self._deadline:
                raise Failure(f"it is still pending after {self._deadline:g} s; can the link checker reach it?")
            time.sleep(self._poll)

    def _must_find(self, where: str, **filters: str) -> dict[str, Any]:
        link = self._api.find(self.url, **filters)
        if link is None:
            raise Failure(f"it is not found {where}")
        return link

    def _expect(self, link: dict[str, Any], name: str, value: object) -> None:
        if link.get(name) != value:
            raise Failure(f"its {name} is {link.get(name)!r}, not {value!r}")

    def _clean_up(self) -> None:
        try:
            self._api.delete(self.url)
        except Failure as failure:
            print(f"  and it could not be deleted again: {failure}", file=sys.stderr)

    def _step(self, what: str) -> None:
        print(f"- {what}", flush=True)

    def _say(self, what: str) -> None:
        print(f"  {what}", flush=True)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--url", metavar="URL", help="page to save (default: /ok of the demo site)")
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=float, default=60.0, help="until the link must be valid (%(default)g)"
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=Path(".delinkcious"),
        help="data folder of the local stack (%(default)s)",
    )
    return parser.parse_args()


def read_ready_file(folder: Path) -> dict[str, Any]:
    """What the local stack says of itself; empty if there is none."""
    try:
        content = json.loads((folder / "ready.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def choose_page(asked: str | None, ready: dict[str, Any]) -> str:
    site = os.environ.get("DELINKCIOUS_DEMO_SITE") or ready.get("demo_site")
    page = asked or (site and f"{site.rstrip('/')}/ok")
    if not page:
        raise Failure("which page is to be saved? name one with --url")
    if urllib.parse.urlsplit(page).scheme not in ("http", "https"):
        raise Failure(f"--url {page}: must begin with http:// or https://")
    return str(page)


def choose_api(ready: dict[str, Any]) -> Api:
    url = os.environ.get("DELINKCIOUS_URL") or ready.get("gateway")
    token = os.environ.get("DELINKCIOUS_TOKEN") or next(iter(ready.get("tokens", {}).values()), None)
    if not url or not token:
        missing = " and ".join(
            name for name, value in (("DELINKCIOUS_URL", url), ("DELINKCIOUS_TOKEN", token)) if not value
        )
        raise Failure(f"set {missing}, or start the local stack with a user (make up ARGS='--user NAME')")
    return Api(url, token)


def main() -> int:
    arguments = read_arguments()
    ready = read_ready_file(arguments.data)
    try:
        SmokeTest(choose_api(ready), choose_page(arguments.url, ready), arguments.deadline).run()
    except Failure as failure:
        print(f"smoke test: FAILED: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("smoke test: stopped", file=sys.stderr)
        return 1
    print("smoke test: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
