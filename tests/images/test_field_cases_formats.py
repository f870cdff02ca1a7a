"""Files that people send: phones' and shops' formats, other kinds, JPEGs without an end, arrays divided by 255."""

import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Server, run_server
from PIL import Image
from support.bounds import within_bounds
from support.crafted import number, saved, tiff
from support.crafted_heif import box, heif, hevc
from support.pictures import huge_png, in_format
from support.problems import problem


@pytest.fixture(scope="module")
def client(bounded: Server) -> Iterator[httpx.Client]:
    with bounded.client() as client:
        yield client


@pytest.fixture(autouse=True)
def bounds(bounded: Server, client: httpx.Client, boot: bytes, request: pytest.FixtureRequest) -> Iterator[None]:
    """For every test here; the seconds of many requests do not count."""
    with within_bounds(bounded, client, boot, many="many" in request.node.name):
        yield


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("boot.png", b"boot")
    return file.getvalue()


GRAY = Image.new("L", (40, 30), 90)

FOREIGN = {
    "JPEG 2000": saved(GRAY, "JPEG2000"),
    "JPEG 2000 ": saved(GRAY, "JPEG2000", no_jp2=True),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
    "JPEG XL ": b"\xff\x0a" + bytes(100),
    "SVG": b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "SVG ": b'\xef\xbb\xbf\n<svg width="3"/>',
    "PDF": saved(GRAY, "PDF"),
    "PSD": b"8BPS\0\1" + bytes(100),
    "ICO": saved(GRAY, "ICO"),
    "PPM": saved(GRAY.convert("RGB"), "PPM"),
    "PGM": saved(GRAY, "PPM"),
    "PBM": saved(GRAY.convert("1"), "PPM"),
    "EPS": saved(GRAY, "EPS"),
    "XCF": b"gimp xcf v011\0" + bytes(100),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(4000),
    "CR3": box(b"ftyp", b"crx \0\0\0\1crx isom") + bytes(100),
    "raw": tiff({259: number(34713), 271: (2, 18, b"NIKON CORPORATION\0")}),
    "DNG": tiff({259: number(52546), 50706: (1, 4, b"\1\7\0\0")}),
    "raw ": b"FUJIFILMCCD-RAW 0201" + bytes(100),
    "MP4": box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + bytes(100),
    "MOV": box(b"ftyp", b"qt  \0\0\0\0qt  ") + bytes(100),
    "zip": archive(),
    "HTML": b"\n<!DOCTYPE html>\n<html><body><img src='boot.png'></body></html>",
    "npy": b"\x93NUMPY\1\0" + bytes(100),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_kind_is_named(client: httpx.Client, kind: str) -> None:
    answer = problem(client.post("/predict", files={"file": FOREIGN[kind]}), 415, "unsupported-format")
    assert kind.strip() in answer["detail"]
    assert ": " in answer["detail"]


def test_comments_without_an_svg(client: httpx.Client) -> None:
    """There are 2^25 ways to take some of them for one."""
    problem(client.post("/predict", content=b"<!---->" * 26), 415, "unsupported-format")


def test_too_many_pixels_says_what_was_counted(client: httpx.Client) -> None:
    """A phone's 48 megapixels of JPEG pass, a screenshot's 24 of PNG do not."""
    phone = saved(Image.new("RGB", (8064, 6048), "white"), "JPEG", quality=50)
    assert client.post("/predict", content=phone).status_code == 200
    detail = problem(client.post("/predict", content=huge_png(6000, 4000)), 413, "too-many-pixels")["detail"]
    for told in ("6000×4000 = 24,000,000 pixels;", "16,000,000, GOOGLENET_MAX_PIXELS", "JPEG", "128,000,000"):
        assert told in detail
    webp = saved(Image.new("RGB", (4000, 3500)), "WEBP", method=0)
    detail = problem(client.post("/predict", content=webp), 413, "too-many-pixels")["detail"]
    assert "14,000,000 pixels, which count as 18,666,667 here" in detail
    large = saved(Image.new("L", (13_000, 10_000)), "JPEG", quality=30)
    detail = problem(client.post("/predict", content=large), 413, "too-many-pixels")["detail"]
    assert "130,000,000 pixels; the limit for its format is 128,000,000, 8 times GOOGLENET_MAX_PIXELS" in detail


def upright_boot(boot: bytes, size: tuple[int, int]) -> Image.Image:
    """In colour, on white, that large."""
    level = Image.open(io.BytesIO(boot)).convert("L").resize(size)
    return Image.eval(level, lambda value: 255 - value).convert("RGB")


JPEGS: dict[str, tuple[tuple[int, int], dict[str, object]]] = {
    "baseline": ((200, 200), {}),
    "progressive": ((200, 200), {"progressive": True}),
    "odd size": ((333, 241), {"quality": 95}),
    "tiny": ((28, 28), {}),
    "restart markers": ((200, 200), {"restart_marker_rows": 1}),
    "restart markers in rows": ((200, 200), {"restart_marker_blocks": 3}),
    "progressive with restart markers": ((200, 200), {"progressive": True, "restart_marker_rows": 1}),
    "full colours": ((160, 120), {"subsampling": 0, "optimize": True}),
    "reduced": ((1600, 1200), {}),
    "reduced, progressive": ((1600, 1200), {"progressive": True}),
    "phone": ((4000, 3000), {}),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end(client: httpx.Client, boot: bytes, kind: str) -> None:
    """All pixels are there: answered as the whole one. So is one with anything behind its end."""
    size, options = JPEGS[kind]
    whole = saved(upright_boot(boot, size), "JPEG", **options)
    expected = client.post("/predict", content=whole).json()
    for content in (whole[:-2], whole[:-1], whole + b"\0" * 5000, whole + b"\xff\xd8\xff\xe1" + bytes(range(256)) * 9):
        answer = client.post("/predict", content=content)
        assert answer.status_code == 200, answer.text
        assert answer.json()["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_is_cut_for_many_places(client: httpx.Client, boot: bytes, kind: str) -> None:
    size, options = JPEGS[kind]
    whole = saved(upright_boot(boot, size), "JPEG", **options)
    scan = whole.index(b"\xff\xda")
    for cut in (12, 20, 50, *range((len(whole) - scan) // 20, len(whole) - scan, max(1, (len(whole) - scan) // 8))):
        problem(client.post("/predict", content=whole[:-cut]), 422, "undecodable-picture")


def test_the_largest_jpeg_without_its_end(boot: bytes) -> None:
    """Flat, and so decoded fast; tried three times, but in no more memory than one takes."""
    content = saved(Image.new("L", (10_000, 8000), 200), "JPEG", progressive=True)[:-2]
    with run_server() as server, server.client() as client, within_bounds(server, client, boot):
        assert client.post("/predict", content=content).status_code in (200, 422)


@pytest.mark.parametrize("rounding", [np.trunc, np.round])
def test_pictures_divided_by_255(client: httpx.Client, pictures: list[tuple[str, bytes]], rounding: np.ufunc) -> None:
    """What is left of them: an outline, where they were rounded; never certain."""
    right = 0
    sample = pictures[::5]
    for label, content in sample:
        array = np.asarray(Image.open(io.BytesIO(content)).convert("L")) / 255
        divided = saved(Image.fromarray(rounding(array).astype(np.uint8)), "PNG")
        answer = client.post("/predict", content=divided).json()
        right += answer["label"] == label
        if rounding(array).any():
            assert answer["preprocessing"]["certain"] is False
            native = client.post("/predict?mode=native", content=divided).json()["preprocessing"]
            assert native == {
                "mode": "native",
                "inverted": False,
                "crop": [0, 0, 28, 28],
                "certain": False,
                "rotation": 0,
            }
    assert right >= (12 if rounding is np.round else 5), right


def test_a_photo_divided_by_255(client: httpx.Client, boot: bytes) -> None:
    """A dark boot on white, in colours and with transparency: what is left is its silhouette."""
    photo = np.asarray(upright_boot(boot, (400, 400)).convert("RGBA"))
    for bands in (3, 4):
        divided = saved(Image.fromarray(np.round(photo[..., :bands] / 255).astype(np.uint8)), "PNG")
        answer = client.post("/predict", content=divided).json()
        assert answer["label"] == "Ankle boot"
        assert answer["preprocessing"]["certain"] is False


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1 / 255), (np.float32, 1), (np.uint16, 1), (np.int32, 1)])
def test_arrays_of_other_types(client: httpx.Client, boot: bytes, dtype: type, scale: float) -> None:
    """A TIFF's samples may be 0–1 or 0–255 whatever their type could hold."""
    array = (np.asarray(Image.open(io.BytesIO(boot)).convert("L")) * scale).astype(dtype)
    expected = client.post("/predict", content=boot).json()
    answer = client.post("/predict", content=saved(Image.fromarray(array), "TIFF")).json()
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=0.02)
    if dtype is np.uint16:
        answer = client.post("/predict", content=saved(Image.fromarray(array), "PNG")).json()
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=0.02)


