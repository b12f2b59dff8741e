"""A browser without a window: it keeps cookies, reads forms, and goes where it is sent."""

import html
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import aiohttp
from starlette.types import ASGIApp

from tests.asgi_client import AsgiClient, AsgiResponse


@dataclass
class Browser:
    app: ASGIApp
    #: By name, as browsers keep them.
    cookies: dict[str, str] = field(default_factory=dict)
    #: What it was told to keep, with all that was said of it.
    told: list[str] = field(default_factory=list)

    async def get(self, url: str, **headers: str) -> AsgiResponse:
        return await self._send("GET", url, headers)

    async def post(self, url: str, fields: object = (), *, site: str = "same-origin", **headers: str) -> AsgiResponse:
        body = urlencode(fields).encode()  # type: ignore[arg-type]  # pairs or a dictionary
        form = {"Content-Type": "application/x-www-form-urlencoded", **({"Sec-Fetch-Site": site} if site else {})}
        return await self._send("POST", url, form | headers, body)

    async def submit(self, page: AsgiResponse, action: str, **filled: object) -> AsgiResponse:
        """Sends the first form of the page that leads to ``action``, with what is filled in."""
        return await self.post(action, [*hidden_fields(page, action).items(), *filled.items()])

    async def follow(self, response: AsgiResponse, session: aiohttp.ClientSession) -> AsgiResponse:
        """To wherever it leads: from us to a provider, and back."""
        location = response.headers["location"]
        if urlsplit(location).netloc:
            async with session.get(location, allow_redirects=False) as abroad:
                assert abroad.status == 302, await abroad.text()
                location = abroad.headers["Location"]
        return await self.get(location)

    async def _send(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> AsgiResponse:
        target = urlsplit(url)
        if self.cookies:
            headers = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        async with AsgiClient(self.app) as client:
            response = await client.request(method, target.path, query=target.query, headers=headers, body=body)
        self.told += response.set_cookies
        for cookie in response.set_cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return response


def hidden_fields(page: AsgiResponse, action: str) -> dict[str, str]:
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.body.decode(), re.DOTALL)
    assert form, f"no form to {action} in {page.body.decode()}"
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[0])
    return {name: html.unescape(value) for name, value in found}


def shown(page: AsgiResponse) -> tuple[int, str]:
    """Status and code of a page that says what went wrong."""
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    text = page.body.decode()
    assert 'role="alert"' in text
    return page.status, text.split("Code <code>")[1].partition("<")[0]
