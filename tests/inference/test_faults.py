"""An engine that misbehaves: health says so, and nobody suffers who need not."""

import asyncio
import io
import os
import re
import time
from pathlib import Path

import httpx
import pytest
from conftest import failed_start, run_server
from PIL import Image
from support.faults import release

from model.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def white() -> bytes:
    file = io.BytesIO()
    Image.new("L", (28, 28), 255).save(file, "PNG")
    return file.getvalue()


def test_a_poisonous_picture_fails_alone(boot: bytes, white: bytes) -> None:
    with run_server(GOOGLENET_ENGINE="support.faults:Poisoned") as server:

        async def send() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                contents = [white if i % 7 == 3 else boot for i in range(64)]
                return await asyncio.gather(*(client.post("/predict?mode=native", files={"file": c}) for c in contents))

        responses = asyncio.run(send())
        for i, response in enumerate(responses):
            assert response.status_code == (503 if i % 7 == 3 else 200)
        assert responses[3].json()["code"] == "engine-failed"
        with server.client() as client:
            answers = client.post(
                "/predict/batch?mode=native", files=[("files", c) for c in (boot, white, boot)]
            ).json()
            assert [set(answer) == {"error"} for answer in answers["predictions"]] == [False, True, False]
            assert client.get("/health").status_code == 200


def test_a_wrong_engine_is_noticed(tmp_path: Path) -> None:
    trigger = tmp_path / "trigger"
    with run_server(GOOGLENET_ENGINE="support.faults:Wrong", FAULT=str(trigger)) as server, server.client() as client:
        assert client.get("/health").json()["status"] == "ready"
        trigger.touch()
        body = wait_for(client, 503)
        assert body["status"] == "unready"
        assert "classified wrongly" in body["reason"]
        assert client.get("/health/live").status_code == 200
        trigger.unlink()
        assert wait_for(client, 200)["status"] == "ready"


def test_a_wrong_engine_answers_nobody(tmp_path: Path, boot: bytes, checkpoint: Checkpoint) -> None:
    trigger = tmp_path / "trigger"
    settings = {"GOOGLENET_ENGINE": "support.faults:Wrong", "FAULT": str(trigger), "GOOGLENET_STUCK_LIMIT": "5"}
    infer = f"/v2/models/{checkpoint.metadata.name}/infer"
    raw = {"Inference-Header-Content-Length": "0"}
    with run_server(**settings) as server, server.client() as client:
        trigger.touch()
        wait_for(client, 503)
        refused = client.post("/predict", files={"file": boot})
        assert (refused.status_code, refused.json()["code"]) == (503, "engine-failed")
        assert "classified wrongly" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert client.post("/predict/batch", files=[("files", boot)] * 2).status_code == 503
        assert client.post(infer, content=boot, headers=raw).status_code == 503
        wait_for_live(client, 503)  # another in its place is as wrong; building it does not take five seconds
        assert client.get("/v2/health/live").json() == {"live": False}
        assert client.get("/v2/health/ready").json() == {"live": False, "ready": False}
        assert client.post("/predict", files={"file": boot}).status_code == 503
        assert "googlenet_engine_restarts_total 0.0" in client.get("/metrics").text

        trigger.unlink()
        wait_for(client, 200)
        assert client.get("/health/live").status_code == client.get("/v2/health/live").status_code == 200
        assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"
        assert client.post(infer, content=boot, headers=raw).status_code == 200


def test_a_wrong_engine_is_replaced_though_nobody_asks_for_health_again(tmp_path: Path, boot: bytes) -> None:
    trigger = tmp_path / "trigger"
    settings = {"GOOGLENET_ENGINE": "support.faults:WrongUntilReplaced", "FAULT": str(trigger)}
    with run_server(**settings) as server, server.client() as client:
        trigger.touch()
        wait_for(client, 503)
        until = time.monotonic() + 60
        while (response := client.post("/predict", files={"file": boot})).status_code == 503:
            assert response.json()["code"] == "engine-failed"
            assert time.monotonic() < until, "".join(server.log)
        assert response.json()["label"] == "Ankle boot"
        assert "googlenet_engine_restarts_total 1.0" in client.get("/metrics").text
        assert client.get("/health").status_code == 200


def test_what_a_wrong_engine_has_under_way_is_not_answered(tmp_path: Path, boot: bytes) -> None:
    """Eight pictures, of which the known one overtakes all but the first, or the first few."""
    pipe = tmp_path / "pipe"
    settings = {
        "GOOGLENET_ENGINE": "support.faults:WrongAfterHanging",
        "FAULT": str(pipe),
        "GOOGLENET_MAX_BATCH_SIZE": "1",
    }
    with run_server(GOOGLENET_REQUEST_TIMEOUT="60", **settings) as server:

        async def play() -> list[str]:
            os.mkfifo(pipe)
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                asked = asyncio.create_task(client.post("/predict/batch", files=[("files", boot)] * 8))
                await asyncio.to_thread(release, pipe)
                while "classified wrongly" not in str((await client.get("/health")).json()["reason"]):
                    assert not asked.done()
                answers = (await asked).json()["predictions"]
                return [answer["error"]["code"] if "error" in answer else answer["label"] for answer in answers]

        answers = asyncio.run(play())
        wrong = [answer not in ("Ankle boot", "engine-failed") for answer in answers]
        noticed = answers.index("engine-failed")
        assert all(wrong[:noticed])
        assert not any(wrong[noticed:])


