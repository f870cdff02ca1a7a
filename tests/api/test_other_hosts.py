"""create_app's application under plain uvicorn: the short way of /predict is no other than FastAPI's."""

import sys
from collections.abc import Iterator

import pytest
from conftest import Server, run_server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Server]:
    """On uvicorn's own protocol and log, with a middleware that was added to it."""
    with run_server(sys.executable, "-m", "uvicorn", "support.hosted:app", "--port", "0") as running:
        yield running


def test_middleware_of_the_host_sees_every_request(elsewhere: Server, boot: bytes) -> None:
    with elsewhere.client() as client:
        answers = [
            client.post("/predict", files={"file": boot}),
            client.post("/predict/batch", files={"files": boot}),
            client.post("/predict"),
            client.get("/predict"),
            client.get("/health"),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 405, 200]
    assert len({answer.headers["x-host"] for answer in answers}) == 1  # one middleware, and not one for each way
    assert answers[0].json()["label"] == "Ankle boot"
    assert answers[3].headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_a_defect_of_ours_is_logged_and_told_as_one(elsewhere: Server, boot: bytes, path: str) -> None:
    """The short way and FastAPI's alike: a problem without a trace, and the trace in the log."""
    before = len(elsewhere.log)
    with elsewhere.client() as client:
        answer = client.post(path, files={"file": boot}, headers={"x-defect": "1"})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
        assert answer.headers["x-request-id"]
        assert client.post(path, files={"file": boot}).status_code == 200
        figures = client.get("/metrics").text
    assert f'googlenet_http_requests_total{{route="{path}",status="500"}} 1.0' in figures
    assert "Traceback" in "".join(elsewhere.log[before:])


def test_a_slash_at_the_end_takes_the_short_way_too(elsewhere: Server, boot: bytes) -> None:
    with elsewhere.client() as client:
        assert client.post("/predict/", files={"file": boot}).status_code == 200


def test_a_prefix_may_be_the_hosts(boot: bytes) -> None:
    command = (sys.executable, "-m", "uvicorn", "support.hosted:app", "--port", "0", "--root-path", "/ml")
    with run_server(*command) as server, server.client() as client:
        assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/ml"}]
        assert client.get("/static-offline-docs/swagger-ui.css").status_code == 200
        assert client.get("/v2/nothing").json().keys() == {"error"}
        for path in ("/nothing", "/ml/nothing", "/static-offline-docs/nothing"):
            assert "pictures go to POST /ml/predict" in client.get(path).json()["detail"]
