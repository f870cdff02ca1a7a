"""The HTTP server: connections, protocol limits, draining and worker processes."""
