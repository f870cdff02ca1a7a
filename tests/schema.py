"""python -m tests.schema PATH/TO/schemathesis: starts a server and checks it against its own /openapi.json."""

import subprocess
import sys

from tests.conftest import run_server


def main() -> int:
    with run_server() as server:
        command = [sys.argv[1], "run", f"{server.url}/openapi.json", "--checks", "all", *sys.argv[2:]]
        return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