def test_an_idle_engine_is_not_stuck_though_its_thread_stumbled(tmp_path: Path, boot: bytes) -> None:
    trigger = tmp_path / "trigger"
    settings = {"GOOGLENET_ENGINE": "support.faults:Unmeasurable", "FAULT": str(trigger), "GOOGLENET_STUCK_LIMIT": "1"}
    with run_server(**settings) as server, server.client() as client:
        trigger.touch()
        assert client.post("/predict", files={"file": boot}).status_code == 503
        until = time.monotonic() + 60
        while not any("an engine thread raised an unexpected error" in line for line in server.log):
            assert time.monotonic() < until
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert client.get("/health/live").status_code == 200
        assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"


@pytest.mark.parametrize("fault", ["NotANumber", "Short"])
def test_an_unusable_output_is_an_error_and_no_end(tmp_path: Path, boot: bytes, fault: str) -> None:
    trigger = tmp_path / "trigger"
    with (
        run_server(GOOGLENET_ENGINE=f"support.faults:{fault}", FAULT=str(trigger)) as server,
        server.client() as client,
    ):
        trigger.touch()
        response = client.post("/predict", files={"file": boot})
        assert response.status_code == 503
        assert response.json()["code"] == "engine-failed"
        trigger.unlink()
        assert client.post("/predict", files={"file": boot}).status_code == 200


def test_a_dead_engine_is_replaced(tmp_path: Path, boot: bytes) -> None:
    trigger = tmp_path / "trigger"
    with run_server(GOOGLENET_ENGINE="support.faults:Mortal", FAULT=str(trigger)) as server, server.client() as client:
        trigger.touch()
        assert client.post("/predict", files={"file": boot}).json()["code"] == "engine-failed"
        assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"
        assert wait_for(client, 200)["status"] == "ready"
        assert "googlenet_engine_restarts_total 1.0" in client.get("/metrics").text


@pytest.mark.parametrize("fault", ["Dead", "Quitting"])
def test_an_engine_that_stays_dead_is_told_of_and_tried_again(tmp_path: Path, boot: bytes, fault: str) -> None:
    trigger = tmp_path / "trigger"
    settings = {"GOOGLENET_ENGINE": f"support.faults:{fault}", "FAULT": str(trigger), "GOOGLENET_STUCK_LIMIT": "1"}
    with run_server(**settings) as server, server.client() as client:
        trigger.touch()
        assert client.post("/predict", files={"file": boot}).status_code == 503
        assert "could not be run" in wait_for(client, 503)["reason"]
        wait_for_live(client, 503)  # nothing works for longer than a second
        assert "googlenet_engine_restarts_total 0.0" in client.get("/metrics").text
        trigger.unlink()
        assert client.post("/predict", files={"file": boot}).status_code == 200
        assert client.get("/health/live").status_code == 200


def test_too_little_memory_halves_the_batch(tmp_path: Path, boot: bytes) -> None:
    trigger = tmp_path / "trigger"
    settings = {"GOOGLENET_ENGINE": "support.faults:Small", "FAULT": str(trigger), "GOOGLENET_MAX_BATCH_SIZE": "16"}
    with run_server(**settings) as server, server.client() as client:
        trigger.touch()
        answers = client.post("/predict/batch", files=[("files", boot)] * 16).json()["predictions"]
        assert [answer["label"] for answer in answers] == ["Ankle boot"] * 16
        assert {answer["batch_size"] for answer in answers} == {2}
        (splits,) = re.findall(r"^googlenet_batch_splits_total (\S+)", client.get("/metrics").text, re.MULTILINE)
        assert float(splits) == 7


def test_liveness_fails_when_the_engine_stays_stuck(tmp_path: Path, boot: bytes) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "1"}
    with run_server(GOOGLENET_STUCK_LIMIT="3", **settings) as server, server.client() as client:
        os.mkfifo(pipe)
        assert client.post("/predict", files={"file": boot}).status_code == 504
        assert client.get("/health/live").status_code == 200
        started = time.monotonic()
        health = client.get("/health")
        assert health.status_code == 503
        assert "not ready in time" in health.json()["reason"]
        assert time.monotonic() - started < 5
        assert wait_for_live(client, 503).json() == {"status": "stuck"}
        live = client.get("/v2/health/live")
        assert (live.status_code, live.json()) == (503, {"live": False})
        release(pipe)
        wait_for(client, 200)
        assert client.get("/health/live").status_code == 200


