"""Clients that are silent, slow, or speak no HTTP: they lose their connection, and nobody else notices."""

import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Server, run_server
from support.sockets import PATIENCE, code, connect, live

LIMIT = 2.0
"""Seconds of all timeouts here."""


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """Impatient, and started with a soft limit on open files that would not do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        limits = ("HEADER_TIMEOUT", "BODY_TIMEOUT", "KEEP_ALIVE")
        with run_server(**{f"GOOGLENET_{name}": str(LIMIT) for name in limits}) as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
            yield server
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def drip(connection: socket.socket, data: bytes) -> bytes:
    """Sends a byte every tenth of a second until the server has had enough; what it said."""
    connection.settimeout(0.1)
    until, received = time.monotonic() + PATIENCE, b""
    for i in range(len(data)):
        assert time.monotonic() < until, "the server never ended it"
        try:
            connection.sendall(data[i : i + 1])
            chunk = connection.recv(65536)
            received += chunk
            if not chunk:
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return received


def test_a_silent_connection_is_closed(strict: Server) -> None:
    with connect(strict) as connection:
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert LIMIT - 0.5 < time.monotonic() - started < PATIENCE


def test_a_connection_that_is_idle_after_an_answer_is_closed(strict: Server) -> None:
    with connect(strict) as connection:
        assert live(connection).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert LIMIT - 0.5 < time.monotonic() - started < PATIENCE


def test_a_request_in_time_is_answered_however_late_it_is_read(strict: Server) -> None:
    """The process is held up, as hosts do, until the connection's time is over."""
    with connect(strict) as connection:
        assert live(connection).startswith(b"HTTP/1.1 200")
        strict.process.send_signal(signal.SIGSTOP)
        try:
            connection.sendall(b"GET /health/live HTTP/1.1\r\n\r\n")
            time.sleep(1.5 * LIMIT)  # the fault itself
        finally:
            strict.process.send_signal(signal.SIGCONT)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_slow_headers_get_408(strict: Server) -> None:
    with connect(strict) as connection:
        assert code(drip(connection, b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 100)) == (408, "headers-too-slow")


def test_slow_headers_get_408_on_a_connection_that_served_already(strict: Server) -> None:
    with connect(strict) as connection:
        assert live(connection).startswith(b"HTTP/1.1 200")
        assert code(drip(connection, b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 100)) == (408, "headers-too-slow")


def test_empty_lines_do_not_keep_a_connection(strict: Server) -> None:
    with connect(strict) as connection:
        assert live(connection).startswith(b"HTTP/1.1 200")
        assert drip(connection, b"\r\n" * 200) == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_slow_bodies_get_408(strict: Server, framing: bytes) -> None:
    with connect(strict) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Type: image/png\r\n" + framing + b"\r\n\r\n")
        assert code(drip(connection, b"1\r\nx\r\n" * 200)) == (408, "body-too-slow")


def test_a_body_that_nobody_waits_for_does_not_keep_a_connection(strict: Server) -> None:
    with connect(strict) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        assert b"404" in drip(connection, b"x" * 1000)


def test_headers_without_end(strict: Server) -> None:
    with connect(strict) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        answer = b""
        try:
            while not answer:
                connection.sendall(b"X: " + b"y" * 10_000 + b"\r\n")
                connection.settimeout(0.01)
                try:
                    answer = connection.recv(65536)
                except TimeoutError:
                    connection.settimeout(PATIENCE)
        except ConnectionError:
            return
        assert code(answer) == (431, "headers-too-large")


@pytest.mark.parametrize("piece", [200_000, 40_000])
def test_headers_are_measured_to_the_byte(strict: Server, piece: int) -> None:
    start = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: "
    for length, status in ((64 * 1024 - 100, b"200"), (64 * 1024, b"431")):
        with connect(strict) as connection:
            whole = start + length * b"y" + b"\r\n\r\n"
            for at in range(0, len(whole), piece):
                connection.sendall(whole[at : at + piece])
            assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    "rest", [b"GET /health/l", b"\0\0\r\n\r\n", b"GET /health/live HTTP/1.1\r\nX: " + 80_000 * b"y"]
)
def test_what_follows_a_request_does_not_take_its_answer(strict: Server, boot: bytes, rest: bytes) -> None:
    body = boot + bytes(100_000)
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(strict) as connection:
        connection.sendall(head.encode() + body + rest)
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"Ankle boot"' in answer
        connection.settimeout(PATIENCE)
        while connection.recv(65536):
            pass


def test_no_http_at_all(strict: Server) -> None:
    with connect(strict) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert code(connection.recv(65536)) == (400, "malformed-request")


def test_two_thousand_idle_connections_hurt_nobody(strict: Server, boot: bytes) -> None:
    limits = Path(f"/proc/{strict.process.pid}/limits").read_text()
    (files,) = [line.split() for line in limits.splitlines() if line.startswith("Max open files")]
    assert files[3] == str(min(int(files[4]), 65_536))
    connections = [connect(strict) for _ in range(2000)]
    try:
        with strict.client() as client:
            for _ in range(20):
                assert client.post("/predict", files={"file": boot}).status_code == 200
        for connection in connections:
            assert connection.recv(1) == b""
        assert "ERROR" not in "".join(strict.log)
    finally:
        for connection in connections:
            connection.close()


def test_requests_ahead_of_their_answers_are_bounded(strict: Server) -> None:
    """Some dozens are answered in their order; a thousand, each of which would be held, end the connection."""
    question = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(strict) as connection:
        connection.sendall(50 * question)
        received = b""
        while received.count(b'"alive"') < 50:
            received += connection.recv(65536) or pytest.fail("the connection has ended")
    with connect(strict) as connection:
        with suppress(ConnectionError):
            connection.sendall(1000 * question)
        received = b""
        with suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
        assert received.count(b'"alive"') < 200
    with strict.client() as client:
        assert client.get("/health/live").status_code == 200
