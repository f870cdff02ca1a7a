"""What surrounds every request: ASGI middleware, and the request log, API keys and early rejection that it uses."""
