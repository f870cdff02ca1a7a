"""More than can be done in time: who comes too late is told so at once, by the head of the request."""

import asyncio
import os
from pathlib import Path

import httpx
from conftest import run_server
from support.faults import release

CROWD = 400
LIMIT = 60.0


def test_a_crowd_is_served_and_who_comes_later_is_turned_away(boot: bytes, tmp_path: Path) -> None:
    """400 come while nothing is computed: nobody is let in behind the first 256, though the queue has room."""
    pipe = tmp_path / "pipe"
    with run_server(
        GOOGLENET_ENGINE="support.faults:Hanging", GOOGLENET_REQUEST_TIMEOUT="120", FAULT=str(pipe)
    ) as server:
        os.mkfifo(pipe)
        limits = httpx.Limits(max_connections=CROWD, max_keepalive_connections=0)

        async def play() -> None:
            async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as crowd:
                tasks = [asyncio.create_task(crowd.post("/predict", files={"file": boot})) for _ in range(CROWD)]
                async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT) as late:
                    await _overloaded(late)
                    await _is_turned_away(late, boot)
                await asyncio.to_thread(release, pipe)
                first = [await task for task in tasks]
                codes = {response.status_code for response in first}
                assert codes <= {200, 503}
                assert sum(response.status_code == 200 for response in first) >= 256
                assert (await crowd.post("/predict", files={"file": boot})).status_code == 200

        asyncio.run(play())
        rejected = httpx.get(f"{server.url}/metrics", timeout=LIMIT).text
    for route in ("/predict", "/v1/models/{name}:predict", "/v1/models/{name}/versions/{version}:predict"):
        assert f'googlenet_http_requests_total{{route="{route}",status="503"}}' in rejected
    assert any("POST /predict 503 " in line for line in server.log)


async def _overloaded(client: httpx.AsyncClient) -> None:
    """Waits until it is."""
    async with asyncio.timeout(LIMIT):
        while not (await client.get("/health")).json()["queue"]["overloaded"]:
            pass


async def _is_turned_away(client: httpx.AsyncClient, boot: bytes) -> None:
    response = await client.post("/predict", files={"file": boot}, headers={"X-Request-ID": "late-1"})
    assert (response.status_code, response.json()["code"]) == (503, "queue-full")
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"] == "late-1"
    assert response.headers["content-type"] == "application/problem+json"
    form = {"files": {"file": boot}, "headers": {"Origin": "https://example.org"}}
    assert (await client.post("/explain", **form)).status_code == 503  # type: ignore[arg-type]
    response = await client.post("/v2/models/googlenet-fashion-mnist/infer", json=_tensor())
    assert response.status_code == 503
    assert "in progress" in response.json()["error"]
    for model in ("googlenet-fashion-mnist", "googlenet-fashion-mnist/versions/1"):
        response = await client.post(f"/v1/models/{model}:predict", content=b"{}")
        assert (response.status_code, list(response.json())) == (503, ["error"])
        assert response.headers["content-type"] == "application/json"
        assert int(response.headers["retry-after"]) >= 1
    await _before_its_body(client, boot)


def _tensor() -> dict[str, object]:
    pixels = {"name": "pixels", "datatype": "UINT8", "shape": [1, 96, 96], "data": [0] * 96 * 96}
    return {"inputs": [pixels]}


async def _before_its_body(client: httpx.AsyncClient, boot: bytes) -> None:
    """Who has sent the head alone is refused, may send the rest in peace, and ask again on the same connection."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(boot)
    async with asyncio.timeout(LIMIT):
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(boot + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


def test_who_is_refused_is_told_to_come_back_when_there_is_room(boot: bytes, tmp_path: Path) -> None:
    """256 pictures at ten a second take 25 seconds, which warm-up, when the engine was fast, could not know."""
    fault = tmp_path / "fault"
    settings = {"GOOGLENET_ENGINE": "support.faults:Slow", "GOOGLENET_MAX_BATCH_SIZE": "1", "FAULT": str(fault)}
    with run_server(GOOGLENET_REQUEST_TIMEOUT="120", **settings) as server:
        fault.touch()

        async def ask_on(client: httpx.AsyncClient) -> None:
            while fault.exists():
                answer = await client.post("/predict", files={"file": boot})
                if int(answer.headers.get("retry-after", 0)) >= 20:
                    fault.unlink(missing_ok=True)

        async def play() -> None:
            limits = httpx.Limits(max_connections=CROWD)
            async with (
                asyncio.timeout(LIMIT),
                httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as all,
            ):
                await asyncio.gather(*(ask_on(all) for _ in range(CROWD)))

        asyncio.run(play())
