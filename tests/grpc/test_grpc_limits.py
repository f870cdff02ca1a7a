"""What a gRPC client may not do, and what becomes of a call that its client no longer waits for."""

import os
import queue
import re
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from conftest import Server, failed_start
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from support.documents import ROOT
from support.faults import held
from support.grpc_calls import INFER, NAME, SERVICE, address, channel, images, infer, raw_request, run_grpc_server
from support.waiting import wait_until
from tritonclient.utils import InferenceServerException

from app import errors
from app.grpc.calls import CROWDED_TIMEOUT, MAX_RECEIVING, status_code

LIMIT = 1.0
"""Seconds of the timeouts here."""

UPLOAD_LIMIT = 200_000


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """With small limits, and a key."""
    limits = {f"GOOGLENET_{name}": str(LIMIT) for name in ("HEADER_TIMEOUT", "BODY_TIMEOUT", "KEEP_ALIVE")}
    limits |= {"GOOGLENET_MAX_UPLOAD_BYTES": str(UPLOAD_LIMIT), "GOOGLENET_API_KEY": "sesame"}
    with run_grpc_server(**limits) as (server, _):
        yield server


@pytest.fixture(scope="module")
def calls(strict: Server) -> Iterator[Any]:
    with channel(address(strict)) as opened:
        yield opened


KEY = [("x-api-key", "sesame")]


def refused(call: Any, *arguments: Any, **options: Any) -> grpc.RpcError:
    """The error that the call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        read(call(*arguments, **options))
    return caught.value


def read(result: Any) -> None:
    """Reads a stream of answers."""
    if hasattr(result, "__next__"):
        list(result)


# --- keys ----------------------------------------------------------------------------------------------------------


def test_without_a_key_only_probes_and_reflection_are_answered(strict: Server, boot: bytes) -> None:
    with triton.InferenceServerClient(address(strict)) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(NAME)
        for headers in (None, {"x-api-key": "wrong"}, {"authorization": "Basic sesame"}):
            for ask in (client.get_server_metadata, client.get_model_repository_index):
                with pytest.raises(InferenceServerException) as caught:
                    ask(headers=headers)
                assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
            with pytest.raises(InferenceServerException) as caught:
                client.infer(NAME, [images(boot)], headers=headers)
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        for headers in ({"x-api-key": "sesame"}, {"authorization": "Bearer sesame"}):
            assert client.infer(NAME, [images(boot)], headers=headers).as_numpy("label") == [b"Ankle boot"]
    with channel(address(strict)) as opened:
        assert "inference.GRPCInferenceService" in ProtoReflectionDescriptorDatabase(opened).get_services()
        stream = opened.stream_stream(f"{SERVICE}ModelStreamInfer")
        assert refused(stream, iter([b""])).code() == StatusCode.UNAUTHENTICATED


# --- sizes and slow clients ----------------------------------------------------------------------------------------


def test_a_message_has_at_most_the_bytes_of_a_body(calls: Any) -> None:
    array = bytes(UPLOAD_LIMIT)
    error = refused(infer, calls, raw_request(array), metadata=KEY)
    assert (error.code(), "larger than max" in error.details()) == (StatusCode.RESOURCE_EXHAUSTED, True)


def test_a_compressed_message_is_not_larger_decompressed(strict: Server, calls: Any) -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)
    assert len(bomb) < UPLOAD_LIMIT
    before = memory(strict)
    for data in (bomb, raw_request(bytes(10 * UPLOAD_LIMIT)).SerializeToString()):
        options = {} if data is bomb else {"compression": grpc.Compression.Gzip}
        error = refused(infer, calls, data, metadata=KEY, **options)
        assert error.code() == StatusCode.RESOURCE_EXHAUSTED
        assert "when decompressed" in error.details()
    assert memory(strict) - before < 50_000_000


def memory(server: Server) -> int:
    """The most that the process has ever used, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


def test_methods_without_pictures_take_short_messages(calls: Any) -> None:
    error = refused(calls.unary_unary(f"{SERVICE}ServerLive"), b"\x2a\x00" * 50_000)
    assert error.code() == StatusCode.RESOURCE_EXHAUSTED


def test_a_message_that_does_not_arrive(calls: Any) -> None:
    never: queue.Queue[bytes] = queue.Queue()
    error = refused(calls.stream_unary(INFER), iter(never.get, None), metadata=KEY, timeout=60)
    assert (error.code(), "took too long" in error.details()) == (StatusCode.DEADLINE_EXCEEDED, True)
    error = refused(calls.stream_stream(f"{SERVICE}ModelStreamInfer"), iter(never.get, None), metadata=KEY, timeout=60)
    assert (error.code(), "no request" in error.details()) == (StatusCode.DEADLINE_EXCEEDED, True)
    never.put(b"")  # for the threads that wait to send
    never.put(b"")


