"""Everything between the socket and ASGI: server, protocol, listener, workers, logs, early rejection."""
