"""A real browser logs in at a running system through GitHub, makes a token, uses and revokes it, and logs out."""

import shutil
import time
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from tests.e2e.client import api_client, eventually
from tests.e2e.stack import Stack
from tests.fake_github import FakeGitHub

CHROMIUM = "/usr/bin/chromium"
#: Milliseconds; a test that waits longer has found a fault.
DEADLINE = 30_000
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    # No page, and nothing of the browser's own, leads out of this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

pytestmark = pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason="there is no chromium: apt-get install chromium")


@pytest.fixture
async def context(github: FakeGitHub) -> AsyncIterator[BrowserContext]:
    """With JavaScript off: nothing here may need it."""
    github.asks = True
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context(java_script_enabled=False)
        context.set_default_timeout(DEADLINE)
        yield context
        await browser.close()


@pytest.fixture
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    page = await context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    yield page
    # Refusals that a test asks for are told as well.
    assert [text for text in told if "policy" in text.lower()] == [], "the pages keep to their own policy"


async def test_a_person_logs_in_makes_a_token_revokes_it_and_logs_out(
    shared_stack: Stack, context: BrowserContext, page: Page, github: FakeGitHub
) -> None:
    expect.set_options(timeout=DEADLINE)
    await page.goto(f"{shared_stack.gateway}/account")
    # Not logged in, so sent to GitHub, which asks.
    await expect(page.get_by_role("heading", name="Authorize Delinkcious")).to_be_visible()
    assert page.url.startswith(f"{github.url}/login/oauth/authorize?")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("alert")).to_contain_text("GitHub was not allowed to say who you are")

    await page.get_by_role("link", name="Log in").click()
    await page.get_by_role("button", name="Authorize").click()
    await expect(page.get_by_role("heading", name="The Octocat", level=1)).to_be_visible()
    assert page.url == f"{shared_stack.gateway}/account"
    (cookie,) = [cookie for cookie in await context.cookies() if cookie["name"] == "delinkcious"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    await expect(page.get_by_text("You have no tokens.")).to_be_visible()
    await expect(page.get_by_role("region", name="Your sessions")).to_contain_text("Chrome")

    await page.get_by_label("Name", exact=True).fill("laptop")
    await page.get_by_label("read links and tags").check()
    await page.get_by_label("save, change, delete").check()
    await page.get_by_role("button", name="Make the token").click()
    token = await page.get_by_label("Token").input_value()
    assert token.startswith("dlt_")

    async with api_client(shared_stack.gateway, token) as program:
        saved = await program.expect("POST", "/v1/links", body={"url": "https://a.example/", "title": "A"})
        assert saved["link"]["Title"] == "A"
        refused = await program.call("GET", "/v1/news")
        assert (refused.status, refused.json["code"]) == (403, "insufficient_scope")

        await page.get_by_role("link", name="Back to your account").click()
        assert token not in await page.content()
        await page.get_by_role("button", name="Revoke the token laptop").click()
        await expect(page.get_by_role("status")).to_have_text("The token is revoked.")
        revoked = time.monotonic()

        async def is_refused() -> bool:
            return (await program.call("GET", "/v1/links")).status == 401

        await eventually(is_refused, "the revoked token is refused")
        print(f"the token is refused after {time.monotonic() - revoked:.3f} s")

    await page.get_by_label("Private account").check()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_label("Private account")).to_be_checked()
    for event in ("login", "token made", "token revoked", "account changed"):
        await expect(page.get_by_role("cell", name=event, exact=True).first).to_be_visible()

    await page.get_by_role("link", name="Log out").click()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="You are logged out")).to_be_visible()
    assert not [kept for kept in await context.cookies() if kept["name"] == "delinkcious"]
    async with api_client(shared_stack.gateway, cookie["value"]) as thief:
        assert (await thief.call("GET", "/v1/me")).status == 401
