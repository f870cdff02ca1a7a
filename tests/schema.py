"""python -m tests.schema PATH/TO/schemathesis: starts a server and checks it against its own /openapi.json.

What is taken out of the checks, and why, is in tests/schemathesis.toml.
"""

import subprocess
import sys
from pathlib import Path

CONFIGURATION = Path(__file__).parent / "schemathesis.toml"


def command(schemathesis: str | Path, url: str, *options: str) -> list[str]:
    """All checks, nothing kept between two runs."""
    start = [str(schemathesis), "--config-file", str(CONFIGURATION), "run", f"{url}/openapi.json"]
    return [*start, "--checks", "all", "--generation-database", "none", *options]


def main() -> int:
    from tests.conftest import run_server

    with run_server() as server:
        return subprocess.run(command(sys.argv[1], server.url, *sys.argv[2:])).returncode


if __name__ == "__main__":
    sys.exit(main())
