"""Constants that several rooms share: keys of the ASGI scope and of the application's state, and a response's type."""

Response = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body of a response that is sent without the application."""

BODY_ARRIVED = "body_arrived"
"""In the scope of a request whose body is complete; app.http.protocol sets it. Reading that body needs no timer, which
would cost more than the reading."""

ON_DISCONNECT = "on_disconnect"
"""In the scope: a callable, which app.http.protocol calls when the connection ends."""

CLIENT_DISCONNECTED = "client_disconnected"
"""In the scope if the client has disconnected: work for it stops, and the request log says so."""

LOG_FIELDS = "log_fields"
"""In the scope: the fields that the handler adds to the request's line in the log."""

DRAINING = "draining"
"""In the state: whether the process stops after the open requests. Only app.http sets it, other servers do not."""