def test_slow_clients_do_not_hold_up_others(boot: bytes) -> None:
    """More messages that never arrive than may arrive at a time; each would have 20 s."""
    never: queue.Queue[bytes] = queue.Queue()
    with run_grpc_server() as (_, target), channel(target) as slow, channel(target) as opened:
        slow_calls = [slow.stream_unary(INFER).future(iter(never.get, None)) for _ in range(MAX_RECEIVING + 8)]
        wait_until(lambda: any(call.done() for call in slow_calls))
        started = time.monotonic()
        assert infer(opened, raw_request(boot)).outputs
        assert time.monotonic() - started < 4 * CROWDED_TIMEOUT
        assert slow_calls[0].code() == StatusCode.DEADLINE_EXCEEDED
        for call in slow_calls:
            call.cancel()
            never.put(b"")


def test_a_silent_connection_is_closed(strict: Server) -> None:
    host, port = address(strict).split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        while connection.recv(4096):
            pass


def test_pings_that_come_too_often_end_the_connection(strict: Server) -> None:
    often = {"keepalive_time_ms": 100, "http2.max_pings_without_data": 0, "http2.min_time_between_pings_ms": 100}
    with channel(address(strict), **often) as opened:
        watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        error = refused(lambda: watch)
    assert (error.code(), "too_many_pings" in str(error).lower().replace(" ", "_")) == (StatusCode.UNAVAILABLE, True)


# --- deadlines, cancelling, overload -------------------------------------------------------------------------------


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[Server, str, Path]]:
    """A server whose engine hangs, its gRPC address, and the pipe that the engine reads."""
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with run_grpc_server(GOOGLENET_QUEUE_SIZE="64", GOOGLENET_DRAIN_DELAY="0", **settings) as (server, target):
        os.mkfifo(pipe)
        yield server, target, pipe


def figures(server: Server) -> dict[str, float]:
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def in_queue(server: Server) -> float:
    return figures(server)["googlenet_queue_pictures"]


def test_calls_that_nobody_waits_for_leave_the_queue(hanging: tuple[Server, str, Path], boot: bytes) -> None:
    server, target, pipe = hanging
    message = raw_request(*[boot] * 32).SerializeToString()
    with channel(target) as opened:
        call = opened.unary_unary(INFER)
        in_engine = call.future(raw_request(boot).SerializeToString())
        with held(pipe):
            cancelled = call.future(message)
            wait_until(lambda: in_queue(server) == 32)
            cancelled.cancel()
            wait_until(lambda: in_queue(server) == 0)
            assert refused(call, message, timeout=0.5).code() == StatusCode.DEADLINE_EXCEEDED
            wait_until(lambda: in_queue(server) == 0)
            assert refused(call, message, timeout=0.001).code() == StatusCode.DEADLINE_EXCEEDED
            assert figures(server)['googlenet_pictures_dropped_total{reason="abandoned"}'] >= 64
            wait_until(lambda: any(f"GRPC {INFER} 499" in line and "grpc=CANCELLED" in line for line in server.log))
            wait_until(lambda: any(f"GRPC {INFER} 504" in line and "grpc=DEADLINE" in line for line in server.log))
        assert in_engine.result(60)


def test_a_full_queue_refuses_at_once(hanging: tuple[Server, str, Path], boot: bytes) -> None:
    server, target, pipe = hanging
    with channel(target) as opened:
        call = opened.unary_unary(INFER)
        in_engine = call.future(raw_request(boot).SerializeToString())
        with held(pipe):
            waiting = call.future(raw_request(*[boot] * 32).SerializeToString())
            wait_until(lambda: in_queue(server) == 32)
            error = refused(call, raw_request(*[boot] * 33).SerializeToString(), timeout=60)
            assert error.code() == StatusCode.RESOURCE_EXHAUSTED
            metadata = dict(error.trailing_metadata())
            assert metadata["error-code"] == "queue-full"
            assert int(metadata["grpc-retry-pushback-ms"]) >= 1000
        assert in_engine.result(60)
        assert waiting.result(60)


# --- the start and the table of errors -----------------------------------------------------------------------------


def test_a_port_that_cannot_be_had_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = failed_start(GOOGLENET_GRPC_PORT=port)
    assert done.returncode == 1
    assert re.fullmatch(rf"GOOGLENET_HOST=127\.0\.0\.1, GOOGLENET_GRPC_PORT={port}: .*\n", done.stderr)
    done = failed_start(GOOGLENET_GRPC_PORT="0", GOOGLENET_WORKERS="2")
    assert done.returncode == 2
    assert done.stderr.startswith("GOOGLENET_GRPC_PORT='0': ")


def test_without_the_extra_the_start_says_what_is_missing() -> None:
    hide = "import sys; sys.modules['grpc'] = None; from app.http.serve import serve; sys.exit(serve())"
    settings = {"GOOGLENET_PORT": "0", "GOOGLENET_GRPC_PORT": "0"}
    done = subprocess.run([sys.executable, "-c", hide], env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs the extra grpc: pip install 'fashion-googlenet[grpc]'" in done.stderr
    assert "Traceback" not in done.stderr


def leaves(kind: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from [child] if "code" in vars(child) else leaves(child)


def test_the_page_has_the_status_of_every_error() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| (\d+) \| (`.*`) \|$", (ROOT / "docs/grpc.md").read_text(), re.MULTILINE)
    described = {code.strip("` "): (name, int(status)) for name, status, codes in rows for code in codes.split(",")}
    kinds = list(leaves(errors.ServiceError))
    assert described == {kind.code: (status_code(kind("")).name, kind.status) for kind in kinds}
