"""The real command: what it prints, where, and how it ends."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from conftest import PICTURES, Server, run_server

from app.cli import classify_local, settings_page
from app.inference.engines import choose
from model.checkpoint import Checkpoint

ROOT = Path(__file__).parents[2]
COLUMNS = ["path", "label", "class_id", "confidence", "out_of_distribution", "ood_score", "mode", "inverted"]
COLUMNS += ["certain", "rotation", "error"]


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GOOGLENET_")}
    command = [sys.executable, "-m", "app.cli.commands", *arguments]
    return subprocess.run(
        command, input=stdin, env=clean | {"COLUMNS": "160"} | environment, cwd=ROOT, capture_output=True, timeout=120
    )


def rows(output: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(output.decode())))


def slug(label: str) -> str:
    return label.lower().replace("/", "-").replace(" ", "-")


@pytest.mark.parametrize("where", ["here", "by a server"])
def test_a_folder_as_csv(server: Server, where: str, checkpoint: Checkpoint) -> None:
    result = run("classify", str(PICTURES), "--csv", *(["--url", server.url] if where == "by a server" else []))
    assert result.returncode == 0, result.stderr
    found = rows(result.stdout)
    assert list(found[0]) == COLUMNS
    assert [row["path"] for row in found] == [str(path) for path in sorted(PICTURES.glob("*.png"))]
    right = [slug(row["label"]) == Path(row["path"]).stem.rpartition("-")[0] for row in found]
    assert sum(right) >= 85
    assert all(checkpoint.metadata.classes[int(row["class_id"])] == row["label"] for row in found)
    assert b"100 pictures, 0 errors" in result.stderr


def test_here_and_by_a_server_are_the_same(server: Server) -> None:
    with server.client() as client:
        engine = client.get("/health").json()["engine"]["name"]
    here, there = (
        [
            json.loads(line)
            for line in run("classify", str(PICTURES), "--json", "--probabilities", *how).stdout.splitlines()
        ]
        for how in (["--engine", engine], ["--url", server.url])
    )
    assert len(here) == len(there) == 100
    for one, other in zip(here, there, strict=True):
        assert (one["path"], one["mode"], one["inverted"]) == (other["path"], other["mode"], other["inverted"])
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=0.02)
        assert one["ood_score"] == pytest.approx(other["ood_score"], abs=0.5)


def test_nothing_to_classify_and_two_formats_at_once_are_mistakes(tmp_path: Path) -> None:
    for arguments in ([str(tmp_path)], ["-"], [str(PICTURES), "--csv", "--json"]):
        result = run("classify", *arguments)
        assert (result.returncode, result.stdout) == (2, b""), arguments


@pytest.mark.parametrize("where", ["here", "by a server"])
def test_what_cannot_be_read_is_a_row_and_the_end_is_1(server: Server, tmp_path: Path, where: str) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    shutil.copy(PICTURES / "bag-0018.png", tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.png").write_bytes((PICTURES / "bag-0018.png").read_bytes()[:100])
    url = ["--url", server.url] if where == "by a server" else []
    result = run("classify", str(tmp_path), str(tmp_path / "gone.png"), "--csv", *url)
    assert result.returncode == 1
    found = rows(result.stdout)
    assert [Path(row["path"]).name for row in found] == ["a.png", "b.png", "c.png", "gone.png"]
    codes = [row["error"].partition(":")[0] for row in found]
    assert codes == ["unsupported-format", "", "undecodable-picture", "unreadable"]
    assert [row["label"] for row in found] == ["", "Bag", "", ""]


def test_processes_decode_as_threads_do(checkpoint: Checkpoint) -> None:
    files = [str(path) for path in sorted(PICTURES.glob("*.png"))] + ["gone.png"]
    options = classify_local.ClassifyOptions(1_000_000, 1_000_000, probabilities=False, mode="auto", background="auto")
    running = choose.build_engine(settings_page.Settings(), checkpoint)
    by_processes, by_threads = (
        [row for rows in classify_local.classify_files(running, checkpoint, files, options, pool) for row in rows]
        for pool in (ProcessPoolExecutor(2, get_context("spawn")), ThreadPoolExecutor(2))
    )
    assert by_processes == by_threads
    assert [row.path for row in by_processes] == files


def test_a_list_of_many_paths_on_stdin() -> None:
    files = sorted(PICTURES.glob("*.png"))
    result = run("classify", "-", "--json", stdin="\n".join(map(str, files * 11)).encode())
    assert result.returncode == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["path"] for entry in found] == [str(path) for path in files * 11]
    assert [entry["label"] for entry in found[:100]] == [entry["label"] for entry in found[1000:]]


def test_a_list_separated_by_null_characters() -> None:
    """As find -print0 writes it: names may then contain line breaks."""
    files = [str(path.relative_to(ROOT)) for path in sorted(PICTURES.glob("bag-*.png"))]
    result = run("classify", "-", "--csv", stdin=b"".join(file.encode() + b"\0" for file in files))
    assert [row["path"] for row in rows(result.stdout)] == files


def test_names_with_brackets_and_other_bytes_than_utf8(tmp_path: Path) -> None:
    names = [b"bag [copy].png", b"bag[/b].png", b"caf\xe9.png"]
    (tmp_path / "bag[").mkdir()
    for name in names:
        shutil.copy(PICTURES / "bag-0018.png", os.path.join(os.fsencode(tmp_path), name))
    for form in ("--csv", "--json"):
        result = run("classify", str(tmp_path), form, PYTHONIOENCODING="utf-8:strict")
        assert result.returncode == 0, result.stderr
        assert all(name in result.stdout for name in names)
    table = run("classify", str(tmp_path), PYTHONIOENCODING="utf-8:strict", COLUMNS="400")
    assert table.returncode == 0, table.stderr
    assert b"bag[/b].png" in table.stdout.replace(b"\n", b"")


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(PICTURES / "bag-0018.png", pictures)
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "link").symlink_to(pictures)
    (pictures / "back").symlink_to(tmp_path / "album")
    (row,) = rows(run("classify", str(tmp_path / "album"), "--csv").stdout)
    assert row["label"] == "Bag"


def test_a_file_larger_than_the_service_takes_is_a_row(tmp_path: Path) -> None:
    with (tmp_path / "scan.tif").open("wb") as file:
        file.truncate(8 << 30)
    result = run("classify", str(tmp_path), "--csv")
    assert result.returncode == 1
    (row,) = rows(result.stdout)
    assert row["error"].startswith("body-too-large")


def test_a_picture_on_stdin_and_a_pattern(boot: bytes) -> None:
    (entry,) = map(json.loads, run("classify", "-", "--json", stdin=boot).stdout.splitlines())
    assert (entry["path"], entry["label"], entry["error"]) == ("-", "Ankle boot", None)
    assert len(rows(run("classify", str(PICTURES / "bag-00[0-4]?.png"), "--csv").stdout)) == 4


def test_a_table_for_people() -> None:
    result = run("classify", str(PICTURES / "bag-0018.png"))
    assert result.returncode == 0
    assert "Bag" in result.stdout.decode()
    assert "│" in result.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["classify", "x.png", "--engine", "warp"], {}, "GOOGLENET_ENGINE='warp'"),
        (["classify", "x.png", "--checkpoint", "nowhere"], {}, "there is no checkpoint at nowhere"),
        (["classify", "x.png", "--url", "http://127.0.0.1:1"], {}, "127.0.0.1:1"),
        (["classify", "x.png", "--url", "http://127.0.0.1:many"], {}, "127.0.0.1:many"),
        (["bench", "--url", "http://127.0.0.1:1", "--api-key", "schlüssel"], {}, "API key"),
        (["serve", "--port", "many"], {}, "GOOGLENET_PORT='many'"),
        (["bench"], {"GOOGLENET_QUEUE_SIZE": "1"}, "GOOGLENET_QUEUE_SIZE='1'"),
    ],
)
def test_what_cannot_begin_says_so_in_one_line(
    arguments: list[str], environment: dict[str, str], complaint: str
) -> None:
    result = run(*arguments, **environment)
    assert result.returncode == 2
    assert len([line for line in result.stderr.decode().splitlines() if complaint in line]) == 1
    assert b"Traceback" not in result.stderr


def test_info_and_bench(server: Server, checkpoint: Checkpoint) -> None:
    card = run("info").stdout.decode()
    assert checkpoint.version in card
    assert f"{100 * checkpoint.metadata.accuracy['test']:.2f} %" in card
    assert "largest batch in use" in run("bench").stdout.decode()
    result = run("bench", "--url", server.url, "--seconds", "1", "--concurrency", "4")
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().split("│")[-2].strip() == "0", "errors"


def test_the_key_may_be_in_a_file(tmp_path: Path) -> None:
    """The same setting for the server and its clients."""
    file, picture = tmp_path / "keys", str(PICTURES / "bag-0018.png")
    file.write_text("# ours\nsesame\nanother\n")
    setting = {"GOOGLENET_API_KEY": f"@{file}"}
    with run_server(**setting) as server:
        for arguments in (["classify", picture], ["bench", "--seconds", "0.1"]):
            result = run(*arguments, "--url", server.url, **setting)
            assert result.returncode == 0, result.stdout + result.stderr
    result = run("classify", picture, "--url", server.url, "--api-key", f"@{tmp_path / 'gone'}")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"its file cannot be read" in result.stderr
    assert b"Traceback" not in result.stderr


def test_every_setting_is_an_option() -> None:
    shown = run("serve", "--help").stdout.decode()
    for name in settings_page.Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown or name == "api_key"


def test_the_shell_can_complete() -> None:
    completion = {
        "_FASHION_GOOGLENET_COMPLETE": "complete_bash",
        "COMP_WORDS": "fashion-googlenet cl",
        "COMP_CWORD": "1",
    }
    assert run(**completion).stdout.decode().split() == ["classify"]


def test_the_page_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page.page(), "make docs"
