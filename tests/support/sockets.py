"""Plain sockets, for requests that no client library sends."""

import json
import socket

from conftest import Server

PATIENCE = 30.0


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def code(answer: bytes) -> tuple[int, str]:
    """The last answer's status and its problem's code."""
    head, _, body = answer[answer.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)["code"]


def live(connection: socket.socket) -> bytes:
    """The whole answer of /health/live."""
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):  # head and body may come apart
        chunk = connection.recv(65536)
        assert chunk, "the connection has ended"
        answer += chunk
    return answer
