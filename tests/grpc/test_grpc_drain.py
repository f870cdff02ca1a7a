"""SIGTERM under gRPC load: readiness first, then no new calls, and nothing that was accepted is lost."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from conftest import STOP_LIMIT, Server
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.faults import held, release
from support.grpc_calls import INFER, channel, free_port, infer, outputs, raw_request, run_grpc_server
from support.waiting import said, wait_until

CLIENTS = 12

REFUSED = "the service is stopping"
"""What a new call is told once no more are accepted."""


class GrpcLoad:
    """Clients, each with a connection of its own, that send one picture after the other until a call is refused."""

    def __init__(self, target: str, boot: bytes) -> None:
        self.target, self.message = target, raw_request(boot)
        self.seen: Counter[str] = Counter()
        self.refused = 0
        self.threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> "GrpcLoad":
        for thread in self.threads:
            thread.start()
        wait_until(lambda: self.seen["OK"] > 4 * CLIENTS)
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            thread.join(STOP_LIMIT)
            assert not thread.is_alive()

    def _ask(self) -> None:
        with channel(self.target) as opened:
            while True:
                try:
                    assert outputs(infer(opened, self.message))["probabilities"].shape == (1, 10)
                    self.seen["OK"] += 1
                except grpc.RpcError as error:
                    if error.code() == grpc.StatusCode.UNAVAILABLE and error.details() == REFUSED:
                        self.refused += 1
                        return
                    if error.code() == grpc.StatusCode.UNAVAILABLE and "Failed to connect" in error.details():
                        return  # nobody listens any more: the call was never sent
                    self.seen[f"{error.code().name}: {error.details()}"] += 1
                    return


@pytest.mark.parametrize("workers", [1, 2])
def test_no_call_is_lost_when_stopping_under_load(boot: bytes, workers: int) -> None:
    settings = {"GOOGLENET_WORKERS": str(workers), "GOOGLENET_GRPC_PORT": str(free_port())}
    with run_grpc_server(GOOGLENET_DRAIN_DELAY="1", **settings) as (server, target):
        wait_until(lambda: said(server, "startup complete") == workers)
        with GrpcLoad(target, boot) as load:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(STOP_LIMIT)
    assert set(load.seen) == {"OK"}, load.seen
    assert_no_traceback(server)


def assert_no_traceback(server: Server) -> None:
    assert "Traceback" not in "".join(server.log)


def test_readiness_goes_first_and_all_is_still_served(boot: bytes) -> None:
    with run_grpc_server(GOOGLENET_DRAIN_DELAY="3") as (server, target), channel(target) as opened:
        watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert outputs(infer(opened, raw_request(boot)))["probabilities"].shape == (1, 10)
        assert list(watch) == []
        server.process.wait(STOP_LIMIT)
    assert_no_traceback(server)


def test_a_second_signal_ends_it_at_once(boot: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with run_grpc_server(GOOGLENET_DRAIN_DELAY="0", GOOGLENET_DRAIN_LIMIT="100", **settings) as (server, target):
        os.mkfifo(pipe)
        with channel(target) as opened:
            call: Any = opened.unary_unary(INFER).future(raw_request(boot).SerializeToString())
            with held(pipe):  # entered once the engine hangs
                server.process.send_signal(signal.SIGTERM)
                wait_until(lambda: said(server, "Shutting down") == 1)
                server.process.send_signal(signal.SIGTERM)
                assert call.exception(STOP_LIMIT).code() == grpc.StatusCode.UNAVAILABLE
                server.process.wait(20)


def test_at_the_limit_calls_without_an_answer_are_told(boot: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    settings |= {"GOOGLENET_DRAIN_DELAY": "0", "GOOGLENET_DRAIN_LIMIT": "3"}
    with run_grpc_server(**settings) as (server, target), channel(target) as opened:
        os.mkfifo(pipe)
        call: Any = opened.unary_unary(INFER).future(raw_request(boot).SerializeToString())
        with server.client() as client:
            assert client.get("/health").status_code == 503  # four seconds later: the engine hangs
        server.process.send_signal(signal.SIGTERM)
        assert call.exception(STOP_LIMIT).code() == grpc.StatusCode.UNAVAILABLE
        assert call.details() == "the service is stopping"
        release(pipe)
        server.process.wait(STOP_LIMIT)
    assert_no_traceback(server)