@pytest.fixture(params=["AVIF", "HEIF"])
def file_format(request: pytest.FixtureRequest, needs: Callable[..., None]) -> str:
    name: str = request.param
    needs(name == "AVIF" or find_spec("pillow_heif") is not None, "pillow-heif", by="pip install -e '.[heif]'")
    return name


def test_phones_and_shops_formats(client: httpx.Client, boot: bytes, file_format: str) -> None:
    """As the same picture in PNG, be it gray, in colour, with transparency, turned, or one of several."""
    photo = upright_boot(boot, (400, 300))
    veiled = photo.copy()
    veiled.putalpha(Image.new("L", photo.size, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    expected = client.post("/predict", content=saved(photo, "PNG")).json()
    assert expected["label"] == "Ankle boot"
    for content in (
        in_format(photo, file_format, quality=90),
        in_format(photo.convert("L"), file_format, quality=90),
        in_format(veiled, file_format, quality=90),
        in_format(photo.transpose(Image.Transpose.ROTATE_90), file_format, quality=90, exif=exif.tobytes()),
        in_format(photo, file_format, quality=90, save_all=True, append_images=[Image.new("RGB", photo.size)]),
    ):
        for answer in (client.post("/predict", content=content), client.post("/predict", files={"file": content})):
            assert answer.status_code == 200, answer.text
            assert answer.json()["label"] == "Ankle boot"
            assert answer.json()["preprocessing"]["crop"] == pytest.approx(expected["preprocessing"]["crop"], abs=6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_largest_of_phones_and_shops(boot: bytes, file_format: str, mode: str) -> None:
    """Twelve megapixels that are hard to decode, of a server of their own; HEIC's with transparency take too long."""
    rough = Image.effect_noise((1008, 756), 60).convert("RGB").resize((4032, 3024))
    if mode == "RGBA":
        rough.putalpha(rough.getchannel("R"))
    faster = {"AVIF": {"speed": 10}, "HEIF": {"enc_params": {"preset": "ultrafast"}}}[file_format]
    options: dict[str, object] = {"quality": 40, **faster}
    content = in_format(rough, file_format, **options)
    with run_server() as server, server.client() as client, within_bounds(server, client, boot):
        answer = client.post("/predict", content=content)
        assert answer.status_code == (413 if (file_format, mode) == ("HEIF", "RGBA") else 200), answer.text


def test_a_phones_24_megapixels_of_heic(client: httpx.Client, boot: bytes, needs: Callable[..., None]) -> None:
    """Answered by the small copy that phones put beside it, its crop in pixels of the large one."""
    needs(find_spec("pillow_heif") is not None, "pillow-heif", by="pip install -e '.[heif]'")
    photo = upright_boot(boot, (571, 428)).resize((5712, 4284))
    content = in_format(photo, "HEIF", quality=20, thumbnails=[416], enc_params={"preset": "ultrafast"})
    answer = client.post("/predict", content=content)
    assert answer.status_code == 200, answer.text
    small = client.post("/predict", content=saved(photo.resize((416, 312)), "PNG")).json()
    assert answer.json()["label"] == small["label"] == "Ankle boot"
    crop = [edge * 5712 / 416 for edge in small["preprocessing"]["crop"]]
    assert answer.json()["preprocessing"]["crop"] == pytest.approx(crop, abs=30)


def test_too_large_for_its_format(client: httpx.Client, file_format: str) -> None:
    options = {"speed": 10} if file_format == "AVIF" else {}
    content = in_format(Image.new("RGB", (4500, 3000)), file_format, **options)
    detail = problem(client.post("/predict", content=content), 413, "too-many-pixels")["detail"]
    assert "13,500,000 pixels, which count as" in detail
    assert "GOOGLENET_MAX_PIXELS" in detail


@pytest.mark.parametrize("keep", [12, 40, 0.1, 0.3, 0.5, 0.9])
def test_phones_and_shops_formats_cut_off(client: httpx.Client, boot: bytes, file_format: str, keep: float) -> None:
    whole = in_format(upright_boot(boot, (400, 300)), file_format)
    cut = whole[: round(keep * len(whole)) if keep < 1 else int(keep)]
    problem(client.post("/predict", content=cut), 422, "undecodable-picture")


def test_heic_without_its_reader(boot: bytes) -> None:
    hidden = "import runpy, sys; sys.modules['pillow_heif'] = None; "
    command = (sys.executable, "-c", hidden + "runpy.run_module('app', run_name='__main__', alter_sys=True)")
    with run_server(*command) as server, server.client() as client:
        answer = client.post("/predict", content=heif(hevc(), brand=b"heic"))
        detail = problem(answer, 415, "unsupported-format")["detail"]
        assert "HEIC" in detail
        assert "install" in detail
        assert "JPEG" in detail
        assert client.post("/predict", content=boot).status_code == 200


def test_readers_are_loaded_when_they_are_needed(boot: bytes, file_format: str) -> None:
    """A server that has seen neither format holds neither's decoder."""
    content = in_format(upright_boot(boot, (40, 30)), file_format)
    library = {"AVIF": "libavif", "HEIF": "libheif"}[file_format]
    with run_server() as server, server.client() as client:
        maps = Path(f"/proc/{server.process.pid}/maps")
        assert client.post("/predict", content=boot).status_code == 200
        assert library not in maps.read_text()
        assert client.post("/predict", content=content).status_code == 200
        assert library in maps.read_text()
