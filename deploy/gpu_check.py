"""Proves the GPU path on a card in one command of at most eight minutes: right, fast alone, fast served, trains.

    python deploy/gpu_check.py                           on a machine with an NVIDIA card
    python deploy/gpu_check.py --device cpu --small      every stage, as little of each as shows that it runs

Each stage is a process with a time limit of its own. A stage that fails or hangs is shown as such and does not end the
rest. After every stage the results so far are written to gpu-NAME.json and gpu-NAME.md in --out.

    python deploy/gpu_check.py --docs                    writes the stored results' line into README.md and docs/
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULT = "RESULT "
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "deployment.md")
MARK = "FASHION_GOOGLENET_GPU_CHECK"
NOISE = 1500
"""Characters of a failed stage's last output that are kept."""


@dataclass
class Stage:
    """What one stage was, how it ended, and what it found until then."""

    title: str
    module: str
    limit: float
    """Seconds."""
    state: str = "not run"
    """not run, done, failed, killed at its limit or cut off."""
    seconds: float = 0.0
    results: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""
    """The end of what a stage printed that was not done."""


def stages() -> list[Stage]:
    """In the order in which they run; their limits add up to under eight minutes."""
    return [
        Stage("Right", "benchmarks.gpu.correctness", 75),
        Stage("Fast, engine alone", "benchmarks.gpu.engine_speed", 150),
        Stage("Fast, whole service", "benchmarks.gpu.service_speed", 110),
        Stage("Trains", "benchmarks.gpu.training", 145),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="as little of each stage as shows that it runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="MODULE,…", help="these stages alone")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="for every stage, instead of its own")
    parser.add_argument("--docs", action="store_true", help="run nothing, write the documents' line")
    given = parser.parse_args()
    if given.docs:
        for document in DOCUMENTS:
            document.write_text(with_line(document.read_text(), sentence(given.out)))
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    chosen = [stage for stage in stages() if not given.only or stage.module in given.only]
    if given.only and not chosen:
        chosen = [Stage(module, module, 60) for module in given.only]
    name = device_name(given.device)
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    for stage in chosen:
        stage.limit = given.limit or stage.limit
        stage.state = "cut off"  # what the files say if this process is killed meanwhile
        write(given.out, name, chosen)
        run(stage, given)
        write(given.out, name, chosen)
        print(f"{stage.title}: {stage.state}, {stage.seconds:.0f} s", flush=True)
    print(table(name, chosen))
    return 0 if all(stage.state == "done" and all(r["ok"] for r in stage.results) for stage in chosen) else 1


def run(stage: Stage, given: argparse.Namespace) -> None:
    """Runs the stage, and at its end or limit ends everything that it started."""
    command = [sys.executable, "-m", stage.module, "--device", given.device, "--out", str(given.out)]
    log = given.out / "stage.log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command + given.small * ["--small"],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {MARK: str(os.getpid())},
        )
        try:
            stage.state = "done" if process.wait(timeout=stage.limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            stage.state = f"killed at its limit of {stage.limit:.0f} s"
        finally:
            end_what_is_left()
            process.wait()
    stage.seconds = time.monotonic() - started
    lines = log.read_text(errors="replace").splitlines()
    stage.results = [json.loads(line.removeprefix(RESULT)) for line in lines if line.startswith(RESULT)]
    if stage.state != "done":
        stage.output = "\n".join(line for line in lines if not line.startswith(RESULT))[-NOISE:]
    log.unlink()


def end_what_is_left() -> None:
    """Kills servers, clients and trainings that a stage left: they carry this run's mark in their environment."""
    mark = f"{MARK}={os.getpid()}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if mark in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)


def device_name(device: str) -> str:
    """The card's name as its driver gives it, or CPU."""
    if device == "cpu":
        return "CPU"
    asked = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
    return asked.stdout.strip().splitlines()[0] if asked.returncode == 0 and asked.stdout.strip() else "unknown card"


def write(out: Path, name: str, chosen: list[Stage]) -> None:
    """The results so far, as JSON and as a table, replaced at once."""
    stem = "gpu-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    content = {"device": name, "stages": [asdict(stage) for stage in chosen]}
    for file, text in ((f"{stem}.json", json.dumps(content, indent=1) + "\n"), (f"{stem}.md", table(name, chosen))):
        part = out / f"{file}.part"
        part.write_text(text)
        os.replace(part, out / file)


def table(name: str, chosen: list[Stage]) -> str:
    """Markdown: a heading and a table for each stage."""
    lines = [f"# {name}", ""]
    for stage in chosen:
        lines += [f"## {stage.title}", "", f"{stage.state}, {stage.seconds:.0f} s", ""]
        if stage.results:
            lines += ["| what | found | ok |", "|---|---|---|"]
            lines += [
                f"| {r['name']} | {shown(r['value'])} | {'yes' if r['ok'] else '**no**'} |" for r in stage.results
            ]
            lines.append("")
        if stage.output:
            lines += ["```", stage.output, "```", ""]
    return "\n".join(lines)


def sentence(out: Path) -> str:
    """What the documents say of the GPU: one line on each card in `out`, or that there has been none."""
    lines = []
    for file in sorted(set(out.glob("gpu-*.json")) - {out / "gpu-cpu.json"}):
        content = json.loads(file.read_text())
        stages = {stage["title"]: stage for stage in content["stages"]}
        right = stages["Right"]
        wrong = sum(not result["ok"] for result in right["results"]) + (right["state"] != "done")
        found = {result["name"]: result["value"] for stage in stages.values() for result in stage["results"]}
        said = [f"checks that failed: {wrong or 'none'}"]
        for size in (1, 256):
            rate = found.get(f"batch of {size}: engine, pictures/s")
            ratio = found.get(f"batch of {size}: engine / torch.compile")
            compared = f" ({shown(ratio)} times torch.compile)" if ratio else ""
            said += (
                [f"the engine alone in batches of {size} {shown(rate['median'])} pictures/s{compared}"] if rate else []
            )
        served = [value["pictures/s"] for name, value in found.items() if name.endswith("PNG forms")]
        said += [f"over HTTP up to {shown(max(served))} PNG forms a second"] if served else []
        lines.append(f"On {content['device']} ([all results](/benchmarks/results/{file.stem}.md)): {'; '.join(said)}.")
    return " ".join(lines) or "The GPU path is not yet run on a card: `make gpu-check` does it."


def with_line(document: str, line: str) -> str:
    """The document with its GPU line, the one after the comment `gpu`, replaced."""
    return re.sub(r"(?<=<!-- gpu -->\n).*", lambda found: line, document)


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(shown, value)) or "none"
    return "–" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
