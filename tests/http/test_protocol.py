"""What a client may put into a connection beside its requests, and how it may end it."""

import json
import socket
import struct
import subprocess
from contextlib import suppress

import pytest
from conftest import PICTURES, Server, run_server
from support.sockets import code, connect, live

PIECE = 10_000
"""Bytes sent at a time by a client that never ends."""

MOST = 64 * 1024 * 1024
"""Bytes after which such a client has won: much more than the sockets' buffers hold."""

CHUNKED = b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n"
POST, GET = b"POST /predict HTTP/1.1\r\n" + CHUNKED, b"GET /health/live HTTP/1.1\r\n" + CHUNKED
TRAILERS, EXTENSIONS = b"1\r\nx\r\n0\r\n", b"1;"


def flooded(connection: socket.socket, begin: bytes, piece: bytes) -> bytes:
    """Sends `begin` and then pieces until the server ends the connection; what it has answered."""
    connection.sendall(begin)
    answer, sent = b"", 0
    with suppress(ConnectionError):
        while sent < MOST:
            connection.sendall(piece)
            sent += len(piece)
        pytest.fail(f"{MOST} bytes were accepted")
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize("head", [POST, GET])
@pytest.mark.parametrize("begin", [TRAILERS, EXTENSIONS])
def test_what_surrounds_chunks_is_bounded(server: Server, head: bytes, begin: bytes) -> None:
    """Trailers and chunk extensions, before and after the answer: no limit on the body counts them."""
    piece = b"X: " + PIECE * b"y" + b"\r\n" if begin == TRAILERS else PIECE * b"y"
    with connect(server) as connection:
        flooded(connection, head + begin, piece)


def test_too_many_trailers_get_431(server: Server) -> None:
    """The client waits until the server waits for the body, and sends no more than is read."""
    with connect(server) as connection:
        connection.sendall(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") + TRAILERS)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        for _ in range(7):
            connection.sendall(b"X: " + PIECE * b"y" + b"\r\n")
        assert code(connection.recv(65536)) == (431, "headers-too-large")


def test_trailers_are_no_headers(server: Server, boot: bytes) -> None:
    body = b"%x\r\n%s\r\n0\r\n" % (len(boot), boot)
    with connect(server) as connection:
        connection.sendall(POST + body + b"Content-Encoding: gzip\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_what_follows_answered_requests_does_not_take_their_answers(server: Server, boot: bytes) -> None:
    """Two whole requests and a third, whose body is malformed: the two are answered, and the connection ends."""
    predict = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(boot) + boot
    with connect(server) as connection, connection.makefile("rb") as file:
        connection.sendall(predict + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + POST + b"no chunk\r\n")
        answers = file.read()
    assert [answer[:3] for answer in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200"]
    assert b'"Ankle boot"' in answers
    assert b'"alive"' in answers


def test_a_reset_of_an_idle_connection_is_no_error() -> None:
    """Its keep-alive timer ends with it: it could not ask a closed socket for input."""
    with run_server(GOOGLENET_KEEP_ALIVE="0.5") as server:
        with connect(server) as connection:
            live(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with connect(server) as later:
            live(later)
            assert later.recv(1) == b""  # its timer began after that of the connection before
    assert not any(level in "".join(server.log) for level in ("ERROR", "Traceback"))


def test_the_body_of_a_request_to_upgrade_is_not_the_next_request(server: Server) -> None:
    """A proxy that passes Upgrade on takes it for a body, and its own rules do not see the request in it."""
    inner = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    for name, status in ((b"Upgrade", b"415"), (b"upgrade", b"400")):
        with connect(server) as connection, connection.makefile("rb") as file:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n%s: h2c\r\n" % name
                + b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(inner)
            )
            connection.sendall(inner)
            answers = file.read()
        assert answers.startswith(b"HTTP/1.1 " + status), answers
        assert answers.count(b"HTTP/1.1 ") == 1


def test_clients_that_ask_for_http2_are_answered(server: Server) -> None:
    """curl --http2, and Java's HttpClient by default."""
    for body in ("-F", f"file=@{PICTURES}/ankle-boot-0000.png"), ("--data-binary", f"@{PICTURES}/ankle-boot-0000.png"):
        command = ["curl", "--silent", "--http2", *body, f"{server.url}/predict"]
        answer = subprocess.run(command, capture_output=True, timeout=60, check=True)
        assert json.loads(answer.stdout)["label"] == "Ankle boot"


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade"])
def test_a_request_to_upgrade_is_answered(server: Server, name: bytes) -> None:
    with connect(server) as connection, connection.makefile("rb") as file:
        connection.sendall(
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n%s: h2c\r\n\r\n" % name
        )
        answers = file.read()
    assert answers.startswith(b"HTTP/1.1 200")
    assert b'"alive"' in answers


def test_thousands_of_headers_get_431(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 4000 + b"\r\n")
        assert code(connection.recv(65536)) == (431, "headers-too-large")
