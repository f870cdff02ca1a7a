"""Checks the service on an NVIDIA card in at most eight minutes: correctness, speed of engine and service, training.

    python deploy/gpu_check.py                           on a machine with an NVIDIA card
    python deploy/gpu_check.py --device cpu --small      every stage without a card, just enough to show that it runs

Each stage is a process with its own time limit. The others run even if one fails or hangs. After every stage the
results so far are written to gpu-NAME.json and gpu-NAME.md in --out.

    python deploy/gpu_check.py --docs                    writes a line about the stored results into README.md and docs/
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
MARKER_VARIABLE = "FASHION_GOOGLENET_GPU_CHECK"
KEPT_OUTPUT = 1500
"""Characters kept from the end of a failed stage's output."""


@dataclass
class Stage:
    """One stage: its module, how it ended, and its results so far."""

    title: str
    module: str
    limit: float
    """Seconds."""
    state: str = "not run"
    """not run, done, failed, killed at its limit of N s, or cut off."""
    seconds: float = 0.0
    results: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""
    """The end of the output, if the stage is not done."""


def stages() -> list[Stage]:
    """The stages in their order. Their limits add up to less than eight minutes."""
    return [
        Stage("Correctness", "benchmarks.gpu.correctness", 75),
        Stage("Engine speed", "benchmarks.gpu.engine_speed", 150),
        Stage("Service speed", "benchmarks.gpu.service_speed", 110),
        Stage("Training", "benchmarks.gpu.training", 145),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="just enough of each stage to show that it runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="MODULE,…", help="run only these stages")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="of every stage, instead of its own")
    parser.add_argument("--docs", action="store_true", help="run nothing; write the line in the documents")
    arguments = parser.parse_args()
    if arguments.docs:
        for document in DOCUMENTS:
            document.write_text(replace_gpu_line(document.read_text(), gpu_line(arguments.out)))
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    chosen = [stage for stage in stages() if not arguments.only or stage.module in arguments.only]
    if arguments.only and not chosen:
        chosen = [Stage(module, module, 60) for module in arguments.only]
    name = device_name(arguments.device)
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    for stage in chosen:
        stage.limit = arguments.limit or stage.limit
        stage.state = "cut off"  # stays in the files if this process is killed now
        write(arguments.out, name, chosen)
        run(stage, arguments)
        write(arguments.out, name, chosen)
        print(f"{stage.title}: {stage.state}, {stage.seconds:.0f} s", flush=True)
    print(table(name, chosen))
    return 0 if all(stage.state == "done" and all(r["ok"] for r in stage.results) for stage in chosen) else 1


def run(stage: Stage, arguments: argparse.Namespace) -> None:
    """Runs the stage. At its end or at its limit kills everything that it started."""
    command = [sys.executable, "-m", stage.module, "--device", arguments.device, "--out", str(arguments.out)]
    log = arguments.out / "stage.log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command + arguments.small * ["--small"],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {MARKER_VARIABLE: str(os.getpid())},
        )
        try:
            stage.state = "done" if process.wait(timeout=stage.limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            stage.state = f"killed at its limit of {stage.limit:.0f} s"
        finally:
            kill_remaining_processes()
            process.wait()
    stage.seconds = time.monotonic() - started
    lines = log.read_text(errors="replace").splitlines()
    stage.results = [json.loads(line.removeprefix(RESULT)) for line in lines if line.startswith(RESULT)]
    if stage.state != "done":
        stage.output = "\n".join(line for line in lines if not line.startswith(RESULT))[-KEPT_OUTPUT:]
    log.unlink()


def kill_remaining_processes() -> None:
    """Kills servers, clients and trainings that a stage left. This run's marker is in their environment."""
    marker = f"{MARKER_VARIABLE}={os.getpid()}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended or is another user's
            if marker in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)


def device_name(device: str) -> str:
    """The card's name from its driver, or CPU."""
    if device == "cpu":
        return "CPU"
    query = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
    return query.stdout.strip().splitlines()[0] if query.returncode == 0 and query.stdout.strip() else "unknown card"


def write(out: Path, name: str, chosen: list[Stage]) -> None:
    """Writes the results so far as JSON and Markdown. Each file is replaced atomically."""
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
                f"| {r['name']} | {format_value(r['value'])} | {'yes' if r['ok'] else '**no**'} |"
                for r in stage.results
            ]
            lines.append("")
        if stage.output:
            lines += ["```", stage.output, "```", ""]
    return "\n".join(lines)


def gpu_line(out: Path) -> str:
    """The documents' line about GPUs: a sentence for each card with results in `out`, or that there is none yet."""
    sentences = []
    for file in sorted(set(out.glob("gpu-*.json")) - {out / "gpu-cpu.json"}):
        content = json.loads(file.read_text())
        stages = {stage["title"]: stage for stage in content["stages"]}
        correctness = stages["Correctness"]
        failed = sum(not result["ok"] for result in correctness["results"]) + (correctness["state"] != "done")
        found = {result["name"]: result["value"] for stage in stages.values() for result in stage["results"]}
        parts = [f"checks that failed: {failed or 'none'}"]
        for size in (1, 256):
            rate = found.get(f"batch of {size}: engine, pictures/s")
            ratio = found.get(f"batch of {size}: engine / torch.compile")
            compared = f" ({format_value(ratio)} times torch.compile)" if ratio else ""
            parts += (
                [f"the engine alone in batches of {size} {format_value(rate['median'])} pictures/s{compared}"]
                if rate
                else []
            )
        served = [value["pictures/s"] for name, value in found.items() if name.endswith("PNG forms")]
        parts += [f"over HTTP up to {format_value(max(served))} PNG forms a second"] if served else []
        sentences.append(
            f"On {content['device']} ([all results](/benchmarks/results/{file.stem}.md)): {'; '.join(parts)}."
        )
    return " ".join(sentences) or "The GPU path has not been run on a card yet; `make gpu-check` runs it."


def replace_gpu_line(document: str, line: str) -> str:
    """Replaces the line after the comment `gpu`."""
    return re.sub(r"(?<=<!-- gpu -->\n).*", lambda found: line, document)


def format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {format_value(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(format_value, value)) or "none"
    return "–" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
