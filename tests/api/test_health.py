"""Health tells what a picture sent now would meet."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest
from conftest import run_server
from support.faults import release

from model.checkpoint import Checkpoint


def test_ready(client: httpx.Client, checkpoint: Checkpoint) -> None:
    for path in ("/health", "/health/ready"):
        response = client.get(path)
        assert response.status_code == 200
        body = response.json()
        assert body["status"] == "ready"
        assert body["reason"] is None
        assert body["model"]["version"] == checkpoint.version[:12]
        assert body["engine"]["name"] in ("openvino", "openvino-int8")
        assert body["engine"]["device"] == "cpu"
        assert body["queue"] == {"images": 0, "limit": body["queue"]["limit"], "overloaded": False}
        assert 256 <= body["queue"]["limit"] <= 1024
        assert f"\ngooglenet_queue_limit_pictures {body['queue']['limit']}" in client.get("/metrics").text
        assert str(body["engine"]["max_batch_size"]) in body["engine"]["pictures_per_second"]
    assert client.get("/health/live").json() == {"status": "alive"}


def test_stopping_loses_nothing(boot: bytes, tmp_path: Path) -> None:
    """Requests that were accepted before SIGTERM are answered, and the process ends by itself."""
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with run_server(GOOGLENET_MAX_BATCH_SIZE="1", **settings) as server:
        os.mkfifo(pipe)

        async def stop_under_load() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                tasks = [asyncio.create_task(client.post("/predict", files={"file": boot})) for _ in range(60)]
                for _ in range(50):  # each takes the seconds after which health gives up on the engine
                    if (await client.get("/health")).json()["queue"]["images"] >= 59:
                        break
                else:
                    pytest.fail("sixty pictures never were in the queue")
                server.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(release, pipe)
                return await asyncio.gather(*tasks)

        responses = asyncio.run(stop_under_load())
        server.process.wait(60)
    assert [response.status_code for response in responses] == [200] * 60
