"""What people upload, sent to the running service: the data set's pictures re-made as photos and cut-outs."""

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from app.api.schemas import Preprocessing
from model.ood_detector import TURN_CONFIDENCE
from model.synthetic.uploads import make_upload

SAMPLE = slice(0, 100, 4)
"""Of the hundred committed pictures: two or three of every class."""


def predict(client: httpx.Client, files: list[bytes], **query: str) -> list[dict[str, object]]:
    sent = [("files", content) for content in files]
    response = client.post("/predict/batch", files=sent, params=query)
    assert response.status_code == 200
    answers: list[dict[str, object]] = response.json()["predictions"]
    return answers


def remade(recipe: str, content: bytes, number: int) -> bytes:
    return make_upload(recipe, np.asarray(Image.open(io.BytesIO(content)).convert("L")), number)


def preprocessing_of(answer: dict[str, object]) -> Preprocessing:
    return Preprocessing.model_validate(answer["preprocessing"], strict=False)


@pytest.mark.parametrize(
    "recipe",
    [
        *("white 800×600", "white 900×200", "off-white 400×300", "white, small", "JPEG 75", "WebP 80", "CMYK JPEG"),
        *("phone, EXIF 6", "cut-out RGBA", "studio", "specks", "frame", "blue on white", "negated", "negated ×10"),
    ],
)
def test_remade_pictures_keep_their_labels(
    client: httpx.Client, pictures: list[tuple[str, bytes]], recipe: str
) -> None:
    originals = [content for _, content in pictures[SAMPLE]]
    expected = predict(client, originals)
    answers = predict(client, [remade(recipe, content, i) for i, content in enumerate(originals)])
    for answer in answers:
        preprocessing = preprocessing_of(answer)
        assert preprocessing.mode == "photo"
        assert preprocessing.inverted
    same = sum(answer["label"] == other["label"] for answer, other in zip(answers, expected, strict=True))
    assert same >= 0.85 * len(originals)


@pytest.mark.parametrize(
    "recipe",
    [
        *("black bars, 2", "gray bars, 1", "coloured bars, 3", "black bars, 4", "screenshot, black bars"),
        *("binary, axes", "gray, colour bar", "binary, colour bar", "viridis, colour bar"),
        *("white on a blue disc", "badge with a rim", "round photo"),
    ],
)
def test_what_is_around_a_picture_is_taken_away(
    client: httpx.Client, pictures: list[tuple[str, bytes]], recipe: str
) -> None:
    originals = [content for _, content in pictures[SAMPLE]]
    answers = predict(client, [remade(recipe, content, i) for i, content in enumerate(originals)])
    expected = predict(client, originals)
    same = sum(answer["label"] == other["label"] for answer, other in zip(answers, expected, strict=True))
    assert same >= 0.85 * len(originals)
    assert sum(preprocessing_of(answer).certain for answer in answers) >= 0.9 * len(originals)


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("recipe", ["dark, turned", "28×28, turned"])
def test_turned_pictures_are_put_right(
    client: httpx.Client, pictures: list[tuple[str, bytes]], recipe: str, degrees: int
) -> None:
    originals = [content for _, content in pictures[::2]]
    turned = [remade(f"{recipe} {degrees}", content, i) for i, content in enumerate(originals)]
    answers, expected = predict(client, turned), predict(client, originals)
    same = sum(answer["label"] == other["label"] for answer, other in zip(answers, expected, strict=True))
    assert same >= 0.75 * len(originals)
    righted = [answer for answer in answers if preprocessing_of(answer).rotation]
    upright = [answer for answer in righted if preprocessing_of(answer).rotation == 360 - degrees]
    assert sum(answer["out_of_distribution"] is False for answer in upright) >= 0.6 * len(originals)
    assert all(answer["out_of_distribution"] is (answer["confidence"] < TURN_CONFIDENCE) for answer in righted)
    left = predict(client, turned, rotation="0")
    assert not any(preprocessing_of(answer).rotation for answer in left)
    assert sum(answer["out_of_distribution"] is True for answer in left) >= 0.9 * len(originals)


def test_an_explanation_shows_what_was_turned(client: httpx.Client, boot: bytes) -> None:
    sideways = io.BytesIO()
    Image.open(io.BytesIO(boot)).convert("L").transpose(Image.Transpose.ROTATE_90).save(sideways, "PNG")
    upright = client.post("/explain", files={"file": boot}).json()
    answer = client.post("/explain", files={"file": sideways.getvalue()}).json()
    assert answer["preprocessing"]["rotation"] == 270
    assert answer["label"] == upright["label"]
    one, other = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each["seen"].partition(",")[2])))).astype(int)
        for each in (answer, upright)
    )
    assert abs(one - other).max() <= 1  # for enlarging rounds otherwise in a turned picture
    assert (
        client.post("/explain?mode=native", files={"file": sideways.getvalue()}).json()["preprocessing"]["rotation"]
        == 0
    )


