"""Compares commits of this repository: throughput, CPU time, latency, memory and start time, in interleaved rounds.

    python -m benchmarks.commits 4408819 HEAD                 three rounds, about two minutes a round
    python -m benchmarks.commits HEAD . --rounds 5 --no-load  `.` is the working tree; without twice the load

Each commit is checked out into a temporary folder and served by this environment's packages. Prints a Markdown table
of medians, with the smallest and the largest of the rounds.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.bodies import pictures
from benchmarks.harness.load import closed_loop, open_loop, require_success
from benchmarks.harness.machine import describe
from benchmarks.harness.processes import run_server

INSTANT_ENGINES = {
    "benchmarks/harness/instant_engine.py": "benchmarks.harness.instant_engine:InstantEngine",
    "benchmarks/stub.py": "benchmarks.stub:AtOnce",  # its name before version 2
}
WARM_UP = ("/predict", "multipart", 8, 1)
OVERLOAD, OVERLOAD_SECONDS = 2.0, 5.0

Figures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="+", metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each closed loop")
    parser.add_argument("--no-load", action="store_true", help="leave out twice the load")
    arguments = parser.parse_args()
    measured: dict[str, list[Figures]] = {commit: [] for commit in arguments.commits}
    with contextlib.ExitStack() as stack:
        trees = {commit: stack.enter_context(_checked_out(commit)) for commit in arguments.commits}
        for number in range(arguments.rounds):
            for commit, tree in list(trees.items())[:: -1 if number % 2 else 1]:
                instant = _measure(tree, instant=True, seconds=arguments.seconds, overload=False)
                served = _measure(tree, instant=False, seconds=arguments.seconds, overload=not arguments.no_load)
                measured[commit].append(instant | served)
                print(commit, {name: round(value, 3) for name, value in measured[commit][-1].items()}, file=sys.stderr)
    machine = describe()
    print(f"{machine['processor']}, {machine['cores']} cores, {arguments.rounds} rounds\n")
    print(_table(measured))
    return 0


@contextlib.contextmanager
def _checked_out(commit: str) -> Iterator[Path]:
    if commit == ".":
        yield Path.cwd()
        return
    with TemporaryDirectory() as folder:
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, commit], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], check=True)


def _measure(tree: Path, *, instant: bool, seconds: int, overload: bool) -> Figures:
    """Serves the tree once, with the engine that answers at once or with the network."""
    environment = {"PYTHONPATH": str(tree), "GOOGLENET_PORT": "{port}"}
    if instant:
        environment["GOOGLENET_ENGINE"] = next(name for file, name in INSTANT_ENGINES.items() if (tree / file).exists())
    figures: Figures = {}
    with TemporaryDirectory() as folder:
        command = (sys.executable, "-P", "-m", "app")  # -P: from PYTHONPATH, not from the current folder
        with run_server(command, environment, "/predict", next(pictures("multipart")), Path(folder) / "log") as server:
            closed_loop(server, *WARM_UP)
            at_64 = require_success(closed_loop(server, "/predict", "multipart", 64, seconds))
            if instant:
                raw = require_success(closed_loop(server, "/predict", "raw", 64, seconds))
                figures["without the network, form: CPU ms"] = at_64.server_cpu
                figures["without the network, raw body: CPU ms"] = raw.server_cpu
                figures["without the network: req/s"] = at_64.rate
                return figures
            alone = require_success(closed_loop(server, "/predict", "multipart", 1, seconds))
            figures["64 clients: req/s"] = at_64.rate
            figures["64 clients: CPU ms"] = at_64.server_cpu
            figures["64 clients: p99 ms"] = at_64.p99
            figures["1 client: p50 ms"] = alone.p50
            figures["start s"] = server.start_seconds
            figures["memory MiB"] = server.peak_bytes() / 2**20
            if overload:
                result = open_loop(server, "/predict", OVERLOAD * at_64.rate, OVERLOAD_SECONDS)
                figures["twice the load: answered, % of 64 clients'"] = 100 * result["accepted_rate"] / at_64.rate
                if result["refused"]:
                    figures |= {f"twice the load: refused, {q} ms": value for q, value in result["refused"].items()}
    return figures


def _table(measured: dict[str, list[Figures]]) -> str:
    rows = [f"| | {' | '.join(measured)} |", "|---" * (len(measured) + 1) + "|"]
    names = dict.fromkeys(name for rounds in measured.values() for figures in rounds for name in figures)
    for name in names:
        cells = [_cell([figures[name] for figures in rounds if name in figures]) for rounds in measured.values()]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    digits = 3 if max(values) < 10 else 0
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
