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
