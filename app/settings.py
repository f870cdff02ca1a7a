"""The settings, read from environment variables: GOOGLENET_PORT=9000 sets `port`."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.checkpoint import SHIPPED

MAX_PICTURES = 64
"""Of one POST /predict/batch."""

ORIGIN_PATTERN = re.compile(r"[a-z][a-z0-9+.-]*://([^\sA-Z/?#@:\[\]]+|\[[0-9a-f:.]+\])(:[0-9]+)?")
"""An Origin header as browsers send it (RFC 6454): lower case, without a path or a slash at the end."""

ROOT_PATH_PATTERN = re.compile(r"(/[\w.~-]+)*")
"""Path segments without escapes."""


class Settings(BaseSettings):
    """Raises pydantic.ValidationError for an invalid value. `Field` descriptions become docs/settings.md."""

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
        PositiveInt, Field(description="Processes behind the port, which share the cores; their metrics are added up")
    ] = 1
    max_batch_size: Annotated[
        PositiveInt | None, Field(description="Largest batch; by default the size that is fastest in warm-up")
    ] = None
    queue_size: Annotated[
        int,
        Field(
            ge=MAX_PICTURES,
            description="Pictures in progress, in each worker, before more are refused; over 256, half a second's work",
        ),
    ] = 1024
    request_timeout: Annotated[PositiveFloat, Field(description="Seconds from the body's arrival to the answer")] = 10.0
    header_timeout: Annotated[
        PositiveFloat,
        Field(description="Seconds from connecting to a request's complete headers; silent connections are closed too"),
    ] = 10.0
    body_timeout: Annotated[PositiveFloat, Field(description="Seconds a body may take to arrive")] = 20.0
    keep_alive: Annotated[
        PositiveFloat,
        Field(
            description="Seconds a connection may be idle after a response; load balancers usually keep theirs for 60"
        ),
    ] = 75.0
    max_upload_bytes: Annotated[PositiveInt, Field(description="Largest body")] = 32 * 1024 * 1024
    max_pixels: Annotated[
        PositiveInt,
        Field(
            description="Largest picture, in decoded pixels: a large JPEG at reduced scale, a WebP's times 4/3, "
            "an AVIF's or HEIC's times 5/4 or more"
        ),
    ] = 16_000_000
    api_key: Annotated[
        SecretStr | None, Field(description="Key that requests need, or `@` and a file with one key a line")
    ] = None
    metrics_open: Annotated[bool, Field(description="Whether /metrics needs no key")] = False
    cors_origins: Annotated[str, Field(description="Comma-separated origins whose web pages may call the service")] = ""
    root_path: Annotated[
        str,
        Field(description="Path prefix, such as /ml, under which a proxy serves this; the proxy may remove it or not"),
    ] = ""
    log_format: Annotated[Literal["text", "json"], Field(description="Log lines as text or JSON, one a request")] = (
        "text"
    )
    stuck_limit: Annotated[
        PositiveFloat,
        Field(description="Seconds without a correct result from a busy engine after which liveness fails"),
    ] = 60.0
    drain_delay: Annotated[
        NonNegativeFloat,
        Field(description="Seconds for which SIGTERM is followed by normal service, for load balancers to notice"),
    ] = 2.0
    drain_limit: Annotated[
        PositiveFloat, Field(description="Seconds after SIGTERM at which unfinished requests are refused")
    ] = 20.0

    @field_validator("cors_origins")
    @classmethod
    def _validate_origins(cls, value: str) -> str:
        for origin in _split(value):
            if origin not in ("*", "null") and not ORIGIN_PATTERN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: scheme, host and port alone, as in http://localhost:3000")
        return value

    @field_validator("root_path")
    @classmethod
    def _validate_root_path(cls, value: str) -> str:
        value = value.rstrip("/")
        if not ROOT_PATH_PATTERN.fullmatch(value):
            raise ValueError("is no path's beginning, as /ml or /shop/ml is")
        return value

    @property
    def origins(self) -> tuple[str, ...]:
        return _split(self.cors_origins)


def _split(value: str) -> tuple[str, ...]:
    return tuple(origin.strip() for origin in value.split(",") if origin.strip())


def validation_message(error: ValidationError) -> str:
    """One line that names each wrong setting by its environment variable."""
    messages = (f"GOOGLENET_{'_'.join(map(str, e['loc'])).upper()}={e['input']!r}: {e['msg']}" for e in error.errors())
    return "; ".join(messages)
