"""The commands of `fashion-googlenet` and their flags: serve, classify, bench, info."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import ValidationError

from app.cli.bench import measure_engine, measure_service
from app.cli.classify_local import ClassifyOptions, classify_files, start_decoders
from app.cli.classify_remote import classify_by_server
from app.cli.info import describe
from app.cli.input_files import find_files
from app.cli.output import WRITERS, write_all
from app.cli.settings_options import set_environment, with_settings_options
from app.client import Client
from app.errors import ServiceError, StartError
from app.inference.cpu import THREAD_SWITCH_INTERVAL
from app.inference.engines import base, choose
from app.settings import Settings, read_api_keys, validation_message
from model.checkpoint import Checkpoint, CheckpointError
from model.preprocess import BackgroundOption, Mode

cli = typer.Typer(
    help="Which Fashion-MNIST class is the garment on a picture?", no_args_is_help=True, pretty_exceptions_enable=False
)

EngineName = Annotated[str | None, typer.Option("--engine", help="As GOOGLENET_ENGINE", show_default=False)]
DeviceName = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda", show_default=False)]
CheckpointFile = Annotated[Path | None, typer.Option("--checkpoint", help="A checkpoint other than the shipped one")]
Url = Annotated[str | None, typer.Option("--url", help="Use the service at this address")]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="GOOGLENET_API_KEY", help="Key of the service, or @/path of its file, with --url"),
]


@cli.command()
@with_settings_options
def serve(**options: str | None) -> None:
    """Serves over HTTP. Every option can also be set in the environment: --port as GOOGLENET_PORT."""
    set_environment(**options)
    from app.__main__ import main as serve_until_stopped  # imported here: only `serve` needs the web framework

    raise typer.Exit(serve_until_stopped())


@cli.command()
def classify(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files, folders, patterns, or - for stdin")],
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, one object per line")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write the probability of every class")
    ] = False,
    mode: Annotated[Mode, typer.Option(help="Preprocessing; auto decides by the picture")] = "auto",
    background: Annotated[BackgroundOption, typer.Option(help="Brightness of the background, for photo")] = "auto",
    url: Url = None,
    api_key: ApiKey = None,
    engine: EngineName = None,
    device: DeviceName = None,
    checkpoint: CheckpointFile = None,
) -> None:
    """Classifies pictures, in this process or with --url by a service. Exit status 1: a picture could not be used."""
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json", param_hint="--csv, --json")
    if not (files := list(find_files(paths))):
        raise typer.BadParameter("no pictures found", param_hint=" ".join(paths))
    writer = WRITERS["csv" if as_csv else "json" if as_json else "table"]
    if url is not None:
        with Client(url, api_key=_first_key(api_key)) as client:
            classes = client.health().model.classes if probabilities else []
            batches = classify_by_server(client, files, probabilities, mode=mode, background=background)
            all_usable = write_all(batches, len(files), writer(classes))
    else:
        decoders = start_decoders(files, device or Settings().device)
        settings, loaded, chosen_engine = _build_engine(engine, device, checkpoint)
        sys.setswitchinterval(THREAD_SWITCH_INTERVAL)
        options = ClassifyOptions(settings.max_pixels, settings.max_upload_bytes, probabilities, mode, background)
        classes = list(loaded.metadata.classes) if probabilities else []
        batches = classify_files(chosen_engine, loaded, files, options, decoders)
        all_usable = write_all(batches, len(files), writer(classes))
    raise typer.Exit(0 if all_usable else 1)


@cli.command()
def bench(
    url: Url = None,
    api_key: ApiKey = None,
    seconds: Annotated[float, typer.Option(help="Duration, with --url")] = 10.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at the same time, with --url")] = 16,
    engine: EngineName = None,
    device: DeviceName = None,
    checkpoint: CheckpointFile = None,
) -> None:
    """Measures the engine by batch size, or with --url a running service by single pictures in a closed loop."""
    if url is not None:
        measure_service(url, _first_key(api_key), seconds, concurrency)
    else:
        _, loaded, chosen_engine = _build_engine(engine, device, checkpoint)
        measure_engine(chosen_engine, loaded)


@cli.command()
def info(
    checkpoint: Annotated[Path | None, typer.Argument(help="Default: the shipped one")] = None,
    engine: EngineName = None,
    device: DeviceName = None,
) -> None:
    """Shows a checkpoint: classes, accuracy, training, exports, and the engine that would run it here."""
    set_environment(engine=engine, device=device, checkpoint=checkpoint)
    settings = Settings()
    describe(Checkpoint.load(settings.checkpoint), settings)


def _first_key(value: str | None) -> str | None:
    """As the service reads its own keys, so that both can have the same GOOGLENET_API_KEY."""
    return read_api_keys(value)[0] if value else None


def _build_engine(name: str | None, device: str | None, file: Path | None) -> tuple[Settings, Checkpoint, base.Engine]:
    set_environment(engine=name, device=device, checkpoint=file)
    settings = Settings()
    checkpoint = Checkpoint.load(settings.checkpoint)
    return settings, checkpoint, choose.build_engine(settings, checkpoint)


def main() -> None:
    """Runs a command. Exit status: 0; 1 if a picture could not be used; 2 if the command could not run."""
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="surrogateescape")  # a file's name need not be UTF-8
    try:
        cli(prog_name="fashion-googlenet")
    except ValidationError as error:
        _fail(validation_message(error))
    except (CheckpointError, ServiceError, StartError) as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