def test_the_data_sets_own_pictures_are_native(client: httpx.Client, pictures: list[tuple[str, bytes]]) -> None:
    files = [content for _, content in pictures[:50]]
    native = {"mode": "native", "inverted": False, "crop": [0, 0, 28, 28], "certain": True, "rotation": 0}
    for auto, asked in zip(predict(client, files, rotation="0"), predict(client, files, mode="native"), strict=True):
        assert auto["preprocessing"] == asked["preprocessing"] == native
        assert auto["probabilities"] == pytest.approx(asked["probabilities"], abs=1e-3)


def product(boot: bytes, background: int = 255) -> bytes:
    """The boot dark in front of something, 160 pixels large, from (200, 60) on."""
    canvas = Image.new("L", (400, 300), background)
    canvas.paste(0, (200, 60, 360, 220), Image.open(io.BytesIO(boot)).convert("L").resize((160, 160)))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def test_what_is_reported(client: httpx.Client, boot: bytes) -> None:
    answer = client.post("/predict", files={"file": product(boot)}).json()
    assert answer["label"] == "Ankle boot"
    preprocessing = answer["preprocessing"]
    crop = preprocessing.pop("crop")
    assert preprocessing == {"mode": "photo", "inverted": True, "certain": True, "rotation": 0}
    box = Image.open(io.BytesIO(boot)).getbbox()
    assert box is not None
    expected = [side + 160 / 28 * edge for side, edge in zip((200, 60, 200, 60), box, strict=True)]
    assert crop == pytest.approx(expected, abs=160 / 28)


def test_mode_and_background_are_obeyed(client: httpx.Client, boot: bytes) -> None:
    def preprocessing(content: bytes, query: str) -> dict[str, object]:
        seen: dict[str, object] = client.post(f"/predict?{query}", files={"file": content}).json()["preprocessing"]
        return seen

    plain = preprocessing(product(boot), "mode=native")
    assert plain == {"mode": "native", "inverted": False, "crop": [0, 0, 400, 300], "certain": True, "rotation": 0}
    assert preprocessing(boot, "mode=photo")["mode"] == "photo"
    assert preprocessing(boot, "background=light")["inverted"] is True
    gray = product(boot, background=128)
    assert preprocessing(gray, "")["certain"] is False
    assert preprocessing(gray, "background=light")["inverted"] is True
    assert preprocessing(gray, "background=dark")["inverted"] is False
    assert preprocessing(gray, "background=dark")["certain"] is True


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_an_unknown_background(client: httpx.Client, boot: bytes, path: str) -> None:
    field = {"/predict": "file", "/predict/batch": "files"}[path]
    response = client.post(f"{path}?background=plaid", files={field: boot})
    assert response.status_code == 422
    assert response.json()["code"] == "invalid-parameter"


def test_a_phones_twelve_megapixels(client: httpx.Client, boot: bytes) -> None:
    """Decoded at a reduced scale; the crop is in pixels of what was sent, upright."""
    canvas = Image.new("L", (3000, 4000), 240)
    canvas.paste(0, (400, 1500, 1600, 2700), Image.open(io.BytesIO(boot)).convert("L").resize((1200, 1200)))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    canvas.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif)
    answer = client.post("/predict", files={"file": file.getvalue()}).json()
    assert answer["label"] == "Ankle boot"
    left, top, right, bottom = answer["preprocessing"]["crop"]
    assert [left, right] == pytest.approx([400, 1600], abs=60)
    assert 1440 <= top < bottom <= 2760


def test_a_figure_with_margins(client: httpx.Client, boot: bytes) -> None:
    figure = Image.new("RGB", (400, 400), "white")
    figure.paste(Image.open(io.BytesIO(boot)).convert("L").resize((280, 280), Image.Resampling.NEAREST), (70, 60))
    file = io.BytesIO()
    figure.save(file, "PNG")
    answer = client.post("/predict", files={"file": file.getvalue()}).json()
    assert (answer["label"], answer["out_of_distribution"]) == ("Ankle boot", False)
    assert not answer["preprocessing"]["inverted"]
    left, top, right, bottom = answer["preprocessing"]["crop"]
    assert 70 <= left < right <= 350
    assert 60 <= top < bottom <= 340


@pytest.mark.parametrize("level", [0, 255])
def test_nothing_to_see(client: httpx.Client, level: int) -> None:
    for size in ((1, 1), (300, 200)):
        file = io.BytesIO()
        Image.new("L", size, level).save(file, "PNG")
        answer = client.post("/predict", files={"file": file.getvalue()})
        assert answer.status_code == 200
        assert answer.json()["preprocessing"]["certain"] is False
