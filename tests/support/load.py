"""Clients that send requests all the time and record what becomes of each."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from conftest import STOP_LIMIT, Server

CLIENTS = 24


def request(body: bytes) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


class Load:
    """Clients that keep their connections and ask one picture after the other until nobody listens any more."""

    def __init__(self, server: Server, body: bytes, clients: int = CLIENTS) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.address, self.request = (host, int(port)), request(body)
        self.seen: Counter[object] = Counter()
        self.answered = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        assert self.answered.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            thread.join(STOP_LIMIT)
            assert not thread.is_alive()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + STOP_LIMIT
        while not condition():
            assert time.monotonic() < until, self.seen
            time.sleep(0.02)

    def _ask(self) -> None:
        while True:
            try:
                connection = socket.create_connection(self.address, timeout=60)
            except ConnectionRefusedError:
                return
            except ConnectionResetError as error:  # accepted by the kernel, by nobody else
                self.seen[type(error).__name__] += 1
                return
            with connection, connection.makefile("rb") as file:
                goes_on = True
                while goes_on:
                    try:
                        connection.sendall(self.request)
                        status, goes_on = read_answer(file)
                    except OSError as error:
                        status, goes_on = type(error).__name__, False
                    self.seen[status] += 1
                    self.answered.set()


def read_answer(file: "socket.SocketIO | object") -> tuple[int, bool]:
    """(status, whether the connection goes on); (0, False) at the connection's end."""
    line = file.readline()  # type: ignore[attr-defined]
    if not line:
        return 0, False
    headers = {}
    while (header := file.readline().strip()) != b"":  # type: ignore[attr-defined]
        name, _, value = header.partition(b":")
        headers[name.lower()] = value.strip().lower()
    file.read(int(headers[b"content-length"]))  # type: ignore[attr-defined]
    return int(line.split()[1]), headers.get(b"connection") != b"close"
