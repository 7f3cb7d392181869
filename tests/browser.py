"""A real browser for tests: Debian's Chromium, headless, driven by Selenium."""

import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


@dataclass(frozen=True)
class Browser:
    """What tests ask of the browser."""

    driver: webdriver.Chrome

    def open(self, page: Path) -> None:
        """Loads a page from the disk; what was logged before is forgotten."""
        self.driver.get("about:blank")
        self.requests()
        self.complaints()
        self.driver.get(page.as_uri())

    def js(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def css(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> Sequence[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def words(self, selector: str) -> str:
        """The text of an element, hidden or not, with single spaces."""
        return " ".join(str(self.js("return arguments[0].textContent", self.css(selector))).split())

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last call."""
        entries: list[Any] = self.driver.get_log("performance")  # pyright: ignore[reportAssignmentType]
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [str(m["params"]["request"]["url"]) for m in sent]

    def complaints(self) -> list[str]:
        """What the console got since the last call: errors, warnings, refusals by the policy."""
        entries: list[Any] = self.driver.get_log("browser")  # pyright: ignore[reportAssignmentType]
        return [str(entry["message"]) for entry in entries]

    def emulate(self, width: int = 1000, height: int = 800, scheme: str = "light") -> None:
        """A window's size, and whether the system is light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


@contextmanager
def chromium() -> Generator[Browser]:
    """Chromium for the time of a block; the test is skipped where it is not installed."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
