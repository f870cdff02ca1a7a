"""Measuring the service, its peers and its engines."""
