"""Every knob, read from the environment: GOOGLENET_PORT=9000 sets `port`."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.checkpoint import SHIPPED

MAX_PICTURES = 64
"""In one POST /predict/batch."""

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([^\sA-Z/?#@:\[\]]+|\[[0-9a-f:.]+\])(:[0-9]+)?")
"""What a browser sends as Origin (RFC 6454): no path, not even a slash, in lower case."""


PREFIX = re.compile(r"(/[\w.~-]+)*")
"""The beginning of a path, as it is written without escapes."""


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
        int,
        Field(
            ge=MAX_PICTURES,
            description="Pictures under way before more are refused; beyond 256, half a second's work; in each worker",
        ),
    ] = 1024
    request_timeout: Annotated[PositiveFloat, Field(description="Seconds from the body's arrival to the answer")] = 10.0
    header_timeout: Annotated[
        PositiveFloat, Field(description="Seconds from connecting, silent connections included, to a request's headers")
    ] = 10.0
    body_timeout: Annotated[PositiveFloat, Field(description="Seconds a body may take to arrive")] = 20.0
    keep_alive: Annotated[
        PositiveFloat,
        Field(description="Seconds a connection may be idle after an answer; balancers mostly keep theirs for 60"),
    ] = 75.0
    max_upload_bytes: Annotated[PositiveInt, Field(description="Largest body")] = 32 * 1024 * 1024
    max_pixels: Annotated[
        PositiveInt,
        Field(
            description="Largest picture, counted as decoded: large JPEGs at a reduced scale, a WebP's pixels as 4/3, "
            "an AVIF's or HEIC's as 5/4 or more"
        ),
    ] = 16_000_000
    api_key: Annotated[
        SecretStr | None, Field(description="The key that requests need, or `@` and a file with one on each line")
    ] = None
    metrics_open: Annotated[bool, Field(description="Whether /metrics needs no key")] = False
    cors_origins: Annotated[
        str, Field(description="Origins, by commas, whose pages may use the service from a browser")
    ] = ""
    root_path: Annotated[
        str, Field(description="Prefix that a proxy shows the service under, such as /ml, and takes off or leaves")
    ] = ""
    log_format: Annotated[
        Literal["text", "json"], Field(description="Lines for people or for machines, one a request")
    ] = "text"
    stuck_limit: Annotated[
        PositiveFloat, Field(description="Seconds without a sign of life from the engine after which liveness fails")
    ] = 60.0
    drain_delay: Annotated[
        NonNegativeFloat, Field(description="Seconds of still serving on SIGTERM, for the load balancer to take notice")
    ] = 2.0
    drain_limit: Annotated[
        PositiveFloat, Field(description="Seconds from SIGTERM by which accepted work is finished, or refused")
    ] = 20.0

    @field_validator("cors_origins")
    @classmethod
    def _origins_as_browsers_send_them(cls, value: str) -> str:
        for origin in _separated(value):
            if origin not in ("*", "null") and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: scheme, host and port alone, as in http://localhost:3000")
        return value

    @field_validator("root_path")
    @classmethod
    def _from_one_slash_to_no_slash(cls, value: str) -> str:
        value = value.rstrip("/")
        if not PREFIX.fullmatch(value):
            raise ValueError("is no path's beginning, as /ml or /shop/ml is")
        return value

    @property
    def origins(self) -> tuple[str, ...]:
        return _separated(self.cors_origins)


def _separated(value: str) -> tuple[str, ...]:
    return tuple(origin.strip() for origin in value.split(",") if origin.strip())


def validation_message(error: ValidationError) -> str:
    """One line that names each wrong setting as its user knows it."""
    lines = (f"GOOGLENET_{'_'.join(map(str, e['loc'])).upper()}={e['input']!r}: {e['msg']}" for e in error.errors())
    return "; ".join(lines)
