"""Driving the page: opening it, giving it pictures, waiting for its answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import PICTURES
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

expect.set_options(timeout=60_000)
BOOT, BAG, SHIRT = (PICTURES / f"{name}.png" for name in ("ankle-boot-0000", "bag-0018", "shirt-0004"))


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """The page; at the end, it has asked no other host, nothing was missing and no script failed."""
    page = browser.new_page(**context)
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((url, "data:", "blob:")) else wrong.append(request.url),
    )
    page.on("response", lambda r: wrong.append(r.url) if r.status >= 400 and "/explain" not in r.url else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda m: wrong.append(m.text) if m.type == "error" and "Failed to load resource" not in m.text else None,
    )
    page.goto(url)
    yield page
    page.close()
    assert wrong == []


def cards(page: Page, count: int) -> list[Locator]:
    """The cards from top to bottom, when there are `count` and none is waiting."""
    expect(page.locator("article[aria-busy=false]")).to_have_count(count)
    return page.get_by_role("article").all()


def choose(page: Page, *files: Path | FilePayload) -> list[Locator]:
    """The cards of these files, answered."""
    before = page.get_by_role("article").count()
    page.get_by_label("Choose pictures").set_input_files(
        [file(f.name, f.read_bytes()) if isinstance(f, Path) else f for f in files]
    )
    return cards(page, before + len(files))[: len(files)]


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "", "buffer": content}


def colourful(canvas: Locator) -> int:
    """How many pixels are not gray."""
    count: int = canvas.evaluate(
        """(canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let i = 0; i < data.length; i += 4) count += data[i] !== data[i + 1] || data[i] !== data[i + 2];
            return count;
        }"""
    )
    return count
