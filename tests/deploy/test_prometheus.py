"""A real Prometheus scrapes the real service under load: alerts and dashboard ask for what is there."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import run_server

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
VARIABLES = {"$__rate_interval": "10s", "$job": "googlenet", "$instance": ".*"}
PATIENCE = 120.0
DEPENDS_ON_SPEED = {"GooglenetSlow"}
"""A busy test machine may really be slow. The files *_test.yml test when this alert fires."""
OURS = re.compile(r"\bgooglenet_\w+|\bprocess_\w+")


@pytest.fixture(scope="module")
def tools(needs: Callable[[bool, str], None]) -> None:
    needs(all(shutil.which(tool) for tool in ("prometheus", "promtool")), "prometheus")


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["promtool", *arguments], cwd=RULES, capture_output=True, text=True)


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("check", ["check config prometheus.yml", "check rules rules.yml alerts.yml"])
def test_promtool_finds_the_files_good(check: str) -> None:
    done = promtool(*check.split())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("tools")
def test_every_alert_fires_when_it_should() -> None:
    files = sorted(path.name for path in RULES.glob("*_test.yml"))
    done = promtool("test", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = "".join((RULES / name).read_text() for name in files)
    for alert in re.findall(r"alert: (\w+)", (RULES / "alerts.yml").read_text()):
        assert re.search(rf"alertname: {alert}\n +exp_alerts:\n +- ", tried), f"{alert} is never seen to fire"
        assert re.search(rf"alertname: {alert}, exp_alerts: \[\]", tried), f"{alert} is never seen to keep quiet"


@dataclass
class Prometheus:
    """One that runs: its HTTP API."""

    client: httpx.Client

    def ask(self, path: str, **parameters: str) -> Any:
        answer = self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def figures(self, query: str) -> list[float]:
        """Of all series that answer, those that are no number left out."""
        found = [float(series["value"][1]) for series in self.ask("query", query=query)["result"]]
        return [figure for figure in found if figure == figure]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def run_prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """With our rules, scraping and evaluating as fast as it can."""
    for name in ("rules.yml", "alerts.yml"):
        (folder / name).write_text(re.sub(r"^( +interval:) \w+$", r"\1 1s", (RULES / name).read_text(), flags=re.M))
    (folder / "prometheus.yml").write_text(
        "global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s }\n"
        "rule_files: [rules.yml, alerts.yml]\n"
        f"scrape_configs: [{{job_name: googlenet, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    port = free_port()
    options = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", *options], cwd=folder, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            until = time.monotonic() + PATIENCE
            while not is_ready(client):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
            yield Prometheus(client)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def some_load(url: str, body: bytes) -> Iterator[None]:
    """Two clients, a picture after the other each."""
    enough = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not enough.is_set():
                assert client.post("/predict", files={"file": body}).status_code == 200

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        enough.set()
        for client in clients:
            client.join(PATIENCE)


@pytest.fixture(scope="module")
def prometheus(tools: None, boot: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        run_server(GOOGLENET_ENGINE="support.faults:WithMemory") as server,
        some_load(server.url, boot),
        run_prometheus(folder, server.url.removeprefix("http://")) as running,
    ):
        yield running


def dashboard_queries() -> list[str]:
    queries = []
    for target in (target for panel in DASHBOARD["panels"] for target in panel.get("targets", [])):
        query = target["expr"]
        for name, value in VARIABLES.items():
            query = query.replace(name, value)
        queries.append(query)
    return queries


def test_every_query_of_the_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    unanswered, until = set(dashboard_queries()), time.monotonic() + PATIENCE
    assert len(unanswered) > 30
    while unanswered and time.monotonic() < until:
        unanswered = {query for query in unanswered if not prometheus.figures(query)}
    assert not unanswered
    assert not prometheus.figures('googlenet_of_nobody{job="googlenet"}')


def test_no_alert_fires_and_all_can_be_evaluated(prometheus: Prometheus) -> None:
    until = time.monotonic() + PATIENCE
    while True:  # the first evaluation may be before the first scrape
        groups = prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        errors = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]
        states = {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}
        active = {name for name, state in states.items() if state != "inactive"} - DEPENDS_ON_SPEED
        if not (errors or active) or time.monotonic() > until:
            break
        time.sleep(0.2)
    assert not errors
    assert set(states) == set(re.findall(r"alert: (\w+)", (RULES / "alerts.yml").read_text()))
    assert not active


def test_rules_and_dashboard_name_what_the_service_exports(prometheus: Prometheus) -> None:
    """An alert on a name with a slip of the pen never fires."""
    text = "\n".join((RULES / name).read_text() for name in ("rules.yml", "alerts.yml")) + "\n".join(
        dashboard_queries()
    )
    recorded = set(re.findall(r"\b\w+:googlenet_\w+:\w+", text))
    until = time.monotonic() + PATIENCE
    while missing := recorded - (exported := set(prometheus.ask("label/__name__/values"))):  # some need two scrapes
        assert time.monotonic() < until, missing
        time.sleep(0.2)
    named = set(OURS.findall(text))
    assert len(named) > 20
    assert {name for name in named - exported if not any(f":{name}:" in record for record in recorded)} == set()
