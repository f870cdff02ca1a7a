"""Builds the container images with buildah, without a registry or container engine, and checks them: make image-check.

    python3 deploy/image_check.py [--storage FOLDER] [--run-only] [cpu] [gpu] [-- arguments of buildah build]

The base image is a Debian made by debootstrap instead of one from a registry. Each image is mounted read-only except
for /tmp and /proc, and started as its configuration says, as its user and without capabilities. It must become ready,
pass its own health check, classify a picture sent from inside, and end on SIGTERM. Needs root, buildah, debootstrap,
and for gpu about 40 GB of disk, which are freed at the end.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "tests" / "pictures" / "ankle-boot-0000.png"
BASE = "localhost/bookworm-python"
TARGET_LIMITS = {"cpu": (600e6, 2.0), "gpu": (float("inf"), float("inf"))}
"""Of each image: bytes unpacked, and seconds from the start until ready."""
TIMED_STARTS = 5
READY_TIMEOUT = 120.0
COMPILERS = ("cc", "gcc", "g++", "clang", "tcc", "make", "as", "ld")
PORT = 18765


class Storage:
    """Runs buildah with its images and containers in `folder`. A failure ends the program."""

    def __init__(self, folder: Path) -> None:
        self._buildah = ["buildah", "--storage-driver", "vfs"]
        self._buildah += ["--root", str(folder / "root"), "--runroot", str(folder / "run")]

    def __call__(self, *arguments: str, show: bool = False) -> str:
        command = [*self._buildah, *arguments]
        done = subprocess.run(command, stdout=None if show else subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"failed: {' '.join(command)}")
        return (done.stdout or "").strip()

    def has(self, image: str) -> bool:
        return any(image in (entry["names"] or []) for entry in json.loads(self("images", "--json") or "[]"))


def main() -> None:
    options, build_arguments = parse()
    folder = options.storage or Path(tempfile.mkdtemp(prefix="image-check-", dir="/var/tmp"))
    storage = Storage(folder)
    try:
        if not storage.has(f"{BASE}:latest"):
            make_base(storage, folder)
        if not options.run_only:
            for target in options.targets:
                build(storage, target, build_arguments)
        rows = [check(storage, target) for target in options.targets]
    finally:
        if not options.storage:
            shutil.rmtree(folder)
    print("\n| image | unpacked | without base | start until ready, median of 5 | slowest |\n|---|---|---|---|---|")
    print("\n".join(rows))


def parse() -> tuple[argparse.Namespace, list[str]]:
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="target", help="cpu or gpu; default: both")
    parser.add_argument("--storage", type=Path, help="keep images here; default: a temporary folder")
    parser.add_argument("--run-only", action="store_true", help="check the images that --storage already has")
    options = parser.parse_args(given[:end])
    options.targets = options.targets or list(TARGET_LIMITS)
    if unknown := set(options.targets) - set(TARGET_LIMITS):
        parser.error(f"{', '.join(unknown)}: there are {' and '.join(TARGET_LIMITS)}")
    return options, given[end + 1 :]


def make_base(storage: Storage, folder: Path) -> None:
    """Makes the base image that the Dockerfile expects: Debian with Python and venv."""
    tree = folder / "base"
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm"]
    subprocess.run([*command, str(tree)], check=True, stdout=subprocess.DEVNULL)
    for unneeded in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(tree / unneeded)
        (tree / unneeded).mkdir()
    container = storage("from", "scratch")
    storage("add", "--quiet", container, str(tree), "/")
    storage("commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(tree)


def build(storage: Storage, target: str, build_arguments: list[str]) -> None:
    arguments = ("--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE={BASE}", "--target", target)
    storage("build", *arguments, *build_arguments, "--tag", name_of(target), str(ROOT), show=True)


def name_of(target: str) -> str:
    return f"localhost/fashion-googlenet:{target}"


def check(storage: Storage, target: str) -> str:
    """Checks one image. Returns its row of the table; ends the program if a check fails."""
    image = name_of(target)
    configuration = json.loads(storage("inspect", "--type", "image", image))["Docker"]["config"]
    container = storage("from", image)
    tree = Path(storage("mount", container))
    size, base = disk_usage(tree), base_size(storage)
    try:
        inspect(tree, configuration, target)
        start(tree, configuration, verbose=True)  # not timed: it reads the disk
        seconds = [start(tree, configuration, verbose=False) for _ in range(TIMED_STARTS)]
    finally:
        storage("umount", container)
        storage("rm", container)
    largest, slowest = TARGET_LIMITS[target]
    require(size <= largest, f"{target}: {size / 1e6:.0f} MB unpacked")
    require(statistics.median(seconds) < slowest, f"{target}: ready after {statistics.median(seconds):.2f} s")
    megabytes = f"{size / 1e6:.0f} MB | {(size - base) / 1e6:.0f} MB"
    return f"| `{target}` | {megabytes} | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s |"


def disk_usage(tree: Path) -> int:
    """Bytes on the disk, below `tree`."""
    done = subprocess.run(["du", "-sx", "--block-size=1", str(tree)], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def base_size(storage: Storage) -> int:
    container = storage("from", BASE)
    size = disk_usage(Path(storage("mount", container)))
    storage("umount", container)
    storage("rm", container)
    return size


def inspect(tree: Path, configuration: dict[str, Any], target: str) -> None:
    """Checks what can be seen without running the image."""
    user = configuration["User"].partition(":")[0]
    require(user.isdigit() and int(user) > 0, f"{target}: runs as user {user}, not as root")
    require(bool(configuration["Healthcheck"]["Test"]), f"{target}: has a health check")
    require("org.opencontainers.image.title" in configuration["Labels"], f"{target}: has labels")
    folders = [tree / folder.lstrip("/") for folder in environment(configuration)["PATH"].split(":")]
    compilers = [name for name in COMPILERS if any(os.path.lexists(folder / name) for folder in folders)]
    require(not compilers, f"{target}: no compiler {' '.join(compilers)}")
    torch = list(tree.glob("opt/googlenet/lib/python3*/site-packages/torch"))
    require(bool(torch) == (target == "gpu"), f"{target}: torch {'is' if torch else 'is not'} there")


def start(tree: Path, configuration: dict[str, Any], verbose: bool) -> float:
    """Starts the image and stops it. Returns the seconds until ready. `verbose` also runs the checks inside."""
    with run(tree, configuration) as (process, seconds):
        if verbose:
            inside = [
                "nsenter",
                "--target",
                str(process.pid),
                "--mount",
                "--root",
                "--wd",
                *unprivileged(configuration),
            ]
            touched = subprocess.run([*inside, "touch", "/opt/googlenet/trial"], capture_output=True, text=True)
            require("Read-only file system" in touched.stderr, "its file system is read-only")
            modules = subprocess.run(
                [*inside, "python3", "-v", "-c", "import app.main"], capture_output=True, text=True
            )
            uncompiled = re.findall(r"^# code object from '?(.*\.py)'?$", modules.stderr, re.MULTILINE)
            require(not modules.returncode and not uncompiled, f"no module is compiled anew {' '.join(uncompiled)}")
            test = configuration["Healthcheck"]["Test"]
            require(subprocess.run([*inside, *test[1:]]).returncode == 0, "its own health check says that it is well")
            send = ["fashion-googlenet", "classify", "--url", f"http://127.0.0.1:{PORT}", "--json", "-"]
            done = subprocess.run([*inside, *send], stdin=PICTURE.open("rb"), capture_output=True, text=True)
            answer = json.loads(done.stdout or "{}")
            require(answer.get("label") == "Ankle boot", f"a picture from inside: {done.stdout.strip() or done.stderr}")
    require(process.returncode in (0, -signal.SIGTERM), f"ready after {seconds:.2f} s, ended with {process.returncode}")
    return seconds


@contextmanager
def run(tree: Path, configuration: dict[str, Any]) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """Runs the image's command in its own mount namespace. Yields the process and the seconds until it was ready."""
    mounts = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"'
        ' && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys"'
        ' && exec chroot "$0" "$@"'
    )
    started = time.monotonic()
    command = ["unshare", "--mount", "sh", "-c", mounts, str(tree), *unprivileged(configuration), *configuration["Cmd"]]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not is_ready():
            require(process.poll() is None, "it runs", quiet=True)
            require(time.monotonic() < started + READY_TIMEOUT, f"ready within {READY_TIMEOUT:.0f} s", quiet=True)
            time.sleep(0.005)
        yield process, time.monotonic() - started
    finally:
        process.terminate()
        process.wait(READY_TIMEOUT)


def unprivileged(configuration: dict[str, Any]) -> list[str]:
    """Command prefix: runs a command as the image's user, with only its environment and no capabilities."""
    user, _, group = configuration["User"].partition(":")
    variables = environment(configuration) | {"GOOGLENET_PORT": str(PORT), "GOOGLENET_DRAIN_DELAY": "0"}
    rights = ["--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    return ["setpriv", *rights, "env", "-i", *(f"{name}={value}" for name, value in variables.items())]


def environment(configuration: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in configuration["Env"])


def is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def require(condition: bool, what: str, quiet: bool = False) -> None:
    if not quiet or not condition:
        print(f"{'ok' if condition else 'FAILED'}: {what.strip()}", flush=True)
    if not condition:
        sys.exit(1)


if __name__ == "__main__":
    main()
