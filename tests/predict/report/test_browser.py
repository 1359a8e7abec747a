"""The page in headless Chromium: errors, sorting, pictures, sound, requests, widths, colours."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from foal.tests.predict.report.conftest import MISTAKES  # noqa: E402

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and chromedriver are not installed (Debian: apt-get install chromium chromium-driver)")
    options = Options()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    return browser


def column(browser: Any, table: Any, at: int) -> list[str]:
    script = "return [...arguments[0].tBodies[0].rows].map((row) => row.cells[arguments[1]].textContent)"
    return list(browser.execute_script(script, table, at))


def test_the_page_has_no_error_and_sends_no_request(opened: Any, page: Path) -> None:
    played = opened.execute_async_script(
        """const done = arguments[arguments.length - 1], player = document.querySelector("audio");
        player.onloadedmetadata = () => done(player.duration); player.onerror = () => done(-1); player.load();"""
    )
    assert played > 0.2
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in urls
    assert [url for url in urls if url != page.as_uri() and not url.startswith("data:")] == []


def test_the_policy_blocks_what_is_added_later(opened: Any) -> None:
    opened.execute_script(
        """const image = new Image(); image.src = "http://127.0.0.1:9/x.png"; document.body.append(image);
        const style = document.createElement("script"); style.textContent = "window.added = 1";
        document.body.append(style);"""
    )
    assert opened.execute_script("return window.added === undefined")
    assert any("Content Security Policy" in entry["message"] for entry in opened.get_log("browser"))


def test_pictures_load(opened: Any) -> None:
    widths = opened.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == MISTAKES
    assert min(widths) > 0


def test_a_table_is_sorted_by_click_and_by_keyboard(opened: Any) -> None:
    table = next(
        found
        for found in opened.find_elements(By.TAG_NAME, "table")
        if found.find_element(By.TAG_NAME, "caption").text == "Speakers"
    )
    heads = table.find_elements(By.CSS_SELECTOR, "thead th")
    assert {head.get_attribute("aria-sort") for head in heads} == {"none"}
    button = heads[1].find_element(By.TAG_NAME, "button")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    assert heads[1].get_attribute("aria-sort") == "descending"
    values = [float(text) for text in column(opened, table, 1)]
    assert values == sorted(values, reverse=True)
    button.send_keys(Keys.ENTER)
    assert heads[1].get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in column(opened, table, 1)]
    assert values == sorted(values)
    assert len(set(values)) > 1
    heads[0].find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    names = column(opened, table, 0)
    assert names == sorted(names)
    assert [head.get_attribute("aria-sort") for head in heads[:2]] == ["ascending", "none"]


def test_the_first_key_goes_to_the_link_that_skips_to_the_results(opened: Any) -> None:
    opened.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    focused = opened.switch_to.active_element
    assert focused.get_attribute("href").endswith("#content")
    assert focused.rect["y"] >= 0
    focused.send_keys(Keys.ENTER)
    assert opened.switch_to.active_element.get_attribute("id") == "content"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_as_wide_as_the_screen(opened: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        shown = "return [innerWidth, document.documentElement.scrollWidth - document.documentElement.clientWidth]"
        assert opened.execute_script(shown) == [width, 0]
        overhang = opened.execute_script(
            """return [...document.querySelectorAll("main *")].filter((part) => !part.closest(".scroll, pre, svg")
            && part.getBoundingClientRect().right > innerWidth + 1).map((part) => part.outerHTML.slice(0, 80))"""
        )
        assert overhang == []
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def contrast(first: list[float], second: list[float]) -> float:
    """Contrast of two sRGB colours by WCAG 2."""

    def luminance(colour: list[float]) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_in_both_schemes(opened: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    grounds = set()
    for selector, behind in (
        ("h1", "body"), (".below", "body"), (".warnings li", ".warnings"), ("nav a", "body"), (".wrong", ".clip"),
    ):  # fmt: skip
        colours = opened.execute_script(
            """return [[arguments[0], "color"], [arguments[1], "backgroundColor"]].map(([name, key]) =>
            getComputedStyle(document.querySelector(name))[key].match(/[\\d.]+/g).slice(0, 3).map(Number))""",
            selector,
            behind,
        )
        assert contrast(*colours) >= 4.5, selector
        grounds.add(sum(colours[1]) > 384)
    assert grounds == {scheme == "light"}


def test_print_fits_on_paper_without_controls(opened: Any) -> None:
    size = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # A4 with the default margins
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        shown = "return [document.documentElement.scrollWidth - document.documentElement.clientWidth]"
        assert opened.execute_script(shown) == [0]
        assert not any(part.is_displayed() for part in opened.find_elements(By.CSS_SELECTOR, "nav, audio, .skip"))
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
