"""AVIFs and HEICs whose content is not as announced, or costs more than any picture: refused from their headers."""

from collections.abc import Callable
from importlib.util import find_spec

import httpx
import pytest
from PIL import Image
from support.crafted_heif import ANSWERED, CRAFTED, TOO_LARGE
from support.pictures import in_format
from support.problems import problem


@pytest.mark.parametrize("kind", CRAFTED)
def test_an_avif_that_nobody_has(bounded_client: httpx.Client, kind: str) -> None:
    answer = bounded_client.post("/predict", content=CRAFTED[kind]())
    assert answer.status_code in (413, 415, 422), answer.text


@pytest.mark.parametrize("kind", ANSWERED)
def test_an_avif_put_together(bounded_client: httpx.Client, kind: str) -> None:
    answer = bounded_client.post("/predict", content=ANSWERED[kind]())
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_an_avif_larger_than_it_says(bounded_client: httpx.Client, kind: str) -> None:
    problem(bounded_client.post("/predict", content=TOO_LARGE[kind]()), 413, "too-many-pixels")


def test_a_heic_with_lengths_that_its_decoder_does_not_read(
    bounded_client: httpx.Client, needs: Callable[..., None]
) -> None:
    """libheif takes them for four bytes, whatever is announced."""
    needs(find_spec("pillow_heif") is not None, "pillow-heif", by="pip install -e '.[heif]'")
    whole = in_format(Image.new("RGB", (64, 64), "gray"), "HEIF")
    assert bounded_client.post("/predict", content=whole).status_code == 200
    at = whole.index(b"hvcC") + 4 + 21
    shorter = whole[:at] + bytes((whole[at] & ~3 | 1,)) + whole[at + 1 :]
    problem(bounded_client.post("/predict", content=shorter), 422, "undecodable-picture")
