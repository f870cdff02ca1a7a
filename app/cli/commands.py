"""The command line, `fashion-googlenet`: serve, classify, bench, info. What they do is in app.commands."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from app.cli import bench as benches
from app.cli.classify import write_all
from app.cli.info import describe
from app.cli.local import Wanted, classify_files, start_decoders
from app.cli.options import apply, with_settings
from app.cli.paths import find_files
from app.cli.remote import classify_by_server
from app.cli.rows import make_writer
from app.client import Client
from app.errors import ServiceError, StartError
from app.inference.engines import base, choose
from app.settings import Settings, validation_message
from model.checkpoint import Checkpoint, CheckpointError
from model.preprocess import BackgroundOption, Mode

SWITCH = 0.0005
"""Seconds after which a thread that decodes lets the engine's, which waits for nothing else."""

cli = typer.Typer(
    help="Which Fashion-MNIST class is the garment on a picture?", no_args_is_help=True, pretty_exceptions_enable=False
)

EngineName = Annotated[str | None, typer.Option("--engine", help="As GOOGLENET_ENGINE", show_default=False)]
DeviceName = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda", show_default=False)]
CheckpointFile = Annotated[Path | None, typer.Option("--checkpoint", help="The trained network, if not the shipped")]
Url = Annotated[str | None, typer.Option("--url", help="Let the service that listens there do the work")]
ApiKey = Annotated[str | None, typer.Option("--api-key", envvar="GOOGLENET_API_KEY", help="The service's, with --url")]


@cli.command()
@with_settings
def serve(**given: str | None) -> None:
    """Serves over HTTP; every option can also be set in the environment, --port as GOOGLENET_PORT."""
    apply(**given)
    from app.__main__ import main as serve_until_stopped  # it brings the web framework

    raise typer.Exit(serve_until_stopped())


@cli.command()
def classify(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files, folders, patterns, or - for stdin")],
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line on stdout")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Of every class too")] = False,
    mode: Annotated[Mode, typer.Option(help="Preprocessing; auto decides by the picture")] = "auto",
    background: Annotated[BackgroundOption, typer.Option(help="What is behind the garment, for photo")] = "auto",
    url: Url = None,
    api_key: ApiKey = None,
    engine: EngineName = None,
    device: DeviceName = None,
    checkpoint: CheckpointFile = None,
) -> None:
    """Classifies pictures, here or by a server. Ends with 1 if one of them cannot be used."""
    if as_csv and as_json:
        raise typer.BadParameter("one of them", param_hint="--csv, --json")
    if not (files := list(find_files(paths))):
        raise typer.BadParameter("no pictures are there", param_hint=" ".join(paths))
    kind = "csv" if as_csv else "json" if as_json else "table"
    if url is not None:
        with Client(url, api_key=api_key) as client:
            classes = client.health().model.classes if probabilities else []
            batches = classify_by_server(client, files, probabilities, mode=mode, background=background)
            good = write_all(batches, len(files), make_writer(kind, classes))
    else:
        decoders = start_decoders(files, device or Settings().device)
        settings, loaded, running = _engine(engine, device, checkpoint)
        sys.setswitchinterval(SWITCH)
        wanted = Wanted(settings.max_pixels, probabilities, mode, background)
        classes = list(loaded.metadata.classes) if probabilities else []
        batches = classify_files(running, loaded, files, wanted, decoders)
        good = write_all(batches, len(files), make_writer(kind, classes))
    raise typer.Exit(0 if good else 1)


@cli.command()
def bench(
    url: Url = None,
    api_key: ApiKey = None,
    seconds: Annotated[float, typer.Option(help="How long, with --url")] = 10.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once, with --url")] = 16,
    engine: EngineName = None,
    device: DeviceName = None,
    checkpoint: CheckpointFile = None,
) -> None:
    """How fast the engine is by batch size, or a service that runs: a closed loop of single pictures."""
    if url is not None:
        benches.measure_service(url, api_key, seconds, concurrency)
    else:
        _, loaded, running = _engine(engine, device, checkpoint)
        benches.measure_engine(running, loaded)


@cli.command()
def info(
    checkpoint: Annotated[Path | None, typer.Argument(help="The shipped one without it")] = None,
    engine: EngineName = None,
    device: DeviceName = None,
) -> None:
    """What a checkpoint is: classes, accuracy, training, exports, and the engine it would run on here."""
    apply(engine=engine, device=device, checkpoint=checkpoint)
    settings = Settings()
    describe(Checkpoint.load(settings.checkpoint), settings)


def _engine(name: str | None, device: str | None, file: Path | None) -> tuple[Settings, Checkpoint, base.Engine]:
    apply(engine=name, device=device, checkpoint=file)
    settings = Settings()
    checkpoint = Checkpoint.load(settings.checkpoint)
    return settings, checkpoint, choose.build(settings, checkpoint)


def main() -> None:
    """Ends the process: 0, 1 if a picture could not be used, 2 if the command could not be carried out."""
    try:
        cli(prog_name="fashion-googlenet")
    except ValidationError as error:
        _fail(validation_message(error))
    except (CheckpointError, ServiceError, StartError) as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
