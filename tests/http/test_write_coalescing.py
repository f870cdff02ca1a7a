"""The corked transport over real sockets: nothing is lost at the end, and nobody holds a connection by not reading."""

import asyncio
import socket

import pytest

from app.http.write_coalescing import CoalescingTransport

ANSWER = bytes(range(256)) * 8000
"""Two megabytes: more than the buffers here hold."""

PATIENCE = 30.0


class Answering(asyncio.Protocol):
    """Answers in two pieces, and ends the connection."""

    def __init__(self, patience: float, ended: asyncio.Event) -> None:
        self.patience, self.ended = patience, ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        corked = CoalescingTransport(transport, asyncio.get_running_loop(), self.patience)
        corked.write(ANSWER[:100])
        corked.write(ANSWER[100:])
        corked.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


@pytest.mark.parametrize("reads", [True, False])
def test_the_last_of_an_answer(reads: bool) -> None:
    async def play() -> bytes:
        ended, received = asyncio.Event(), b""
        patience = PATIENCE if reads else 0.1
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Answering(patience, ended), "127.0.0.1", 0)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            while reads and (chunk := await loop.sock_recv(client, 65536)):
                received += chunk
            await asyncio.wait_for(ended.wait(), PATIENCE)
        server.close()
        return received

    assert asyncio.run(play()) == (ANSWER if reads else b"")
