"""What people's clients really send, in whatever form: field_cases.md says who did."""

import asyncio
import base64
import gzip
import json
import os
import re
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
from conftest import PICTURES, Server, failed_start, run_server
from support.bounds import MEGABYTE, peak_memory, within_bounds
from support.documents import run_node
from support.faults import Hanging, release
from support.problems import MULTIPART, part, problem

from app.settings import Settings

BOOT = PICTURES / "ankle-boot-0000.png"
PNG = BOOT.read_bytes()
TEXT = base64.b64encode(PNG).decode()
ROUTES = ["/predict", "/predict/batch", "/explain"]
NAMES = "file, image, files, images"
LIMIT = Settings().max_upload_bytes


def labels(response: httpx.Response) -> list[str]:
    """Of one picture or several, all of them answered."""
    assert response.status_code == 200, response.text
    body = response.json()
    return [answer["label"] for answer in body.get("predictions", [body])]


def typed(content_type: str, **others: str) -> dict[str, str]:
    return {"content-type": content_type, **{name.replace("_", "-"): value for name, value in others.items()}}


def curl(url: str, *options: str) -> dict[str, str]:
    """What the answer says."""
    done = subprocess.run(["curl", "-s", *options, url], cwd=PICTURES, capture_output=True, check=True)
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


# HEAD


