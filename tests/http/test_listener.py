"""A listening socket whose crowd is accepted at once, by libuv's event loop, which would take one at a time."""

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
import uvloop

from app.http.listener import ACCEPTS_PER_ITERATION, ACCEPTS_PER_ITERATION_SHARED, Listener

CROWD = ACCEPTS_PER_ITERATION - 4
LOOPS = 8
"""Times around the event loop."""


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.write(b"hello")
        transport.close()


def played(play: Callable[[Listener, list[socket.socket]], Awaitable[None]], *, shared: bool = False) -> None:
    """With a port, and a crowd that has connected before the event loop has looked."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=CROWD) as listening, ExitStack() as stack:
            port = Listener(listening.fileno(), Greeting, shared=shared)
            address = listening.getsockname()
            await play(port, [stack.enter_context(socket.create_connection(address)) for _ in range(CROWD)])

    uvloop.run(run())


async def greeted(crowd: list[socket.socket]) -> list[bytes]:
    loop = asyncio.get_running_loop()
    for client in crowd:
        client.setblocking(False)
    return await asyncio.wait_for(asyncio.gather(*(loop.sock_recv(client, 5) for client in crowd)), 60)


def has_greeting(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return bool(client.recv(5, socket.MSG_PEEK))
    except BlockingIOError:
        return False


@pytest.mark.parametrize("shared", [False, True])
def test_a_crowd_is_accepted_in_few_rounds(shared: bool) -> None:
    async def play(port: Listener, crowd: list[socket.socket]) -> None:
        for _ in range(LOOPS):
            await asyncio.sleep(0)
        accepted = sum(map(has_greeting, crowd))
        assert accepted <= LOOPS * ACCEPTS_PER_ITERATION_SHARED if shared else accepted == CROWD
        assert await greeted(crowd) == CROWD * [b"hello"]
        await port.close()

    played(play, shared=shared)


def test_who_has_connected_is_served_when_the_port_closes() -> None:
    async def play(port: Listener, crowd: list[socket.socket]) -> None:
        await port.close()
        assert await greeted(crowd) == CROWD * [b"hello"]

    played(play)


def test_too_many_open_files_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def play(port: Listener, crowd: list[socket.socket]) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            for _ in range(LOOPS):
                await asyncio.sleep(0)
            assert not any(map(has_greeting, crowd))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await greeted(crowd) == CROWD * [b"hello"]
        await port.close()

    played(play)
    assert caplog.messages == ["no connection can be accepted: [Errno 24] Too many open files"]
