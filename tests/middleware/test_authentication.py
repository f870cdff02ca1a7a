"""Who gets in, and what browsers are told."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Server, failed_start, run_server

KEYS = ("first-key", "second-key")
HOME = "https://shop.example"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# ours\n{KEYS[0]}\n\n{KEYS[1]}\n")
    with run_server(GOOGLENET_API_KEY=f"@{file}", GOOGLENET_CORS_ORIGINS=HOME) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        *({}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}, {"X-API-Key": "first-ke"}, {"Cookie": "key=first-key"}),
        *({"Authorization": value} for value in ("Bearer wrong", "Basic first-key", "first-key")),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/predict?x=/health"])
def test_without_a_key_nobody_gets_in(locked: Server, boot: bytes, headers: dict[str, str], path: str) -> None:
    with locked.client() as client:
        response = client.post(path, files={"file": boot}, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "unauthorized"


@pytest.mark.parametrize("key", KEYS)
def test_a_key_opens(locked: Server, boot: bytes, key: str) -> None:
    with locked.client() as client:
        for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"authorization": f"bearer {key}"}):
            assert client.post("/predict", files={"file": boot}, headers=headers).status_code == 200


def test_probes_need_none_and_figures_do(locked: Server) -> None:
    with locked.client() as client:
        for path in ("/health", "/health/ready", "/health/live", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"X-API-Key": KEYS[0]}).status_code == 200


def test_the_figures_can_be_open(boot: bytes) -> None:
    with run_server(GOOGLENET_API_KEY="key", GOOGLENET_METRICS_OPEN="true") as server, server.client() as client:
        assert client.get("/metrics").status_code == 200
        assert client.post("/predict", files={"file": boot}).status_code == 401
        assert client.post("/predict", files={"file": boot}, headers={"X-API-Key": "key"}).status_code == 200
        assert "'key'" not in "".join(server.log)


@pytest.mark.parametrize("value", ["", "  ", "@/nowhere/keys"])
def test_a_key_that_is_none_stops_the_start(value: str) -> None:
    result = failed_start(GOOGLENET_API_KEY=value)
    assert result.returncode != 0
    assert "GOOGLENET_API_KEY" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_file_of_keys_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    result = failed_start(GOOGLENET_API_KEY=f"@{tmp_path / 'keys'}")
    assert result.returncode != 0
    assert "there is no key in it" in result.stderr


def test_other_origins_only_where_they_are_named(locked: Server, client: httpx.Client, boot: bytes) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    with locked.client() as there:
        allowed = there.options("/predict", headers={"Origin": HOME, **preflight})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == HOME
        assert "x-api-key" in allowed.headers["access-control-allow-headers"].lower()
        answer = there.post("/predict", files={"file": boot}, headers={"Origin": HOME, "X-API-Key": KEYS[0]})
        assert answer.headers["access-control-allow-origin"] == HOME
        other = there.options("/predict", headers={"Origin": "https://other.example", **preflight})
        assert "access-control-allow-origin" not in other.headers
    off = client.post("/predict", files={"file": boot}, headers={"Origin": HOME})
    assert off.status_code == 200
    assert "access-control-allow-origin" not in off.headers


def test_careful_headers(client: httpx.Client, boot: bytes) -> None:
    for response in (client.post("/predict", files={"file": boot}), client.get("/nowhere"), client.get("/docs")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in response.headers
    policy = client.get("/docs").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert client.get("/docs").headers["referrer-policy"] == "no-referrer"


def test_only_this_machine_is_served_unless_told_otherwise(server: Server) -> None:
    """127.0.0.2 is an address of this machine that is not the one listened on."""
    port = int(server.url.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port)).close()
    with run_server(GOOGLENET_HOST="0.0.0.0") as open_to_all:  # noqa: S104
        socket.create_connection(("127.0.0.2", int(open_to_all.url.rpartition(":")[2]))).close()


@pytest.mark.parametrize(
    "value",
    ["http://localhost:3000/", "localhost:3000", "https://shop.example/path", "https://Shop.example", "null, x"],
)
def test_what_no_browser_sends_as_origin_is_refused_at_the_start(value: str) -> None:
    result = failed_start(GOOGLENET_CORS_ORIGINS=value)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"GOOGLENET_CORS_ORIGINS={value!r}: ")
    assert "http://localhost:3000" in line


def test_an_origin_with_a_port_or_an_ipv6_address_is_let_in() -> None:
    origins = ("http://localhost:3000", "http://[::1]:8080")
    with run_server(GOOGLENET_CORS_ORIGINS=", ".join(origins)) as server, server.client() as client:
        for origin in origins:
            answer = client.get("/health/live", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
