"""A real browser for tests of pages: headless Chromium, which is told to leave the network alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser with a profile in this folder, which is new.

    The test is skipped where there is no Chromium, unless GLIOLAKE_BROWSER=required says that there has to be one.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        missing = pytest.fail if os.environ.get("GLIOLAKE_BROWSER") == "required" else pytest.skip
        missing("tests of pages need the commands chromium and chromedriver; make browser installs them")
    options = ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With the driver's path given, selenium looks for none and downloads none.
    opened = Chrome(options, Service(driver))
    try:
        opened.get("about:blank")  # not the page for new tabs, which asks for much
        yield opened
    finally:
        opened.quit()


def visit(browser: Chrome, page: Path, *, width: int = 1280, height: int = 900) -> tuple[list[str], list[str]]:
    """Open a file in a window of this size; return what its console said, and every address that was asked for."""
    for log in ("browser", "performance"):
        browser.get_log(log)
    resize(browser, width, height)
    browser.get(page.as_uri())
    console = [entry["message"] for entry in browser.get_log("browser")]
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return console, asked


def resize(browser: Chrome, width: int, height: int = 900, *, media: str = "") -> None:
    """Give the page so much room, narrower than any window can be, and let it take itself for this medium."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
