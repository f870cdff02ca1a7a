"""ASGI middleware, with the request log and API keys that it uses; early rejection, which app.http calls before it."""
