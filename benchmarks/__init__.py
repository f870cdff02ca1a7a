"""Benchmarks of the service, its engines, its peers and its command line; README.md lists them."""
