"""What the service uses of uvicorn, httptools and FastAPI beyond their documented interfaces is still there."""

import ast
import asyncio
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastapi
import httptools
import httpx
import uvicorn
from packaging.requirements import Requirement
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from app.http.server import Server, ServerConfig
from app.http.uvicorn_internals import BaseProtocol, BaseServer
from app.settings import Settings

ROOT = Path(__file__).parents[2]
FENCE = ROOT / "app" / "http" / "uvicorn_internals.py"

Protocol, Cycle = httptools_impl.HttpToolsProtocol, httptools_impl.RequestResponseCycle

SIGNATURES: dict[Any, dict[str, str]] = {
    Protocol: {
        "__init__": "self config server_state app_state _loop",
        "_start_asgi_task": "self cycle app",
        "on_response_complete": "self",
        "send_400_response": "self msg",
        "timeout_keep_alive_handler": "self",
        "_unset_keepalive_if_required": "self",
        "connection_made": "self transport",
        "connection_lost": "self exc",
        "data_received": "self data",
        "on_message_begin": "self",
        "on_headers_complete": "self",
        "on_body": "self body",
        "on_message_complete": "self",
        "pause_writing": "self",
        "resume_writing": "self",
    },
    Cycle: {"run_asgi": "self app"},
    FlowControl: {"resume_reading": "self"},
    uvicorn.Server: {
        "_serve": "self sockets",
        "startup": "self sockets",
        "on_tick": "self counter",
        "handle_exit": "self sig frame",
        "shutdown": "self sockets",
        "run": "self sockets",
    },
    LifespanOn: {"startup": "self", "shutdown": "self"},
}
"""Methods that are overridden or called, and their parameters."""

ATTRIBUTES = {
    "HttpToolsProtocol": "app_state cycle flow headers loop pipeline scope server_state timeout_keep_alive "
    "timeout_keep_alive_task transport",
    "RequestResponseCycle": "keep_alive more_body response_complete response_started scope",
    "FlowControl": "read_paused",
    "ServerState": "connections default_headers tasks",
    "Server": "_captured_signals config force_exit server_state should_exit started",
    "LifespanOn": "state",
}
"""What an instance has as soon as it exists."""

PARSER_CALLBACKS = {"on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"}


def instances() -> dict[str, Any]:
    """uvicorn's own objects, with a connection to nobody."""

    async def make() -> dict[str, Any]:
        config = uvicorn.Config(_nothing, http=Protocol, log_config=None)
        config.load()
        state = ServerState()
        cycle = Cycle(**dict.fromkeys(list(inspect.signature(Cycle).parameters)))
        protocol = Protocol(config, state, {})
        return {
            "HttpToolsProtocol": protocol,
            "RequestResponseCycle": cycle,
            "FlowControl": FlowControl(asyncio.Transport()),
            "ServerState": state,
            "Server": uvicorn.Server(config),
            "LifespanOn": LifespanOn(config),
        }

    return asyncio.run(make())


def _nothing_to_say(number: int) -> None:
    """A route's handler."""


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application."""


def test_methods_have_the_parameters_that_the_service_passes() -> None:
    changed = []
    for owner, methods in SIGNATURES.items():
        for name, parameters in methods.items():
            method = getattr(owner, name, None)
            found = " ".join(inspect.signature(method).parameters) if method else "missing"
            if found != parameters:
                changed.append(f"{owner.__name__}.{name}({parameters}) is now ({found})")
    assert not changed, f"uvicorn {uvicorn.__version__}: {'; '.join(changed)}"


def test_objects_have_the_attributes_that_the_service_reads() -> None:
    missing = [
        f"{kind}.{name}"
        for kind, instance in instances().items()
        for name in ATTRIBUTES[kind].split()
        if not hasattr(instance, name)
    ]
    assert not missing, f"uvicorn {uvicorn.__version__} lacks {', '.join(missing)}"
    assert httptools_impl.STATUS_LINE[404] == b"HTTP/1.1 404 Not Found\r\n"


def test_what_uvicorn_sets_later_is_named_in_its_source() -> None:
    """Attributes that exist only while a request is parsed, or a server runs."""
    for owner, names in ((Protocol, ("self.url =",)), (uvicorn.Server, ("self.lifespan =", "self.servers ="))):
        missing = [name for name in names if name not in inspect.getsource(owner)]
        assert not missing, f"uvicorn {uvicorn.__version__}: {owner.__name__} does not set {', '.join(missing)}"


def test_httptools_parser_calls_the_callbacks() -> None:
    """For a request in two chunks; it asks only for those that exist."""

    class Recorder:
        def __init__(self) -> None:
            self.called: set[str] = set()

        def __getattr__(self, name: str) -> Any:
            return lambda *_: self.called.add(name)

    recorder = Recorder()
    parser = httptools.HttpRequestParser(recorder)
    parser.feed_data(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    parser.feed_data(b"ab")
    missing = PARSER_CALLBACKS - recorder.called
    assert not missing, f"httptools {httptools.__version__} does not call {', '.join(sorted(missing))}"


def test_fastapi_puts_the_matched_route_into_the_scope() -> None:
    """app.middleware.request_monitor counts and logs requests by it."""
    found = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await api(scope, receive, send)
        found.append(getattr(scope.get("route"), "path", "no route"))

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://test") as client:
            return (await client.get("/pictures/7")).status_code

    api = fastapi.FastAPI()
    api.get("/pictures/{number}")(_nothing_to_say)
    assert (asyncio.run(ask()), found) == (200, ["/pictures/{number}"]), f"fastapi {fastapi.__version__} has changed"


def test_the_service_overrides_what_uvicorn_calls() -> None:
    """A hook of uvicorn's that was renamed would leave ours uncalled, and its protection would be gone in silence."""
    for ours, theirs in ((BaseProtocol, Protocol), (BaseServer, uvicorn.Server)):
        private = [name for name, member in vars(ours).items() if (inspect.getdoc(member) or "").startswith("Private:")]
        assert private
        unknown = [name for name in private if not hasattr(theirs, name)]
        assert not unknown, f"uvicorn {uvicorn.__version__}: {theirs.__name__} has no {', '.join(unknown)}"
    server = Server(_nothing, Settings(keep_alive=1.5))
    assert isinstance(server.config, ServerConfig)
    assert server.config.timeout_keep_alive == 1.5


def test_no_other_module_imports_uvicorn_or_httptools() -> None:
    importing = set()
    for path in (*ROOT.glob("app/**/*.py"), *ROOT.glob("model/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.split(".")[0] for name in names} & {"uvicorn", "httptools"}:
                importing.add(path)
    assert importing == {FENCE}


def test_the_installed_versions_are_those_that_pyproject_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {each.name: each.specifier for each in map(Requirement, project["dependencies"])}
    for name in ("uvicorn", "httptools"):
        major, minor = map(int, version(name).split(".")[:2])
        assert pinned[name].contains(version(name)), f"{name} {version(name)} was not tested: {pinned[name]}"
        assert not pinned[name].contains(f"{major}.{minor + 1}.0"), f"{name} is not pinned to a minor version"
