"""The settings, read from environment variables: GOOGLENET_PORT=9000 sets `port`."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import StartError
from model.checkpoint import SHIPPED

MAX_PICTURES = 64
"""Pictures in one POST /predict/batch."""

ORIGIN_PATTERN = re.compile(r"[a-z][a-z0-9+.-]*://([^\sA-Z/?#@:\[\]]+|\[[0-9a-f:.]+\])(:[0-9]+)?")
"""An Origin header as browsers send it (RFC 6454): lower case, without a path or a slash at the end."""

ROOT_PATH_PATTERN = re.compile(r"(/[\w.~-]+)*")
"""Path segments without escapes."""


class Settings(BaseSettings):
    """Raises pydantic.ValidationError for an invalid value. The docstrings of the settings become docs/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix="GOOGLENET_", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on"""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; auto takes the GPU if there is one"""
    engine: Annotated[str, Field(pattern=r"^(auto|cuda|openvino|openvino-int8|torch|[\w.]+:\w+)$")] = "auto"
    """auto, cuda, openvino, openvino-int8, torch, or `module:Class` for an engine of your own"""
    checkpoint: Path = SHIPPED
    """The trained network, a safetensors file"""
    workers: PositiveInt = 1
    """Processes behind the port; they share the cores, and /metrics adds up their metrics"""
    grpc_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port for gRPC, which needs the extra grpc; off by default"""
    max_batch_size: PositiveInt | None = None
    """Largest batch in pictures; by default the smallest size with 90 % of the best rate at the start"""
    queue_size: Annotated[int, Field(ge=MAX_PICTURES)] = 1024
    """Largest number of pictures in progress in each worker; above 256, also limited to 0.5 s of work"""
    request_timeout: PositiveFloat = 10.0
    """Seconds from the end of the body to the answer"""
    header_timeout: PositiveFloat = 10.0
    """Seconds from connecting to the end of the headers; a connection that sends nothing is closed then too"""
    body_timeout: PositiveFloat = 20.0
    """Seconds a body may take to arrive"""
    keep_alive: PositiveFloat = 75.0
    """Seconds a connection may be idle after a response; should be longer than a load balancer's, often 60"""
    max_upload_bytes: PositiveInt = 32 * 1024 * 1024
    """Largest body in bytes; JSON and urlencoded bodies 1.5 times as many, except for /v2"""
    max_pixels: PositiveInt = 16_000_000
    """Largest picture in pixels as decoded; some formats count otherwise (docs/api.md)"""
    api_key: SecretStr | None = None
    """Key that requests must send, or `@/path` of a file with one key per line"""
    metrics_open: bool = False
    """Whether /metrics can be read without a key"""
    cors_origins: str = ""
    """Comma-separated origins whose web pages may call the service"""
    root_path: str = ""
    """Path prefix of the service behind a proxy, such as /ml; the proxy may remove it from requests or keep it"""
    log_format: Literal["text", "json"] = "text"
    """Format of the log, which has a line for each request"""
    stuck_limit: PositiveFloat = 60.0
    """Seconds until /health/live fails if a batch does not end, all fail, or a known picture is misclassified"""
    drain_delay: NonNegativeFloat = 2.0
    """Seconds of normal service after SIGTERM, in which load balancers notice that the service stops"""
    drain_limit: PositiveFloat = 20.0
    """Seconds from SIGTERM until no request is open; unfinished ones get a 503 one second earlier"""

    @field_validator("grpc_port")
    @classmethod
    def _validate_grpc_port(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value == 0 and info.data.get("workers", 1) > 1:
            raise ValueError("has to be a number that all workers share")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _validate_origins(cls, value: str) -> str:
        for origin in _split(value):
            if origin not in ("*", "null") and not ORIGIN_PATTERN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin: scheme, host and port, as in http://localhost:3000")
        return value

    @field_validator("root_path")
    @classmethod
    def _validate_root_path(cls, value: str) -> str:
        value = value.rstrip("/")
        if not ROOT_PATH_PATTERN.fullmatch(value):
            raise ValueError("is not a path prefix such as /ml or /shop/ml")
        return value

    @property
    def origins(self) -> tuple[str, ...]:
        return _split(self.cors_origins)


def _split(value: str) -> tuple[str, ...]:
    return tuple(origin.strip() for origin in value.split(",") if origin.strip())


def read_api_keys(value: str) -> list[str]:
    """The key of GOOGLENET_API_KEY, or the keys in the file that it names.

    Raises StartError if the file cannot be read or there is no key.
    """
    try:
        lines = Path(value[1:]).read_text().splitlines() if value.startswith("@") else [value]
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"GOOGLENET_API_KEY: its file cannot be read: {error}") from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise StartError("GOOGLENET_API_KEY is set, but there is no key in it")
    return keys


def traces_requested() -> bool:
    """Whether OpenTelemetry's environment variables name a collector and do not switch traces off."""
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return bool(endpoint) and not disabled and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"


def validation_message(error: ValidationError) -> str:
    """One line that names each wrong setting by its environment variable."""
    messages = (f"GOOGLENET_{'_'.join(map(str, e['loc'])).upper()}={e['input']!r}: {e['msg']}" for e in error.errors())
    return "; ".join(messages)