def wait_for(client: httpx.Client, status: int) -> dict[str, str]:
    """Asks until health answers so; each asking takes a real probe once a second, so this ends by itself."""
    for _ in range(20_000):
        response = client.get("/health")
        if response.status_code == status:
            body: dict[str, str] = response.json()
            return body
    pytest.fail(f"health never answered {status}")


def wait_for_live(client: httpx.Client, status: int) -> httpx.Response:
    until = time.monotonic() + 60
    while (response := client.get("/health/live")).status_code != status:
        assert time.monotonic() < until
    return response


def test_a_hanging_engine_hangs_nobody(tmp_path: Path, boot: bytes) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "2"}
    with run_server(**settings) as server, server.client() as client:
        assert client.post("/predict", files={"file": boot}).status_code == 200
        os.mkfifo(pipe)
        response = client.post("/predict", files={"file": boot})
        assert response.status_code == 504
        assert response.json()["code"] == "deadline-passed"
        answers = client.post("/predict/batch", files=[("files", boot)] * 2).json()["predictions"]
        assert [answer["error"]["code"] for answer in answers] == ["deadline-passed"] * 2
        assert client.get("/health").status_code == 503
        assert client.get("/health/live").status_code == 200
        release(pipe)
        assert wait_for(client, 200)["status"] == "ready"
        assert client.post("/predict", files={"file": boot}).status_code == 200


def test_a_full_queue_refuses_at_once_and_health_stays(tmp_path: Path, boot: bytes) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_QUEUE_SIZE": "64"}
    with run_server(GOOGLENET_MAX_BATCH_SIZE="4", GOOGLENET_REQUEST_TIMEOUT="60", **settings) as server:

        async def overload() -> list[httpx.Response]:
            os.mkfifo(pipe)
            async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=httpx.Limits()) as client:
                tasks = [asyncio.create_task(client.post("/predict", files={"file": boot})) for _ in range(100)]
                for task in asyncio.as_completed(tasks):  # the refused ones come first: nothing else can
                    refused = await task
                    assert refused.status_code == 503
                    health = (await client.get("/health", timeout=60)).json()
                    assert health["queue"]["overloaded"]
                    break
                await asyncio.to_thread(release, pipe)
                return await asyncio.gather(*tasks)

        responses = asyncio.run(overload())
        refused = [response for response in responses if response.status_code == 503]
        assert {response.json()["code"] for response in refused} == {"queue-full"}
        assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
        assert len([response for response in responses if response.status_code == 200]) >= 64
        with server.client() as client:
            assert wait_for(client, 200)["status"] == "ready"


def test_readiness_stays_under_overload_and_tells_of_it(tmp_path: Path, boot: bytes) -> None:
    """Whoever waits in the queue waits for six seconds, the known picture for a tenth of one."""
    trigger = tmp_path / "trigger"
    settings = {"GOOGLENET_ENGINE": "support.faults:Slow", "FAULT": str(trigger), "GOOGLENET_QUEUE_SIZE": "64"}
    with run_server(GOOGLENET_MAX_BATCH_SIZE="1", **settings) as server:

        async def ask_on(client: httpx.AsyncClient) -> None:
            while trigger.exists():
                response = await client.post("/predict", files={"file": boot})
                assert response.status_code in (200, 503)

        async def probe_under_load() -> None:
            limits = httpx.Limits(max_connections=100)
            async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
                trigger.touch()
                load = [asyncio.create_task(ask_on(client)) for _ in range(70)]
                overloaded: set[int] = set()
                until = time.monotonic() + 60
                while len(overloaded) < 5:  # in as many seconds: a probe counts for one
                    assert time.monotonic() < until
                    health = await client.get("/health")
                    assert health.status_code == 200, health.text
                    assert health.json()["status"] == "ready"
                    if health.json()["queue"]["overloaded"]:
                        overloaded.add(int(time.monotonic()))
                trigger.unlink()
                await asyncio.gather(*load)

        asyncio.run(probe_under_load())


def test_an_engine_that_is_wrong_from_the_start_does_not_serve() -> None:
    result = failed_start(GOOGLENET_ENGINE="support.faults:WrongFromTheStart")
    assert result.returncode != 0
    assert "would answer wrongly" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("GOOGLENET_PORT", "many", "GOOGLENET_PORT='many'"),
        ("GOOGLENET_QUEUE_SIZE", "1", "GOOGLENET_QUEUE_SIZE='1'"),
        ("GOOGLENET_ENGINE", "warp", "GOOGLENET_ENGINE='warp'"),
        ("GOOGLENET_ENGINE", "nowhere:Engine", "No module named 'nowhere'"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_clear_line(setting: str, value: str, complaint: str) -> None:
    result = failed_start(**{setting: value})
    assert result.returncode != 0
    assert len([line for line in result.stderr.splitlines() if complaint in line]) == 1
    assert "Traceback" not in result.stderr
