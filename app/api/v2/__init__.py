"""The Open Inference Protocol v2: /v2/…."""
