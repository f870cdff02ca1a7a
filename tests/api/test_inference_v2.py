"""/v2 by the letter of the Open Inference Protocol and of Triton's extensions, with a plain HTTP client."""

import base64
import gzip
import json
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from app.settings import Settings
from model.checkpoint import Checkpoint, Golden

NAME = "googlenet-fashion-mnist"
MODEL = f"/v2/models/{NAME}"
INFER = f"{MODEL}/infer"
SERVED = [(NAME, "image", "BYTES", [-1]), (NAME, "pixels", "UINT8", [-1, 96, 96])]


def pixels_input(pixels: np.ndarray, **more: Any) -> dict[str, Any]:
    return {"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape), **more}


def image_input(*files: bytes) -> dict[str, Any]:
    data = [base64.b64encode(file).decode() for file in files]
    return {"name": "image", "datatype": "BYTES", "shape": [len(files)], "data": data}


def binary(request: dict[str, Any], *parts: bytes) -> dict[str, Any]:
    """A request of JSON and what follows it, as keywords for httpx."""
    head = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return {"content": head + b"".join(parts), "headers": headers}


def elements(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def outputs(response: httpx.Response) -> dict[str, np.ndarray]:
    """Every output as an array, wherever its data is; checks that every byte of the body belongs to one."""
    assert response.status_code == 200, response.text
    size = response.headers.get("inference-header-content-length")
    body = response.content
    assert response.headers["content-type"] == ("application/json" if size is None else "application/octet-stream")
    head, rest = json.loads(body[: int(size or len(body))]), body[int(size or len(body)) :]
    found: dict[str, np.ndarray] = {}
    for output in head["outputs"]:
        taken = output.get("parameters", {}).get("binary_data_size")
        assert (taken is None) == ("data" in output)
        part, rest = rest[: taken or 0], rest[taken or 0 :]
        if taken is None:
            values = output["data"]
        elif output["datatype"] == "FP32":
            values = np.frombuffer(part, "<f4")
        else:
            values = []
            while part:
                (length,) = struct.unpack_from("<I", part)
                values.append(part[4 : 4 + length].decode())
                part = part[4 + length :]
        found[output["name"]] = np.array(values).reshape(output["shape"])
    assert rest == b""
    return found


def refused(response: httpx.Response, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    for word in words:
        assert word in body["error"]


# --- the server and the model -----------------------------------------------------------------------------------


def test_server_metadata(client: httpx.Client) -> None:
    for path in ("/v2", "/v2/"):
        body = client.get(path).json()
        assert set(body) == {"name", "version", "extensions"}
        assert {"binary_tensor_data", "classification", "model_configuration", "statistics"} == set(body["extensions"])


def test_health(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json()["live"] is True
    ready = client.get("/v2/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"live": True, "ready": True})


def test_a_version_may_be_named_or_not(client: httpx.Client, checkpoint: Checkpoint) -> None:
    version = checkpoint.version[:12]
    for prefix in (MODEL, f"{MODEL}/versions/{version}", f"{MODEL}/versions/1"):
        assert client.get(f"{prefix}/ready").json() == {"name": NAME, "ready": True}
        assert client.get(prefix).json()["versions"] == [version]
        assert client.get(f"{prefix}/config").json()["name"] == NAME
        assert client.get(f"{prefix}/stats").json()["model_stats"][0]["version"] == version
        request = {"inputs": [pixels_input(checkpoint.golden.pixels[:1], data=checkpoint.golden.pixels[:1].tolist())]}
        answer = client.post(f"{prefix}/infer", json=request).json()
        assert (answer["model_name"], answer["model_version"]) == (NAME, version)


def test_model_metadata(client: httpx.Client, checkpoint: Checkpoint) -> None:
    body = client.get(MODEL).json()
    classes = len(checkpoint.metadata.classes)
    assert body["platform"].count("_") == 1
    assert [(NAME, t["name"], t["datatype"], t["shape"]) for t in body["inputs"]] == SERVED
    assert body["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
        {"name": "logits", "datatype": "FP32", "shape": [-1, classes]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ]


def test_model_configuration(client: httpx.Client) -> None:
    body = client.get(f"{MODEL}/config").json()
    assert [(t["data_type"], t["dims"]) for t in body["input"]] == [("TYPE_STRING", [-1]), ("TYPE_UINT8", [-1, 96, 96])]
    assert body["max_batch_size"] == 0


def test_unknown_models_versions_and_paths(client: httpx.Client) -> None:
    for path in ("/v2/models/other", "/v2/models/other/ready", "/v2/models/other/config", "/v2/models/other/stats"):
        refused(client.get(path), 404, "other")
    for path in (f"{MODEL}/versions/2", f"{MODEL}/versions/2/ready", f"{MODEL}/versions/2/config"):
        refused(client.get(path), 404, "'2'")
    refused(client.post("/v2/models/other/infer", json={"inputs": []}), 404, "other")
    refused(client.post(f"{MODEL}/versions/2/infer", json={"inputs": []}), 404, "'2'")
    refused(client.get("/v2/nowhere"), 404)
    refused(client.post(f"/v2/repository/models/{NAME}/unload"), 404)
    refused(client.get(INFER), 405)


def test_repository_index(client: httpx.Client, checkpoint: Checkpoint) -> None:
    entry = {"name": NAME, "version": checkpoint.version[:12], "state": "READY", "reason": ""}
    assert client.post("/v2/repository/index").json() == [entry]
    assert client.post("/v2/repository/index", json={"ready": True}).json() == [entry]
    refused(client.post("/v2/repository/index", content=b"{"), 400)
    refused(client.post("/v2/repository/index", json={"ready": 1}), 400)


def test_statistics_count_what_was_done(client: httpx.Client, checkpoint: Checkpoint, boot: bytes) -> None:
    def stats() -> dict[str, Any]:
        (model,) = client.get("/v2/models/stats").json()["model_stats"]
        return dict(model)

    before = stats()
    outputs(client.post(INFER, json={"inputs": [image_input(boot, boot, boot)]}))
    refused(client.post(INFER, json={"inputs": [image_input(b"x")]}), 400)
    after = stats()
    assert after["inference_count"] >= before["inference_count"] + 3
    assert after["execution_count"] > before["execution_count"]
    assert after["last_inference"] > before["last_inference"]
    for name in ("success", "fail", "compute_infer"):
        then, now = before["inference_stats"][name], after["inference_stats"][name]
        assert now["count"] > then["count"]
        assert now["ns"] > then["ns"]
    assert after["inference_stats"]["compute_input"]["count"] >= before["inference_stats"]["compute_input"]["count"] + 3


# --- inference ---------------------------------------------------------------------------------------------------


def test_all_outputs_by_default(client: httpx.Client, checkpoint: Checkpoint, golden: Golden) -> None:
    pixels = golden.pixels
    found = outputs(client.post(INFER, json={"inputs": [pixels_input(pixels, data=pixels.tolist())]}))
    assert list(found) == ["probabilities", "logits", "label"]
    assert np.abs(found["probabilities"] - golden.probabilities).max() < 0.05
    assert found["label"].tolist() == [checkpoint.metadata.classes[i] for i in found["probabilities"].argmax(1)]
    assert (found["logits"].argmax(1) == found["probabilities"].argmax(1)).all()
    assert found["logits"].min() < 0  # they are no probabilities


def test_every_way_of_sending_gives_the_same(client: httpx.Client, boot: bytes, checkpoint: Checkpoint) -> None:
    flat = checkpoint.golden.pixels[:2]
    size = {"parameters": {"binary_data_size": flat.nbytes}}
    by_json = outputs(client.post(INFER, json={"inputs": [pixels_input(flat, data=flat.ravel().tolist())]}))
    by_bytes = outputs(client.post(INFER, **binary({"inputs": [pixels_input(flat, **size)]}, flat.tobytes())))
    assert np.allclose(by_json["probabilities"], by_bytes["probabilities"], atol=1e-3)

    part = elements(boot, boot)
    image = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(part)}}
    one = outputs(client.post(INFER, json={"inputs": [image_input(boot)]}))
    two = outputs(client.post(INFER, **binary({"inputs": [image]}, part)))
    raw = outputs(client.post(INFER, content=boot, headers={"Inference-Header-Content-Length": "0"}))
    assert two["label"].tolist() == ["Ankle boot"] * 2
    assert one["label"].tolist() == raw["label"].tolist() == ["Ankle boot"]
    assert np.allclose(one["logits"], raw["logits"], atol=0.05)
    assert abs(one["probabilities"][0, 9] - client.post("/predict", files={"file": boot}).json()["confidence"]) < 0.01


def test_a_raw_request_is_answered_in_binary(client: httpx.Client, boot: bytes) -> None:
    response = client.post(INFER, content=boot, headers={"Inference-Header-Content-Length": "0"})
    head = json.loads(response.content[: int(response.headers["inference-header-content-length"])])
    assert all("binary_data_size" in output["parameters"] for output in head["outputs"])
    assert int(response.headers["content-length"]) == len(response.content)


def test_both_inputs_are_answered_in_their_order(
    client: httpx.Client, pictures: Any, checkpoint: Checkpoint, golden: Golden
) -> None:
    files = [data for _, data in pictures[::10]]
    part, size = elements(*files), {"binary_data_size": golden.pixels.nbytes}
    image = {"name": "image", "datatype": "BYTES", "shape": [len(files)], "parameters": {"binary_data_size": len(part)}}
    request = {"inputs": [pixels_input(golden.pixels, parameters=size), image], "outputs": [{"name": "probabilities"}]}
    found = outputs(client.post(INFER, **binary(request, golden.pixels.tobytes(), part)))["probabilities"]
    assert np.abs(found[: len(golden.pixels)] - golden.probabilities).max() < 0.05
    classes = [checkpoint.metadata.classes[i] for i in found[len(golden.pixels) :].argmax(1)]
    right = sum(name == label for (name, _), label in zip(pictures[::10], classes, strict=True))
    assert right >= 0.8 * len(files)


def test_many_files_keep_their_order(client: httpx.Client, pictures: Any) -> None:
    request = {"inputs": [image_input(*(data for _, data in pictures))], "outputs": [{"name": "label"}]}
    labels = outputs(client.post(INFER, json=request))["label"].tolist()
    assert sum(name == label for (name, _), label in zip(pictures, labels, strict=True)) >= 0.85 * len(pictures)


def test_256_pictures_in_one_request(client: httpx.Client, golden: Golden) -> None:
    pixels = np.resize(golden.pixels, (256, 96, 96))
    size = {"parameters": {"binary_data_size": pixels.nbytes}}
    found = outputs(client.post(INFER, **binary({"inputs": [pixels_input(pixels, **size)]}, pixels.tobytes())))
    assert np.abs(found["probabilities"] - np.resize(golden.probabilities, (256, 10))).max() < 0.05


def test_the_id_comes_back(client: httpx.Client, boot: bytes) -> None:
    request = {"id": "§ 42 \ud800", "inputs": [image_input(boot)]}
    response = client.post(INFER, content=json.dumps(request))
    assert response.json()["id"] == request["id"]
    assert "id" not in client.post(INFER, json={"inputs": [image_input(boot)]}).json()


def test_outputs_are_chosen_and_each_says_how(client: httpx.Client, boot: bytes) -> None:
    wanted: list[dict[str, Any]] = [
        {"name": "label", "parameters": {"binary_data": True}},
        {"name": "logits", "parameters": {"binary_data": False}},
        {"name": "probabilities"},
    ]
    request = {"inputs": [image_input(boot)], "outputs": wanted, "parameters": {"binary_data_output": True}}
    response = client.post(INFER, json=request)
    head = json.loads(response.content[: int(response.headers["inference-header-content-length"])])
    assert [output["name"] for output in head["outputs"]] == ["label", "logits", "probabilities"]
    assert ["data" in output for output in head["outputs"]] == [False, True, False]
    assert outputs(response)["label"].tolist() == ["Ankle boot"]
    del request["parameters"]
    assert ["data" in o for o in client.post(INFER, json={**request, "outputs": wanted[1:]}).json()["outputs"]] == [
        True
    ] * 2


def test_classification(client: httpx.Client, boot: bytes, checkpoint: Checkpoint) -> None:
    wanted = [
        {"name": "probabilities", "parameters": {"classification": 3}},
        {"name": "logits", "parameters": {"classification": 99, "binary_data": True}},
    ]
    found = outputs(client.post(INFER, json={"inputs": [image_input(boot, boot)], "outputs": wanted}))
    assert found["probabilities"].shape == (2, 3)
    assert found["logits"].shape == (2, len(checkpoint.metadata.classes))
    for row in (*found["probabilities"], *found["logits"]):
        values, indexes, labels = zip(*(text.split(":") for text in row), strict=True)
        assert list(map(float, values)) == sorted(map(float, values), reverse=True)
        assert [checkpoint.metadata.classes[int(index)] for index in indexes] == list(labels)
        assert labels[0] == "Ankle boot"
    plain = outputs(client.post(INFER, json={"inputs": [image_input(boot)]}))["probabilities"]
    assert abs(float(found["probabilities"][0, 0].split(":")[0]) - plain.max()) < 0.01


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_both_ways(client: httpx.Client, boot: bytes, encoding: str, pack: Any) -> None:
    request = binary({"inputs": [image_input(boot)], "parameters": {"binary_data_output": True}})
    headers = {**request["headers"], "Content-Encoding": encoding, "Accept-Encoding": encoding}
    response = client.post(INFER, content=pack(request["content"]), headers=headers)
    assert response.headers["content-encoding"] == encoding
    assert outputs(response)["label"].tolist() == ["Ankle boot"]
    refused(client.post(INFER, content=b"xx" + pack(request["content"]), headers=headers), 400, encoding)
    refused(client.post(INFER, content=pack(request["content"])[:-1], headers=headers), 400, encoding)
    bomb = pack(bytes(Settings().max_upload_bytes + 1))
    refused(client.post(INFER, content=bomb, headers={"Content-Encoding": encoding}), 413)


def test_an_unknown_encoding(client: httpx.Client) -> None:
    refused(client.post(INFER, content=b"x", headers={"Content-Encoding": "br"}), 400, "gzip")


# --- refusals ----------------------------------------------------------------------------------------------------


def test_one_unusable_picture_fails_its_request_and_is_named(client: httpx.Client, boot: bytes) -> None:
    refused(client.post(INFER, json={"inputs": [image_input(boot, b"no picture", boot)]}), 400, "image[1]")
    refused(client.post(INFER, json={"inputs": [image_input(boot, boot, boot[:200])]}), 400, "image[2]", "damaged")
    refused(client.post(INFER, json={"inputs": [image_input(*[boot] * 30, b"")]}), 400, "image[30]")
    assert outputs(client.post(INFER, json={"inputs": [image_input(boot)]}))["label"] == ["Ankle boot"]


BLANK = np.zeros((1, 96, 96), np.uint8)
GOOD = pixels_input(BLANK, data=BLANK.ravel().tolist())
NESTED_TOO_DEEP = '{"inputs": ' + "[" * 100_000


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        ({}, "inputs"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": [1]}, "inputs"),
        ({"inputs": []}, "no picture"),
        ({"inputs": [GOOD], "id": 1}, "id"),
        ({"inputs": [GOOD], "parameters": [1]}, "parameters"),
        ({"inputs": [GOOD], "parameters": {"binary_data_output": "yes"}}, "binary_data_output"),
        ({"inputs": [GOOD, GOOD]}, "twice"),
        ({"inputs": [{**GOOD, "name": "picture"}]}, "'picture'"),
        ({"inputs": [{**GOOD, "name": ["pixels"]}]}, "image, pixels"),
        ({"inputs": [{**GOOD, "datatype": "FP32"}]}, "UINT8"),
        ({"inputs": [{k: v for k, v in GOOD.items() if k != "datatype"}]}, "UINT8"),
        ({"inputs": [{k: v for k, v in GOOD.items() if k != "shape"}]}, "[n,96,96]"),
        ({"inputs": [{k: v for k, v in GOOD.items() if k != "data"}]}, "binary_data_size"),
        *(
            ({"inputs": [{**GOOD, "shape": shape}]}, "[n,96,96]")
            for shape in ([96, 96], [1, 1, 96, 96], [1, 28, 28], [-1, 96, 96], [1.0, 96, 96], [True, 96, 96], "1")
        ),
        ({"inputs": [{**GOOD, "shape": [2**64, 96, 96]}]}, "[n,96,96]"),
        ({"inputs": [{**GOOD, "shape": [2, 96, 96]}]}, "[2, 96, 96]"),
        ({"inputs": [{**GOOD, "shape": [2**63, 96, 96]}]}, "at most"),
        ({"inputs": [{**GOOD, "shape": [0, 96, 96], "data": []}]}, "no picture"),
        *(
            ({"inputs": [{**GOOD, "data": [[[*[0] * 95, odd], *[[0] * 96] * 95]]}]}, "pixels")
            for odd in (256, -1, 0.5, "0", None, 2**70, [0])
        ),
        *(({"inputs": [{**GOOD, "data": data}]}, "pixels") for data in (0, 9216, "0", {}, ["x" * 1000, *[""] * 9215])),
        ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 9216}}]}, "either"),
        ({"inputs": [{**GOOD, "data": None, "parameters": {"binary_data_size": 9216}}]}, "binary_data_size"),
        ({"inputs": [{**GOOD, "data": None, "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": "eA=="}]}, "list"),
        ({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": ["eA=="]}]}, "2 strings"),
        ({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [1]}]}, "image[0]"),
        ({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["é!"]}]}, "base64"),
        ({"inputs": [GOOD], "outputs": 1}, "outputs"),
        ({"inputs": [GOOD], "outputs": [{"name": "features"}]}, "'features'"),
        ({"inputs": [GOOD], "outputs": [{"name": "label"}, {"name": "label"}]}, "twice"),
        *(
            ({"inputs": [GOOD], "outputs": [{"name": "logits", "parameters": {"classification": k}}]}, "classification")
            for k in (-1, "3", 1.5, True)
        ),
        ({"inputs": [GOOD], "outputs": [{"name": "label", "parameters": {"classification": 1}}]}, "classification"),
        ({"inputs": [GOOD], "outputs": [{"name": "label", "parameters": {"binary_data": 1}}]}, "binary_data"),
        ({"inputs": [GOOD], "outputs": [{"name": "label", "parameters": {"shared_memory_region": "r"}}]}, "shared"),
    ],
)
def test_requests_that_are_not_for_this_model(client: httpx.Client, request_: dict[str, Any], word: str) -> None:
    refused(client.post(INFER, json=request_), 400, word)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b'{"id": NaN}', NESTED_TOO_DEEP.encode(), b'{"id": ' + b"9" * 5000 + b"}"]
)
def test_what_is_not_json(client: httpx.Client, body: bytes) -> None:
    refused(client.post(INFER, content=body), 400)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999", "9" * 5000, "\u00b2"])
