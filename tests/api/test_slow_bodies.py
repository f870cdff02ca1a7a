"""Bodies that take long to parse, or much memory, are refused within the bounds of one request."""

import zlib

import httpx
import pytest
from support.bounds import code
from support.crafted import EMPTY_BLOCKS, MEGABYTE


@pytest.mark.parametrize("parameter", [b"a=;", b'a="";'])
def test_a_form_of_headers(bounded_client: httpx.Client, parameter: bytes) -> None:
    disposition = b"Content-Disposition: form-data; name=file; " + parameter * (16_000 // len(parameter))
    form = (b"--b\r\n" + disposition + b"\r\n\r\n\r\n") * 1000 + b"--b--"
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "deflate"}
    assert code(bounded_client.post("/predict", content=zlib.compress(form), headers=headers)) == "malformed-body"


def test_a_body_of_empty_blocks(bounded_client: httpx.Client) -> None:
    body = b"\x78\xda" + EMPTY_BLOCKS * (30 * MEGABYTE // len(EMPTY_BLOCKS))
    answer = bounded_client.post("/predict", content=body, headers={"Content-Encoding": "deflate"})
    assert code(answer) == "malformed-body"


@pytest.mark.parametrize("number", [b"1e1,", b"0,"])
def test_millions_of_numbers(bounded_client: httpx.Client, number: bytes) -> None:
    numbers = number * (30 * MEGABYTE // len(number)) + b"1"
    body = b'{"top_k":[' + numbers + b'],"file":"x"}'
    assert (
        bounded_client.post("/predict", content=body, headers={"Content-Type": "application/json"}).status_code == 400
    )
    body = b'{"inputs":[{"name":"pixels","datatype":"UINT8","shape":[' + numbers + b"]}]}"
    assert bounded_client.post("/v2/models/googlenet-fashion-mnist/infer", content=body).status_code == 400


def test_escapes_that_are_none(bounded_client: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = bounded_client.post("/predict", content=b"file=" + b"%2%" * (10 * MEGABYTE), headers=headers)
    assert code(answer) == "malformed-body"


def test_a_long_id_is_not_repeated(bounded_client: httpx.Client) -> None:
    body = b'{"id":"' + b"x" * MEGABYTE + b'","inputs":[]}'
    answer = bounded_client.post("/v2/models/googlenet-fashion-mnist/infer", content=body)
    assert answer.status_code == 400
    assert "id has more than" in answer.json()["error"]


def test_only_some_unknown_options_are_named(bounded_client: httpx.Client) -> None:
    answer = bounded_client.post("/predict?" + "&".join(f"option{i}=1" for i in range(3000)))
    assert code(answer) == "invalid-parameter"
    assert len(answer.content) < 2000
