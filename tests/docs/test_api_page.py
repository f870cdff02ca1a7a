"""docs/api.md: every recipe, in every language, as it is written."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from conftest import PICTURES, Server, run_server
from playwright.sync_api import Browser
from support.documents import ROOT, at, examples, joined_js, run_node, run_python, run_shell, split

from app import errors

KEY = "With a key"
ASKED_OF_A_PAGE = b"""<!doctype html><title>Somebody's page</title><input type="file" multiple>"""


def recipes(language: str, keyed: bool = False) -> list[str]:
    """In one language; those with a key need no more than what comes at the beginning."""
    found = examples("docs/api.md", language)
    return [e.code for e in found if not keyed or e.section in ("Setup", KEY)]


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with run_server(GOOGLENET_API_KEY="sesame") as server:
        yield server


def contain(printed: list[str], expected: list[str]) -> None:
    """Each part prints what is expected of it, a regular expression."""
    for part, pattern in zip(printed, expected, strict=True):
        assert re.search(pattern, part), (pattern, part)


BOOT_FIRST = r'^\{"label":"Ankle boot",.*"probabilities":\{"Ankle boot":0\.\d+,"[^}]+,"[^}]+\},"out'


def test_with_curl(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    printed = run_shell([at(server.url, code) for code in recipes("sh")], tmp_path)
    expected = [BOOT_FIRST, r'^\{"label":"Ankle boot"', r'"label":"Ankle boot".*"label":"Bag"']
    expected += [r'^\{"label":"Ankle boot"', r'"maps":.*"seen"']
    expected += [
        r'"status": ?"ready"',
        r'"status": ?"alive"',
        r"googlenet_queue_limit_pictures \d",
        '"READY"',
        "^$",
        "boot",
    ]
    contain(printed, expected)
    for part in (*printed[:7], *printed[8].replace("}{", "}\n{").replace("}[", "}\n[").splitlines()):
        json.loads(part)
    assert b"Ankle boot" in (tmp_path / "answer.bin").read_bytes()


def test_in_python(server: Server) -> None:
    printed = run_python([at(server.url, code) for code in recipes("python")])
    expected = [
        "^$",
        r"^Ankle boot 0\.\d+ \{'Ankle boot'",
        r"^\[\[?b'0\.\d+:9:Ankle boot'",
        r"^Ankle boot\nBag\nthe data",
    ]
    expected += [r"^\[b'Ankle boot' b'Bag'\]", r"^\[\[ ?-?\d", "^ready .*Ankle boot$", "^True True True$", r"^\d+$"]
    expected += ["binary_tensor_data.*\n.*pixels.*\n.*\nREADY$", "^Ankle boot$", r"^\[b'Ankle boot'\]$"]
    contain(printed, expected)


IN_JS = ["^$", "^$", r"^Ankle boot 0\.\d+$", "^Ankle boot\nBag\nunsupported-format$"]
IN_JS += [r"^-?\d\S* \S+ \S+\n.*\n\S+ \S+ \S+ data:image/png;base64,$", "^ready .* [0-9a-f]{12}$"]
IN_JS += [r"googlenet_queue_limit_pictures \d", "Ankle boot", "^Ankle boot$"]


def test_in_node(server: Server, tmp_path: Path) -> None:
    parts = recipes("js node") + recipes("js")
    contain(run_node([at(server.url, code) for code in parts], tmp_path), IN_JS)


@contextmanager
def somebodys_page() -> Iterator[str]:
    """The address of a page of another origin than the service's, with nothing in it but a choice of files."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(ASKED_OF_A_PAGE)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as there:
        thread = threading.Thread(target=there.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{there.server_port}"
        there.shutdown()
        thread.join()


def in_browser(browser: Browser, origin: str, parts: list[str]) -> list[str]:
    """What each prints on the console of a page there, in which boot and bag have been chosen."""
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(f"{error}\nthe end"))
    page.goto(origin)
    page.locator("input").set_input_files([PICTURES / "ankle-boot-0000.png", PICTURES / "bag-0018.png"])
    with page.expect_console_message(lambda message: "the end" in message.text, timeout=60_000):
        page.add_script_tag(type="module", content=joined_js(parts) + '\nconsole.log("the end");')
    page.close()
    return split("\n".join(said))


def test_in_a_browser(browser: Browser) -> None:
    """On a page of another origin, which the service lets in."""
    parts = recipes("js browser") + recipes("js")
    with somebodys_page() as origin, run_server(GOOGLENET_CORS_ORIGINS=origin) as server:
        contain(in_browser(browser, origin, [at(server.url, code) for code in parts]), IN_JS)


def test_with_a_key(locked: Server, tmp_path: Path) -> None:
    """On a service that needs it."""
    with locked.client() as client:
        assert client.post("/predict", files={"file": (PICTURES / "bag-0018.png").read_bytes()}).status_code == 401
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    printed = [
        *run_shell([at(locked.url, code) for code in recipes("sh", keyed=True)], tmp_path),
        *run_python([at(locked.url, code) for code in recipes("python", keyed=True)]),
        *run_node([at(locked.url, code) for code in recipes("js node") + recipes("js", keyed=True)], tmp_path),
    ]
    boot = "Ankle boot"
    contain(printed, [boot, "^$", boot, boot, "^$", "^$", boot])


def test_every_address_is_described(client: httpx.Client) -> None:
    """And nothing that is not there: the document's addresses are those of /openapi.json and the page's own."""
    text = (ROOT / "docs" / "api.md").read_text()
    for path in client.get("/openapi.json").json()["paths"]:
        short = re.sub(r"/versions/\{version\}", "/versions/1", path).replace("{name}", "googlenet-fashion-mnist")
        assert short in text or short.replace("/versions/1", "") in text, path
    for path in set(re.findall(r"127\.0\.0\.1:8000(/[\w/.-]+)", text)):
        assert client.get(path).status_code in (200, 405), path


def test_the_errors_are_the_tree() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\S+)` \| (.*) \|$", text, re.MULTILINE)
    assert rows == [(str(kind.status), kind.code, kind.title) for kind in leaves(errors.ServiceError)]


def leaves(kind: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from [child] if "code" in vars(child) else leaves(child)
