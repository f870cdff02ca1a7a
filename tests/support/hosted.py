"""The application as another host would have it: with a middleware of its own, and a handler's defect."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.main import create_app

DEFECT = b"x-defect"
"""A header of requests that meet the defect."""


class Signed:
    """ASGI middleware: signs every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sign(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-host", b"%x" % id(self)))
            await send(message)

        if scope["type"] == "http" and any(name == DEFECT for name, _ in scope["headers"]):
            scope["state"]["uploads"] = "not what it should be"
        await self.app(scope, receive, sign)


app = create_app()
app.add_middleware(Signed)
"""As anybody would, on what create_app returns."""
