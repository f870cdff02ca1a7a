"""docs/tracing.md: its recipe runs as it is written, with the tests' collector; what it names exists."""

import re
from pathlib import Path

from conftest import run_server
from support.collector import run_collector
from support.documents import ROOT, at, examples, install, run_shell

PAGE = "docs/tracing.md"
TEXT = (ROOT / PAGE).read_text()


def code(language: str) -> list[str]:
    return [example.code for example in examples(PAGE, language)]


def test_the_recipe_gives_the_spans_and_attributes_that_are_described(tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (serve,) = code("sh serve")
    with run_collector() as collector:
        command = serve.replace("http://127.0.0.1:4318", collector.endpoint)
        with run_server("sh", "-c", f"exec env {command}", cwd=tmp_path, **install(tmp_path / "bin")) as server:
            answer, metrics = run_shell([at(server.url, part) for part in code("sh ask")], tmp_path)
        (trace_id,) = re.findall(r"^traceparent: 00-([0-9a-f]{32})-", answer, re.MULTILINE)
        assert trace_id in code("sh ask")[0]
        assert f'trace_id="{trace_id}"' in metrics
        spans = [span for found in collector.trace(trace_id).values() for span in found]
        spans += [span for span in collector.spans if span.span.name == "batch"]
    _, _, table = TEXT.partition("| span |")
    assert re.findall(r"^\| `([^`]+)`", table.partition("\n\n")[0], re.MULTILINE) == [
        "POST /predict",
        "decode",
        "queue",
        "inference",
        "batch",
    ]
    assert {span.span.name for span in spans} == {"POST /predict", "decode", "queue", "inference", "batch"}
    sent = {name for span in spans for name in (*span.attributes, *span.resource) if name.startswith("googlenet.")}
    assert set(re.findall(r"`(googlenet\.[a-z_.]+)`", TEXT)) == sent


def test_the_tests_that_it_names_exist() -> None:
    tests = (ROOT / "tests" / "middleware" / "test_tracing.py").read_text()
    named = re.findall(r"::(test_\w+)", TEXT)
    assert named
    for name in named:
        assert f"def {name}(" in tests, name
