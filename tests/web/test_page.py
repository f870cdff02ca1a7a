"""The page in a real browser: every way a picture comes in, and what is shown for it."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import Server, run_server
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from support.browsing import BAG, BOOT, SHIRT, cards, choose, colourful, file, opened


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with opened(browser, server.url) as page:
        yield page


def as_transfer(page: Page, path: Path) -> Any:
    """A DataTransfer of the browser with this file in it."""
    return page.evaluate_handle(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: "image/png" }));
            return transfer;
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode()],
    )


def test_choosing_several(page: Page, client: httpx.Client) -> None:
    answers = [client.post("/predict", files={"file": path.read_bytes()}).json() for path in (BOOT, BAG, SHIRT)]
    for card, path, answer in zip(choose(page, BOOT, BAG, SHIRT), (BOOT, BAG, SHIRT), answers, strict=True):
        heading = card.get_by_role("heading").inner_text()
        assert heading.startswith(answer["label"])
        assert float(re.search(r"([\d.]+) %", heading)[1]) == pytest.approx(100 * answer["confidence"], abs=1)  # type: ignore[index]
        assert path.name in card.inner_text()
        rows = card.get_by_role("group", name="Probabilities").locator("label").all_inner_texts()
        assert [row.split("\n")[0] for row in rows] == list(answer["probabilities"])
        shares = [float(row.split("\n")[-1].rstrip(" %")) for row in rows]
        assert shares == pytest.approx([100 * p for p in answer["probabilities"].values()], abs=1)
        assert f"{path.name}: {answer['label']}" in page.get_by_role("status").inner_text()


def test_dropping(page: Page) -> None:
    transfer = as_transfer(page, BOOT)
    page.dispatch_event("footer", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to classify")).to_be_visible()
    page.dispatch_event("footer", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to classify")).to_be_hidden()
    (card,) = cards(page, 1)
    expect(card.get_by_role("heading")).to_contain_text("Ankle boot")


def test_pasting(page: Page) -> None:
    page.evaluate(
        "(clipboardData) => document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }))",
        as_transfer(page, BAG),
    )
    (card,) = cards(page, 1)
    expect(card.get_by_role("heading")).to_contain_text("Bag")


def test_corrections_are_sent(page: Page) -> None:
    (card,) = choose(page, BOOT)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).query))
    for group, choice in (("Background", "Light"), ("Read as", "As it is"), ("Read as", "Automatic")):
        with page.expect_response(re.compile("/explain")):
            card.get_by_role("group", name=group).get_by_text(choice, exact=True).click()
        cards(page, 1)
        for button in card.get_by_role("group", name="Background").get_by_role("radio").all():
            expect(button).to_be_enabled(enabled=choice != "As it is")
    assert asked == ["background=light", "mode=native", "background=light"]
    card.get_by_text("Request and timings").click()
    expect(card.locator("code")).to_contain_text("explain?background=light'")


def test_a_photo(page: Page, client: httpx.Client) -> None:
    """Its crop is drawn over the preview, and goes when the picture is taken as it is."""
    sample = client.get("/web/samples/photo.jpg").content
    box = client.post("/predict", files={"file": sample}).json()["preprocessing"]["crop"]
    width, height = Image.open(io.BytesIO(sample)).size
    page.get_by_role("button", name="as in a photo").click()
    (card,) = cards(page, 1)
    expect(card.get_by_role("heading")).to_contain_text("Ankle boot")
    expect(card).to_contain_text("read as a photo, light and dark exchanged")
    drawn = card.locator(".fit").evaluate(
        """(fit) => {
            const [whole, crop] = ["img", ".crop"].map((name) => fit.querySelector(name).getBoundingClientRect());
            const x = (edge) => (edge - whole.left) / whole.width, y = (edge) => (edge - whole.top) / whole.height;
            return [x(crop.left), y(crop.top), x(crop.right), y(crop.bottom), whole.width / whole.height];
        }"""
    )
    left, top, right, bottom = box
    assert drawn == pytest.approx(
        [left / width, top / height, right / width, bottom / height, width / height], abs=0.01
    )
    card.get_by_role("group", name="Read as").get_by_text("As it is").click()
    expect(card).to_contain_text("taken as it is")
    expect(card.locator(".crop")).to_be_hidden()


def test_what_is_no_garment(page: Page, client: httpx.Client) -> None:
    """The page says so where the answer does, and only there."""
    noise = io.BytesIO()
    Image.effect_noise((96, 96), 120).save(noise, "PNG")
    for name, content in (("noise.png", noise.getvalue()), ("bag.png", BAG.read_bytes())):
        strange = client.post("/predict?mode=native", files={"file": content}).json()["out_of_distribution"]
        (card,) = choose(page, file(name, content))
        card.get_by_role("group", name="Read as").get_by_text("As it is").click()
        cards(page, page.get_by_role("article").count())
        expect(card).to_contain_text("taken as it is")
        expect(card.get_by_text("Perhaps none of the ten")).to_be_visible(visible=bool(strange))


def test_the_map_of_every_class(page: Page) -> None:
    (card,) = choose(page, SHIRT)
    canvas = card.locator("canvas")
    views = set()
    for row in card.get_by_role("group", name="Probabilities").locator("label").all():
        row.click()
        name = row.inner_text().split("\n")[0]
        expect(canvas).to_have_attribute("aria-label", re.compile(f"map of {name}"))
        assert colourful(canvas) > 0
        views.add(canvas.evaluate("(canvas) => canvas.toDataURL()"))
    assert len(views) == 10
    card.get_by_role("checkbox", name="Activation map").uncheck()
    assert colourful(canvas) == 0


def test_a_file_that_is_no_picture(page: Page) -> None:
    broken, good, text = choose(page, file("half.png", BOOT.read_bytes()[:200]), BOOT, file("notes.txt", b"no picture"))
    expect(broken).to_contain_text("The picture is damaged: the picture is truncated or damaged")
    expect(text).to_contain_text("Not a picture in a supported format: the data is none of PNG")
    expect(good.get_by_role("heading")).to_contain_text("Ankle boot")
    for card in (broken, text):
        expect(card.locator("fieldset:visible")).to_have_count(0)
    assert "notes.txt: Not a picture" in page.get_by_role("status").inner_text()


def test_a_picture_that_browsers_cannot_show(page: Page) -> None:
    tiff = io.BytesIO()
    Image.open(BOOT).save(tiff, "TIFF")
    (card,) = choose(page, file("boot.tiff", tiff.getvalue()))
    expect(card.get_by_role("heading")).to_contain_text("Ankle boot")
    expect(card).to_contain_text("Your browser cannot show this format")
    expect(card.locator("canvas")).to_be_visible()


def test_a_busy_server_is_asked_once_more(browser: Browser) -> None:
    white = io.BytesIO()
    Image.new("L", (28, 28), 255).save(white, "PNG")
    with run_server(GOOGLENET_ENGINE="support.faults:Poisoned") as server, opened(browser, server.url) as page:
        (card,) = choose(page, file("white.png", white.getvalue()))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        card.get_by_role("group", name="Read as").get_by_text("As it is").click()
        expect(page.get_by_role("status")).to_contain_text("trying again in 1 s")
        expect(card).to_contain_text("the network could not be run on this picture")
        assert len(asked) == 2
        expect(card.get_by_role("button", name="Try again")).to_be_visible()


def test_a_server_that_cannot_be_reached(page: Page) -> None:
    (card,) = choose(page, BOOT)
    page.context.set_offline(True)
    card.get_by_role("group", name="Read as").get_by_text("As it is").click()
    expect(card).to_contain_text("The server cannot be reached")
    page.context.set_offline(False)
    card.get_by_role("button", name="Try again").click()
    expect(card.get_by_role("heading")).to_contain_text("Ankle boot")


def test_a_server_that_wants_a_key(browser: Browser) -> None:
    """It is asked for, a wrong one is said to be wrong, the right one answers what waited, and is kept nowhere."""
    with run_server(GOOGLENET_API_KEY="sesame") as server, opened(browser, server.url) as page:
        one, two = choose(page, BOOT, BAG)
        expect(one).to_contain_text("A valid API key is needed: enter it above")
        field = page.get_by_label("This server asks for an API key")
        expect(field).to_be_focused()
        expect(page.get_by_text("That key was refused")).to_be_hidden()
        field.fill("open")
        field.press("Enter")
        expect(page.get_by_text("That key was refused")).to_be_visible()
        expect(field).to_be_focused()
        cards(page, 2)
        field.fill("sesame")
        field.press("Enter")
        expect(one.get_by_role("heading")).to_contain_text("Ankle boot")
        expect(two.get_by_role("heading")).to_contain_text("Bag")
        expect(field).to_be_hidden()
        one.get_by_text("Request and timings").click()
        expect(one.locator("code")).to_contain_text("Authorization: Bearer KEY")
        assert "sesame" not in page.content()
        assert page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])") == '[{},{},""]'


def tone(card: Locator) -> int:
    """Of what the network saw at its left edge, above the toe of a boot: the background's, 0–255."""
    card.get_by_role("checkbox", name="Activation map").uncheck()
    value: int = card.locator("canvas").evaluate(
        "(canvas) => canvas.getContext('2d').getImageData(8, 0.35 * canvas.height, 1, 1).data[0]"
    )
    return value