def test_wrong_header_lengths(client: httpx.Client, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length.encode("latin-1")}
    refused(client.post(INFER, content=b'{"inputs": []}', headers=headers), 400, "Inference-Header-Content-Length")


@pytest.mark.parametrize("size", [9215, 9217, 0, -1, 2**70, "9216", None, True])
def test_wrong_binary_sizes(client: httpx.Client, size: object) -> None:
    request = {"inputs": [pixels_input(BLANK, parameters={"binary_data_size": size})]}
    refused(client.post(INFER, **binary(request, BLANK.tobytes())), 400)


@pytest.mark.parametrize(
    "part", [b"", b"\1", elements(b"x") + b"\1", elements(b"x", b"y"), struct.pack("<I", 2**32 - 1) + b"x"]
)
def test_wrong_binary_elements(client: httpx.Client, part: bytes) -> None:
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(part)}}
    refused(client.post(INFER, **binary({"inputs": [image]}, part)), 400, "image")


def test_binary_data_needs_its_header(client: httpx.Client) -> None:
    request = {"inputs": [pixels_input(BLANK, parameters={"binary_data_size": BLANK.nbytes})]}
    refused(client.post(INFER, content=json.dumps(request).encode() + BLANK.tobytes()), 400)


def test_more_pictures_than_the_queue_holds(client: httpx.Client) -> None:
    many = np.zeros((Settings().queue_size + 1, 96, 96), np.uint8)
    request = {"inputs": [pixels_input(many, parameters={"binary_data_size": many.nbytes})]}
    refused(client.post(INFER, **binary(request, many.tobytes())), 400, str(Settings().queue_size))


@pytest.mark.parametrize("with_header", [False, True])
def test_json_that_would_fill_the_memory(client: httpx.Client, with_header: bool) -> None:
    """Every empty list takes 64 bytes in memory and three on the wire."""
    body = b'{"inputs": [' + b"[]," * 1_000_000 + b"[]]}"
    headers = {"Inference-Header-Content-Length": str(len(body))} if with_header else {}
    refused(client.post(INFER, content=body, headers=headers), 400, "lists, objects and strings")


def test_a_shape_is_believed_before_the_data_is_looked_at(client: httpx.Client) -> None:
    """Eight million empty files."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2**21], "parameters": {"binary_data_size": 4 * 2**21}}
    refused(client.post(INFER, **binary({"inputs": [tensor]}, bytes(4 * 2**21))), 400, str(2**21), "at most")


def test_an_index_is_asked_for_in_few_words(client: httpx.Client) -> None:
    refused(client.post("/v2/repository/index", content=b'{"ready": false' + b" " * 100_000 + b"}"), 413, "bytes")


def test_a_body_over_the_limit(client: httpx.Client) -> None:
    refused(client.post(INFER, content=bytes(Settings().max_upload_bytes + 1)), 413, "bytes")
