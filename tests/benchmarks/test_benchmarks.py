"""The benchmarks run, their counts add up, and the engines' run on a machine that has little more than torch."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Server, run_server

from benchmarks import report
from benchmarks.harness.bodies import pictures
from benchmarks.harness.open_loop import run_open_loop
from benchmarks.harness.stage_timer import STAGES

ROOT = Path(__file__).parents[2]
ENGINES = "import runpy; runpy.run_module('benchmarks.engines', run_name='__main__')"
HIDDEN = "import sys; sys.modules.update(dict.fromkeys(('pydantic', 'fastapi', 'uvicorn', 'httpx', 'openvino')));"


def test_every_request_of_the_open_loop_is_accounted_for(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    requests = [picture.request(port, "/predict") for picture in pictures("multipart")]
    result = asyncio.run(
        run_open_loop(port, [*requests, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"], rate=150, seconds=1)
    )
    assert result["sent"] > len(requests)
    assert result["unanswered"] == 0
    assert sum(result["statuses"].values()) == result["sent"]
    assert result["statuses"]["404"] == result["sent"] // 101
    assert result["statuses"]["200"] == result["sent"] - result["statuses"]["404"]
    assert result["accepted"]["p50"] <= result["accepted"]["p99"]


def test_the_path_can_be_measured_without_the_network(boot: bytes) -> None:
    with (
        run_server(GOOGLENET_ENGINE="benchmarks.harness.instant_engine:InstantEngine", PYTHONPATH=str(ROOT)) as stub,
        stub.client() as client,
    ):
        answer = client.post("/predict", files={"file": boot}).json()
    assert set(answer["probabilities"].values()) == {0.1}


def test_the_path_is_measured_by_stage(needs: Callable[[bool, str], None]) -> None:
    needs(shutil.which("wrk") is not None, "wrk")
    command = [sys.executable, "-m", "benchmarks.request_stages", "--rounds", "1", "--seconds", "1", "--clients", "8"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for stage in STAGES:
        assert re.search(rf"^{re.escape(stage)} +\d+ µs$", printed, re.MULTILINE), stage


def test_commits_are_compared(needs: Callable[[bool, str], None]) -> None:
    needs(shutil.which("wrk") is not None, "wrk")
    arguments = [".", "--rounds", "1", "--seconds", "1", "--no-load"]
    command = [sys.executable, "-m", "benchmarks.commits", *arguments]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "| | . |" in printed
    assert re.search(r"^\| 64 clients: req/s \| \d+ \(\d+–\d+\) \|$", printed, re.MULTILINE)


def test_grpc_is_compared_with_http_and_the_engine(needs: Callable[[bool, str], None]) -> None:
    needs(shutil.which("wrk") is not None and shutil.which("h2load") is not None, "wrk and h2load")
    command = [sys.executable, "-m", "benchmarks.grpc_calls", "--rounds", "1", "--seconds", "1"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (last,) = re.findall(r"^gRPC ÷ HTTP = ([\d.]+)%; gRPC tensors ÷ engine alone = ([\d.]+)%$", printed, re.MULTILINE)
    assert all(float(share) > 10 for share in last)


@pytest.mark.parametrize("hidden", ["", HIDDEN])
def test_the_engines_run_alone(hidden: str, tmp_path: Path) -> None:
    arguments = ["--batch", "1,2", "--seconds", "0.1", "--no-accuracy", "--out", str(tmp_path / "engines.json")]
    command = [sys.executable, "-c", hidden + ENGINES, *arguments]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    results = json.loads((tmp_path / "engines.json").read_text())
    rows = [(row["engine"], row["batch"]) for row in results["rows"] if not row["path"]]
    assert {("torch", 1), ("torch", 2)} <= set(rows)
    assert (("openvino", 1) in rows) == (not hidden) == ("openvino" not in results["missing"])
    assert all(row["rate"] > 0 and row["share"] > 0 for row in results["rows"])
    assert output.count("path, ") == 3 * len({row["engine"] for row in results["rows"]})


def test_the_table_has_a_row_for_every_server_and_says_who_failed() -> None:
    cell = {"body": "multipart", "clients": 64, "p50": 1.0, "p99": 2.0, "server_cpu": 3.0, "client_cpu": 0.1}
    whole = {"peak_mib": 9.0, "start_seconds": 1.0, "idle_cpu": 0.01}
    runs = [
        {"way": "ours", "name": "fashion-googlenet", "cells": [{**cell, "rate": 90.0, "failed": 0}], **whole},
        {"way": "ours", "name": "fashion-googlenet", "cells": [{**cell, "rate": 110.0, "failed": 0}], **whole},
        {"way": "documented", "name": "LitServe", "cells": [{**cell, "rate": 50.0, "failed": 7}], **whole},
        {"way": "documented", "name": "BentoML", "cells": [], "error": "did not start"},
    ]
    machine = {"processor": "a", "cores": 2, "when": "2026-01-01T00:00"}
    results = {"machine": machine, "options": {"rounds": 2, "seconds": 1}, "engine": [], "runs": runs}
    table = report.table(results)
    assert "| **this service** | 100 (90–110) |" in table
    assert "50, 7 failed" in table
    assert "failed: did not start" in table
    assert "ours ÷ LitServe as documented = 2.00" in report.figures(results)