def test_the_background_is_what_the_user_says(page: Page) -> None:
    """`Dark` of a light one leaves light and dark as they are; the page says so, and that it does not look it."""
    page.get_by_role("button", name="as in a photo").click()
    (photo,) = cards(page, 1)
    assert tone(photo) < 40
    photo.get_by_role("group", name="Background").get_by_text("Dark", exact=True).click()
    expect(photo).to_contain_text("The background does not look clearly dark.")
    expect(photo.locator(".preprocessing")).to_have_text("read as a photo")
    cards(page, 1)
    assert tone(photo) > 200
    photo.get_by_role("group", name="Background").get_by_text("Light", exact=True).click()
    expect(photo.locator(".preprocessing")).to_have_text("read as a photo, light and dark exchanged")
    expect(photo.locator(".uncertain-background")).to_be_hidden()


def test_dark_is_what_the_data_sets_pictures_are(page: Page) -> None:
    (card,) = choose(page, BOOT)
    card.get_by_role("group", name="Background").get_by_text("Dark", exact=True).click()
    cards(page, 1)
    expect(card.locator(".preprocessing")).to_have_text("taken as it is")
    expect(card.get_by_role("heading")).to_contain_text("Ankle boot")
    expect(card.locator(".uncertain-background")).to_be_hidden()
    card.get_by_role("group", name="Background").get_by_text("Light", exact=True).click()
    expect(card.locator(".preprocessing")).to_have_text("read as a photo, light and dark exchanged")
    expect(card).to_contain_text("The background does not look clearly light.")
    cards(page, 1)
    assert tone(card) > 200
