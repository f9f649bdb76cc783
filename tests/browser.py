"""What a person sees: pages opened in the system's Chromium, with a picture of each kept."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(os.environ.get("GAINLOOP_ARTIFACTS", Path(__file__).parent.parent / "build" / "screenshots"))
"""Where pictures of pages are kept."""

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
PATIENCE_MS = 60_000


@contextmanager
def open_page(url: str) -> Iterator[Page]:
    """Open a page in a headless browser; one that can be asked for what it shows.

    Close it before the next event loop starts: Playwright's own runs in this thread.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url, wait_until="domcontentloaded")
        yield page
        browser.close()


def log_in(page: Page, user_and_password: str) -> None:
    """Give Prefect's page the user and the password that it asks for, ``user:password``."""
    page.get_by_placeholder("admin:pass").fill(user_and_password)
    page.get_by_role("button", name="Login").click()


def require_text(page: Page, text: str, picture: str) -> None:
    """Wait until a page shows a text, and keep a picture of the whole page, whether it came or not."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    try:
        page.get_by_text(text).first.wait_for()
    finally:
        page.screenshot(path=PICTURES / f"{picture}.png", full_page=True)
