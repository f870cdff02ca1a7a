"""The examples in README.md and docs/, taken out of them and run as they are written, but for the server's address."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright._impl._driver import compute_driver_executable

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"(http://)?(127\.0\.0\.1|localhost):8000")
BETWEEN = "~ ~ ~"
"""Printed behind each example, so that it is known which of them printed what."""

NODE = compute_driver_executable()[0]
"""The node that Playwright brings."""


@dataclass(frozen=True)
class Example:
    """A fenced block: the heading it is under, its language and what else is said of it, its text."""

    section: str
    language: str
    code: str


def examples(name: str, *languages: str) -> list[Example]:
    """Those of a document, in these languages (`js browser` is one of its own), in their order."""
    found, section = [], ""
    pattern = re.compile(r"^## ([^\n]*)$|^```(\S[^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for heading, language, code in pattern.findall((ROOT / name).read_text()):
        section = heading or section
        if language and (not languages or language in languages):
            found.append(Example(section, language, code))
    return found


def install(folder: Path) -> dict[str, str]:
    """Puts `python` and `fashion-googlenet` into a folder, as an installation does; gives the environment for it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in (("python", ""), ("fashion-googlenet", "-m app.cli.commands ")):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {module}"$@"\n')
        command.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def at(url: str, code: str) -> str:
    """The code with the server's address in the place of the documents'."""
    host = url.removeprefix("http://")
    return ADDRESS.sub(lambda found: (found[1] or "") + host, code)


def run_shell(parts: list[str], folder: Path, **environment: str) -> list[str]:
    """What each prints. They must succeed: curl, too, is told to fail where the server refuses."""
    (folder / ".curlrc").write_text("fail\nsilent\nshow-error\n")
    script = f"\necho '{BETWEEN}'\n".join(["set -e", *parts, ""])
    return _parts(["bash", "-c", script], folder, CURL_HOME=str(folder), **environment)


def run_python(parts: list[str], folder: Path = ROOT) -> list[str]:
    """What each prints, run one after the other in one process."""
    script = f"\nprint({BETWEEN!r})\n".join(["", *parts, ""])
    return _parts([sys.executable, "-c", script], folder, PYTHONPATH=str(ROOT))


def run_node(parts: list[str], folder: Path) -> list[str]:
    """What each prints, run one after the other as one module."""
    module = folder / "something.mjs"
    module.write_text(joined_js(parts))
    return _parts([NODE, str(module)], ROOT)


def joined_js(parts: list[str]) -> str:
    return f"\nconsole.log({BETWEEN!r});\n".join(["", *parts, ""])


def split(output: str) -> list[str]:
    """What is printed by each of the parts."""
    return [part.strip() for part in output.split(BETWEEN)[1:-1]]


def _parts(command: list[str], folder: Path, **environment: str) -> list[str]:
    result = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return split(result.stdout)