@pytest.mark.parametrize(
    "path", ["/health", "/health/live", "/health/ready", "/", "/docs", "/metrics", "/v2", "/web/app.js"]
)
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert set(client.put(path).headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_head_is_in_the_document_with_an_id_of_its_own(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/", "/health", "/health/live", "/health/ready"} <= set(paths)
    assert all("head" in operations for operations in paths.values() if "get" in operations)
    ids = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(ids) == len(set(ids))


def test_head_says_503_as_get_does(tmp_path: Path) -> None:
    fault = tmp_path / "fault"
    with (
        run_server(GOOGLENET_ENGINE="support.faults:NotANumber", FAULT=str(fault)) as server,
        server.client() as client,
    ):
        assert client.head("/health").status_code == 200
        fault.touch()
        while client.get("/health").status_code == 200:
            pass
        assert client.head("/health").status_code == 503


# Content-Encoding

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "GZIP": gzip.compress, "x-gzip": gzip.compress}
PACK |= {"deflate": zlib.compress, "identity": bytes}


@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize("path", ROUTES)
def test_a_compressed_body_is_unpacked(client: httpx.Client, path: str, encoding: str) -> None:
    packed = PACK[encoding](part("files", PNG) + b"--b--\r\n")
    response = client.post(path, content=packed, headers={**MULTIPART, "content-encoding": encoding})
    assert labels(response) == ["Ankle boot"]


def test_aiohttp_compresses_by_itself(server: Server) -> None:
    async def ask() -> str:
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{server.url}/predict", data=PNG, compress="deflate")
            return str((await answer.json())["label"])

    assert asyncio.run(ask()) == "Ankle boot"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
@pytest.mark.parametrize("path", ROUTES)
def test_an_unknown_encoding_is_called_one(client: httpx.Client, path: str, encoding: str) -> None:
    response = client.post(path, content=PNG, headers=typed("image/png", content_encoding=encoding))
    detail = problem(response, 415, "unsupported-encoding")["detail"]
    assert f"Content-Encoding is {encoding!r}; known are gzip, deflate" in detail
    assert response.headers["accept-encoding"] == "gzip, deflate"


def test_compressed_bodies_are_bounded_unpacked(server: Server, client: httpx.Client) -> None:
    bomb = gzip.compress(bytes(1000 * MEGABYTE), 9)
    peak_memory(server)  # from here on
    before = peak_memory(server)
    response = client.post("/predict", content=bomb, headers=typed("image/png", content_encoding="gzip"))
    problem(response, 413, "body-too-large")
    assert peak_memory(server) - before < 150 * MEGABYTE
    for broken in (PNG, gzip.compress(PNG)[:-9], b""):
        response = client.post("/predict", content=broken, headers=typed("image/png", content_encoding="gzip"))
        assert problem(response, 400, "malformed-body" if broken else response.json()["code"])


# JSON


@pytest.mark.parametrize(
    "text",
    [
        *(TEXT, f"data:image/png;base64,{TEXT}", TEXT.rstrip("=")),
        *(base64.encodebytes(PNG).decode(), base64.urlsafe_b64encode(PNG).decode()),
    ],
)
@pytest.mark.parametrize("path", ROUTES)
def test_a_picture_in_json(client: httpx.Client, path: str, text: str) -> None:
    assert labels(client.post(path, json={"image": text})) == ["Ankle boot"]
    escaped = json.dumps({"file": text}).replace("/", r"\/").replace("+", r"\u002B")  # PHP and .NET
    assert labels(client.post(path, content=escaped, headers=typed("application/json; charset=utf-8"))) == [
        "Ankle boot"
    ]


def test_v2_with_a_number_for_a_shape(client: httpx.Client) -> None:
    """KServe's example for TorchServe."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": -1, "data": TEXT}
    response = client.post("/v2/models/googlenet-fashion-mnist/infer", json={"inputs": [tensor]})
    assert response.status_code == 400
    assert "must be [n]" in response.json()["error"]


def test_several_in_json(client: httpx.Client) -> None:
    bag = base64.b64encode((PICTURES / "bag-0018.png").read_bytes()).decode()
    assert labels(client.post("/predict/batch", json={"images": [TEXT, bag]})) == ["Ankle boot", "Bag"]
    detail = problem(client.post("/predict", json={"images": [TEXT, bag]}), 400, "too-many-pictures")["detail"]
    assert "/predict/batch" in detail
    problem(client.post("/predict/batch", json={"images": [TEXT] * 65}), 400, "too-many-pictures")


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        ({"image": "?!"}, 400, "missing-picture", "image is text"),
        ({"image": "https://example.org/boot.png"}, 400, "missing-picture", "base64"),
        ({"image": "data:image/png," + TEXT}, 400, "missing-picture", "base64"),
        ({"image": base64.b64encode(b"no picture, but long enough").decode()}, 415, "unsupported-format", "PNG"),
        ({"image": [[0] * 28] * 28}, 400, "malformed-body", "image is not a string"),
        ({"image": {"b64": TEXT}}, 400, "malformed-body", "image is not a string"),
        ({"image": None}, 400, "malformed-body", "image is not a string"),
        ({"image": []}, 400, "missing-picture", NAMES),
        ({}, 400, "missing-picture", NAMES),
        ({"picture": TEXT}, 422, "invalid-parameter", NAMES),
        ({"image": TEXT, "topk": 3}, 422, "invalid-parameter", "top_k, mode, background"),
        ({"instances": [{"b64": TEXT}]}, 422, "invalid-parameter", NAMES),
        ([TEXT], 400, "malformed-body", "not a JSON object"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_json_that_is_refused(client: httpx.Client, path: str, body: object, status: int, code: str, said: str) -> None:
    assert said in problem(client.post(path, json=body), status, code)["detail"]


def test_limits_on_json_are_those_of_the_picture(server: Server, client: httpx.Client, boot: bytes) -> None:
    """A body may be longer than the largest picture, by what base64 adds; nothing else gains by it."""
    almost = base64.b64encode(PNG + bytes(LIMIT - len(PNG))).decode()
    more = base64.b64encode(PNG + bytes(LIMIT - len(PNG) + 3)).decode()
    with within_bounds(server, client, boot):
        assert labels(client.post("/predict", json={"image": almost})) == ["Ankle boot"]
    problem(client.post("/predict", json={"image": more}), 413, "body-too-large")
    problem(client.post("/predict", json={"image": "A" * 2 * LIMIT}), 413, "body-too-large")
    for nasty in ("😀" + almost, r"\ud83d\ude00" + almost):
        with within_bounds(server, client, boot):
            content = f'{{"image": "{nasty}"}}'.encode()
            problem(client.post("/predict", content=content, headers=typed("application/json")), 400, "malformed-body")
    nested = b'{"image": [' + b"[]," * 1_000_000 + b"[]]}"
    with within_bounds(server, client, boot):
        problem(client.post("/predict", content=nested, headers=typed("application/json")), 400, "invalid-request")


# Names in forms


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "name", ["picture", "photo", "upload", "img", "files", "file", "images", "image[]", "files[0]", ""]
)
def test_one_file_is_answered_whatever_it_is_called(client: httpx.Client, path: str, name: str) -> None:
    assert labels(client.post(path, content=part(name, PNG) + b"--b--\r\n", headers=MULTIPART)) == ["Ankle boot"]


@pytest.mark.parametrize("name", ["files", "file", "images", "image", "files[]", "image[1]"])
def test_several_files_are_a_batch(client: httpx.Client, name: str) -> None:
    several = [(name, PNG), (name, (PICTURES / "bag-0018.png").read_bytes())]
    assert labels(client.post("/predict/batch", files=several)) == ["Ankle boot", "Bag"]
    assert "/predict/batch" in problem(client.post("/predict", files=several), 400, "too-many-pictures")["detail"]


@pytest.mark.parametrize("path", ROUTES)
def test_of_several_files_with_other_names_none_is_guessed(client: httpx.Client, path: str) -> None:
    detail = problem(client.post(path, files={"front": PNG, "back": PNG}), 400, "missing-picture")["detail"]
    assert NAMES in detail
    assert "'front', 'back'" in detail


# Text where a file should be


@pytest.mark.parametrize("text", ["boot.png", "/home/me/boot.png", "https://example.org/boot.png", "", "[object File]"])
def test_a_field_of_text_is_told_how_to_send_a_file(server: Server, client: httpx.Client, text: str) -> None:
    for sent in ({"files": {"file": (None, text)}}, {"data": {"file": text}}):
        detail = problem(client.post("/predict", **sent), 400, "missing-picture")["detail"]  # type: ignore[arg-type]
        assert "file is text" in detail
        assert "-F file=@picture.png" in detail
    assert curl(f"{server.url}/predict", "-F", f"file={text}")["code"] == "missing-picture"


@pytest.mark.parametrize("text", [TEXT, f"data:image/png;base64,{TEXT}", base64.encodebytes(PNG).decode()])
@pytest.mark.parametrize("path", ROUTES)
def test_a_picture_in_a_field_of_text(client: httpx.Client, path: str, text: str) -> None:
    assert labels(client.post(path, files={"file": (None, text)})) == ["Ankle boot"]
    assert labels(client.post(path, data={"file": text})) == ["Ankle boot"]
    assert requests.post(f"{client.base_url}{path}", data={"file": text}, timeout=60).status_code == 200
    assert labels(client.post(path, content=f"file={text}", headers=typed("application/x-www-form-urlencoded"))) == [
        "Ankle boot"
    ]


def test_a_large_picture_in_a_field_of_text(server: Server, client: httpx.Client, boot: bytes) -> None:
    text = base64.b64encode(PNG + b"\xfb" * (LIMIT - len(PNG))).decode()  # a + in every other place
    with within_bounds(server, client, boot):
        response = client.post("/predict", content="file=" + text, headers=typed("application/x-www-form-urlencoded"))
        assert labels(response) == ["Ankle boot"]
    escapes = b"file=" + b"%2B%41" * (LIMIT // 6)
    with within_bounds(server, client, boot):
        response = client.post("/predict", content=escapes, headers=typed("application/x-www-form-urlencoded"))
        problem(response, 400, "malformed-body")  # more escapes than the base64 of a picture has
    with within_bounds(server, client, boot):
        response = client.post("/predict", content=b"a&" * 100_000, headers=typed("application/x-www-form-urlencoded"))
        problem(response, 400, "malformed-body")


# Types that say nothing, and slips of curl's users


@pytest.mark.parametrize(
    "content_type",
    ["", "application/octet-stream", "binary/octet-stream", "text/plain", "application/x-www-form-urlencoded"],
)
@pytest.mark.parametrize("content", [PNG, TEXT, f"data:image/png;base64,{TEXT}", json.dumps({"image": TEXT})])
def test_types_that_say_nothing_are_seen_through(client: httpx.Client, content_type: str, content: str) -> None:
    headers = typed(content_type) if content_type else {}
    assert labels(client.post("/predict", content=content, headers=headers)) == ["Ankle boot"]


def test_curl(server: Server) -> None:
    url, name = f"{server.url}/predict", BOOT.name
    assert curl(url, "--data-binary", f"@{name}")["label"] == "Ankle boot"
    assert curl(url, "-F", f"picture=@{name}", "-F", "top_k=1")["label"] == "Ankle boot"
    assert curl(url, "--data-urlencode", f"file={TEXT}")["label"] == "Ankle boot"
    assert curl(url, "-d", json.dumps({"image": TEXT}))["label"] == "Ankle boot"
    assert "--data-binary" in curl(url, "-d", f"@{name}")["detail"]
    assert "-F file=@picture.png" in curl(url, "-d", name)["detail"]
    assert "-F file=@picture.png" in curl(url, "-F", f"file={name}")["detail"]
    for wrong in ("image/png", "application/octet-stream", "multipart/form-data boundary=x", "video/mp4"):
        assert "leave Content-Type" in curl(url, "-F", f"file=@{name}", "-H", f"Content-Type: {wrong}")["detail"]
    assert "takes POST" in curl(url, "-T", name)["detail"]


def test_requests_with_a_header_of_its_users(client: httpx.Client) -> None:
    """The boundary is lost when Content-Type is set by hand."""
    headers = typed("multipart/form-data")
    answer = requests.post(f"{client.base_url}/predict", files={"image": PNG}, headers=headers, timeout=60)
    assert answer.status_code == 400
    assert "names no boundary; leave the header" in answer.json()["detail"]


def test_a_form_whose_input_has_no_name(client: httpx.Client) -> None:
    detail = problem(client.post("/predict", content=b"--b--\r\n", headers=MULTIPART), 400, "missing-picture")["detail"]
    assert "found: none" in detail


def test_fetch(server: Server, tmp_path: Path) -> None:
    """A string's type is text/plain; FormData of a Blob under a name of one's own."""
    script = f"""
        const answers = [];
        const ask = async (body) => {{
            const answer = await fetch("{server.url}/predict", {{ method: "POST", body }});
            answers.push((await answer.json()).label);
        }};
        const bytes = Buffer.from("{TEXT}", "base64");
        await ask(JSON.stringify({{ image: "{TEXT}" }}));
        await ask(new Blob([bytes]));
        await ask(new URLSearchParams({{ file: "{TEXT}" }}));
        const form = new FormData();
        form.append("uploadedfile", new Blob([bytes]), "uploadedfile");
        form.append("mode", "native");
        await ask(form);
        console.log(answers.join());
    """
    assert run_node(["", script], tmp_path)[1] == "Ankle boot,Ankle boot,Ankle boot,Ankle boot"


# Options


@pytest.mark.parametrize("path", ROUTES)
def test_options_may_be_fields(client: httpx.Client, path: str) -> None:
    wanted = {"top_k": "2", "mode": "photo", "background": "dark"}
    forms = [{"files": {"file": PNG}, "data": wanted}, {"data": {"file": TEXT, **wanted}}]
    for sent in (*forms, {"json": {"image": TEXT, **wanted, "top_k": 2}}):
        response = client.post(path, **sent)  # type: ignore[arg-type]
        assert labels(response) == ["Ankle boot"]
        answer = response.json().get("predictions", [response.json()])[0]
        assert (len(answer["probabilities"]), answer["preprocessing"]["mode"]) == (2, "photo")
    response = client.post(f"{path}?top_k=3", files={"file": PNG}, data={"top_k": "2", "mode": "", "submit": "Send"})
    answer = response.json().get("predictions", [response.json()])[0]
    assert len(answer["probabilities"]) == 3


@pytest.mark.parametrize("path", ROUTES)
def test_an_option_that_is_none_is_refused(client: httpx.Client, path: str) -> None:
    detail = problem(client.post(f"{path}?topk=3", files={"file": PNG}), 422, "invalid-parameter")["detail"]
    assert "topk: there is no such option; there are top_k, mode, background" in detail
    for value, query in (("0", ""), ("11", ""), ("x", ""), ("9" * 5000, ""), ("x", "?top_k=1")):
        response = client.post(f"{path}{query}", files={"file": PNG}, data={"top_k": value})
        assert "top_k" in problem(response, 422, "invalid-parameter")["detail"]


# Addresses


def test_a_slash_at_the_end_changes_nothing(client: httpx.Client) -> None:
    for path in ROUTES:
        assert labels(client.post(f"{path}/?top_k=1", files={"file": PNG})) == ["Ankle boot"]
    paths = [
        path for path, item in client.get("/openapi.json").json()["paths"].items() if "get" in item and "{" not in path
    ]
    for path in (*paths, "/docs", "/openapi.json", "/v2/models/googlenet-fashion-mnist"):
        assert client.get(f"{path}/").status_code == 200, path
    assert client.get("/static-offline-docs").status_code == client.get("/static-offline-docs/").status_code == 404


def test_a_slash_at_the_end_opens_no_door(tmp_path: Path) -> None:
    with run_server(GOOGLENET_API_KEY="sesame") as server, server.client() as client:
        assert client.get("/health/").status_code == 200
        assert client.get("/metrics/").status_code == 401
        assert client.post("/predict/", files={"file": PNG}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/ping", "/predictions/resnet-18", "/invocations", "/v1/nothing", "/v2/nothing", "/a/b/"]
)
def test_other_servers_addresses_are_told_the_way(client: httpx.Client, path: str) -> None:
    for response in (client.get(path), client.post(path, files={"data": PNG})):
        assert response.status_code == 404
        said = response.json().get("detail") or response.json()["error"]
        assert {"/predict,", "/v2,", "/docs"} <= set(said.split())


def test_another_method_is_told_the_right_one(client: httpx.Client) -> None:
    assert "takes POST" in problem(client.get("/predict"), 405, "method-not-allowed")["detail"]
    assert "POST /predict" in problem(client.post("/", files={"file": PNG}), 405, "method-not-allowed")["detail"]


@pytest.fixture(scope="module")
def prefixed() -> Iterator[Server]:
    with run_server(GOOGLENET_ROOT_PATH="/ml/", GOOGLENET_API_KEY="sesame") as server:
        yield server


@pytest.mark.parametrize("prefix", ["", "/ml"])
def test_behind_a_prefix(prefixed: Server, prefix: str) -> None:
    """Whether the proxy takes it off or leaves it."""
    with prefixed.client() as client:
        root, key = f"{prefixed.url}{prefix}", {"X-API-Key": "sesame"}
        for path in ROUTES:
            assert labels(client.post(f"{root}{path}", files={"file": PNG}, headers=key)) == ["Ankle boot"]
            assert labels(client.post(f"{root}{path}/", files={"file": PNG}, headers=key)) == ["Ankle boot"]
            assert client.post(f"{root}{path}", files={"file": PNG}).status_code == 401
        assert client.head(f"{root}/health").status_code == 200
        assert client.get(f"{root}/metrics").status_code == 401
        assert client.get(f"{root}/openapi.json").json()["servers"] == [{"url": "/ml"}]
        docs = client.get(f"{root}/docs")
        assert "script-src 'self' 'unsafe-inline'" in docs.headers["content-security-policy"]
        links = re.findall(r"""(?:href|src|url)(?:=|: )["'](/[^"']+)""", docs.text)
        assert "/ml/openapi.json" in links
        page = client.get(f"{root}/").text
        links += [f"/ml/{link}" for link in re.findall(r'(?:href|src)="([^"#]+)"', page)]
        assert len(links) >= 7
        for link in links:
            assert link.startswith("/ml/"), link
            assert client.get(prefix + link.removeprefix("/ml")).status_code == 200, link
        said = client.get(f"{root}/ping", headers=key).json()["detail"]
        assert "POST /ml/predict," in said
        assert client.get(f"{root}/v2/nothing", headers=key).json().keys() == {"error"}
        figures = client.get(f"{root}/metrics", headers=key).text
        assert 'googlenet_http_requests_total{route="/predict",status="200"}' in figures


@pytest.mark.parametrize("value", ["ml", "/ml?x", "/ml /x", "/%6dl"])
def test_a_prefix_that_is_none_stops_the_start(value: str) -> None:
    result = failed_start(GOOGLENET_ROOT_PATH=value)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "GOOGLENET_ROOT_PATH" in result.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_one_line_and_one_status(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = failed_start(GOOGLENET_PORT=port, GOOGLENET_WORKERS=workers)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"GOOGLENET_PORT={port}: " in line
    assert "in use" in line


# A storm of refusals


def test_refusals_of_a_kind_are_summed_up(tmp_path: Path) -> None:
    """The first has a line of its own, then there is one a second; no refusal is in none or in two."""
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": f"support.faults:{Hanging.__name__}", "GOOGLENET_REQUEST_TIMEOUT": "120"}
    with run_server(GOOGLENET_QUEUE_SIZE="64", FAULT=str(pipe), **settings) as server:
        refused, seconds = asyncio.run(_storm(server, pipe))
    lines = [line for line in server.log if "POST /predict 503" in line]
    counts = [int(found[1]) if (found := re.search(r"count=(\d+)", line)) else 1 for line in lines]
    assert refused >= 300
    assert sum(counts) == refused
    assert len(lines) <= seconds + 4


async def _storm(server: Server, pipe: Path) -> tuple[int, float]:
    """How many were refused, by the answers and by the metrics, and how long that took in seconds."""
    os.mkfifo(pipe)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as crowd:
        waiting = [asyncio.create_task(crowd.post("/predict", files={"file": PNG})) for _ in range(64)]
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as late:
            while not (await late.get("/health")).json()["queue"]["overloaded"]:
                pass
            started = time.monotonic()
            answers = [(await late.post("/predict", files={"file": PNG})).status_code for _ in range(300)]
            seconds = time.monotonic() - started
            assert set(answers) == {503}
            await asyncio.to_thread(release, pipe)
            answers += [(await task).status_code for task in waiting]
            figures = (await late.get("/metrics")).text
    counted = re.search(r'googlenet_http_requests_total\{route="/predict",status="503"\} (\S+)', figures)
    assert counted
    assert float(counted[1]) == answers.count(503)
    return answers.count(503), seconds
