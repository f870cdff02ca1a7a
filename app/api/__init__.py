"""The HTTP API: one module for each group of routes, and what the routes share."""
