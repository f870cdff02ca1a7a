"""OpenVINO without its telemetry: importing `openvino` would otherwise send usage events."""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO then takes its own empty stand-in

import openvino as ov  # noqa: E402

__all__ = ["ov"]
