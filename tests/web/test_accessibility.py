"""The page with the keyboard alone, on a phone, in the dark, from a shell; and how it is served."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Server
from playwright.sync_api import Browser, Locator, Page, expect
from support.browsing import BOOT, SHIRT, cards, choose, colourful, file, opened


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with opened(browser, server.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        yield page


def test_with_the_keyboard_alone(page: Page) -> None:
    def tab_to(target: Locator) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if target.evaluate("(element) => element === document.activeElement"):
                return
        pytest.fail(f"{target} cannot be reached")

    tab_to(page.get_by_label("Choose pictures"))
    tab_to(page.get_by_role("button", name="Ankle boot", exact=True))
    page.keyboard.press("Enter")
    (card,) = cards(page, 1)
    tab_to(card.get_by_role("radio", name="Ankle boot"))
    page.keyboard.press("ArrowUp")
    expect(card.get_by_role("radio", name="Bag")).to_be_checked()
    expect(card.get_by_role("img", name="map of Bag")).to_be_visible()
    tab_to(card.get_by_role("checkbox", name="Activation map"))
    page.keyboard.press("Space")
    assert colourful(card.locator("canvas")) == 0
    tab_to(card.locator("summary"))
    page.keyboard.press("Enter")
    tab_to(card.get_by_role("button", name="Copy"))
    page.keyboard.press("Enter")
    expect(card.get_by_role("button", name="Copied")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    tab_to(page.get_by_role("link", name="API documentation"))
    page.get_by_role("button", name="Remove ankle-boot.png").press("Enter")
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.get_by_label("Choose pictures")).to_be_focused()


def test_the_command_does_what_the_page_did(page: Page, tmp_path: Path, needs: Callable[[bool, str], None]) -> None:
    needs(shutil.which("curl") is not None, "curl")
    path = tmp_path / """it's; a "boot", \\ 1.png"""
    path.write_bytes(BOOT.read_bytes())
    (card,) = choose(page, path)
    with page.expect_response(re.compile("/explain")) as response:
        card.get_by_role("group", name="Read as").get_by_text("As it is").click()
    cards(page, 1)
    card.get_by_text("Request and timings").click()
    card.get_by_role("button", name="Copy").click()
    command = page.evaluate("navigator.clipboard.readText()")
    printed = subprocess.run(
        ["bash", "-c", command + " --silent"], cwd=tmp_path, capture_output=True, timeout=60
    ).stdout
    ours, theirs = json.loads(printed), response.value.json()
    assert ours["seen"] == theirs["seen"]
    assert ours["probabilities"] == theirs["probabilities"]


def test_the_command_for_a_sample_needs_no_file(page: Page, tmp_path: Path, needs: Callable[[bool, str], None]) -> None:
    needs(shutil.which("curl") is not None, "curl")
    with page.expect_response(re.compile("/explain")) as response:
        page.get_by_role("button", name="as in a photo").click()
    (card,) = cards(page, 1)
    command = card.locator(".curl code").text_content()
    printed = subprocess.run(["bash", "-c", str(command)], cwd=tmp_path, capture_output=True, timeout=60).stdout
    assert json.loads(printed)["probabilities"] == response.value.json()["probabilities"]


def test_on_a_phone(browser: Browser, server: Server) -> None:
    viewport = {"width": 375, "height": 700}
    with opened(browser, server.url, viewport=viewport, has_touch=True, is_mobile=True) as page:
        name = "a_very_long_name_without_any_space_as_cameras_and_messengers_give_them_2026.png"
        choose(page, BOOT, file(name, SHIRT.read_bytes()), file("broken.png", BOOT.read_bytes()[:100]))
        for summary in page.locator("summary:visible").all():
            summary.tap()
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        assert page.get_by_label("Take a photo").get_attribute("capture") == "environment"
        expect(page.get_by_text("Take a photo")).to_be_visible()
        small = page.locator("button:visible, label.button:visible, .segments label:visible").evaluate_all(
            "(all) => all.filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"
        )
        assert small == []  # WCAG 2.2, target size


CONTRASTS = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = colour.map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        const mixed = colour.startsWith("color("); // color(srgb …) has its parts from 0 to 1
        const rgb = mixed ? parse(colour).map((c, i) => (i < 3 ? 255 * c : c)) : parse(colour);
        return (rgb[3] ?? 1) === 1 ? rgb : ground(element.parentElement);
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const shown = element.checkVisibility() && !element.closest(".visually-hidden, :disabled");
        if (!shown || !walker.currentNode.data.trim()) continue;
        const pair = [parse(getComputedStyle(element).color), ground(element)].map((c) => light(c.slice(0, 3)));
        found.push([(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), walker.currentNode.data.trim()]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser: Browser, server: Server, scheme: Any) -> None:
    """WCAG 2.2, contrast at least 4.5, whatever the colour scheme; and it follows the reader's."""
    with opened(browser, server.url, color_scheme=scheme, reduced_motion="reduce") as page:
        (card, _) = choose(page, SHIRT, file("notes.txt", b"no picture"))
        card.get_by_text("Request and timings").click()
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 40
        assert [pair for pair in contrasts if pair[0] < 4.5] == []
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 300) == (scheme == "dark")


def test_small_strict_and_cached(browser: Browser, server: Server, client: httpx.Client) -> None:
    sizes: dict[str, int] = {}
    page = browser.new_page()
    page.on(
        "response", lambda r: sizes.update({r.url: len(client.get(r.url).content)}) if "/health" not in r.url else None
    )
    page.goto(server.url, wait_until="networkidle")
    page.close()
    assert len(sizes) >= 15
    assert sum(sizes.values()) < 100_000
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/web/app.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert client.head("/").headers["content-length"] == str(len(response.content))
    again = client.get("/", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/web/", "/web/nothing.js", "/web/..%2fmain.py", "/web/%00", "/web/samples/README.md"):
        assert client.get(path).json()["code"] == "not-found"
