"""A browser for the tests of the page: Debian's chromium, driven by Playwright."""

import os
from pathlib import Path

import pytest

CHROMIUM = Path(os.environ.get("PRUNE_ENV_CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture(scope="session")
def browser():
    """A headless browser; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install it")
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium, or PRUNE_ENV_CHROMIUM")
    with playwright.sync_playwright() as driver:
        # Its own sandbox does not start for root, as whom CI runs.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A new page of 1280 x 800 that fails its test for any error or any request elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(15_000)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # When the server ends, the browser itself tells of the streams that it held.
    page.on(
        "console",
        lambda told: told.type == "error" and "net::" not in told.text and wrong.append(told.text),
    )
    page.on("request", lambda asked: asked.url.startswith(LOCAL) or wrong.append(asked.url))
    page.wrong = wrong
    yield page
    context.close()
    assert not wrong


LOCAL = ("http://127.0.0.1:", "blob:http://127.0.0.1:")
