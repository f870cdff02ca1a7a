"""Every knob, read from the environment: GOOGLENET_PORT=9000 sets `port`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.checkpoint import SHIPPED

MAX_PICTURES = 64
"""In one POST /predict/batch."""


class Settings(BaseSettings):
    """Raises pydantic.ValidationError for a value that cannot be used."""

    model_config = SettingsConfigDict(env_prefix="GOOGLENET_", frozen=True, allow_inf_nan=False)

    host: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on")] = 8000
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="Where the network runs; auto takes the GPU if there is one")
    ] = "auto"
    engine: Annotated[
        str,
        Field(
            pattern=r"^(auto|cuda|openvino|openvino-int8|torch|[\w.]+:\w+)$",
            description="auto, cuda, openvino, openvino-int8, torch, or `module:Class` for one of your own",
        ),
    ] = "auto"
    checkpoint: Annotated[Path, Field(description="The trained network, a safetensors file")] = SHIPPED
    workers: Annotated[
        PositiveInt, Field(description="Processes behind the port, which share the cores; metrics add up")
    ] = 1
    max_batch_size: Annotated[
        PositiveInt | None, Field(description="Largest batch; without it the one that warm-up finds most useful")
    ] = None
    queue_size: Annotated[
        int, Field(ge=MAX_PICTURES, description="Pictures that may wait before new ones are refused")
    ] = 1024
    request_timeout: Annotated[PositiveFloat, Field(description="Seconds from the body's arrival to the answer")] = 10.0
    body_timeout: Annotated[PositiveFloat, Field(description="Seconds a body may take to arrive")] = 20.0
    max_upload_bytes: Annotated[PositiveInt, Field(description="Largest body")] = 32 * 1024 * 1024
    max_pixels: Annotated[
        PositiveInt, Field(description="Largest picture, counted as decoded: a large JPEG is decoded at reduced scale")
    ] = 16_000_000
    drain_limit: Annotated[PositiveFloat, Field(description="Seconds to finish accepted work when stopping")] = 20.0


def explain(error: ValidationError) -> str:
    """One line that names each wrong setting as its user knows it."""
    lines = (f"GOOGLENET_{'_'.join(map(str, e['loc'])).upper()}={e['input']!r}: {e['msg']}" for e in error.errors())
    return "; ".join(lines)
