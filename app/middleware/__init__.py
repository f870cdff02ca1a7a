"""ASGI middleware, the request log and the API keys. Also early rejection, which app.http calls before middleware."""
