"""The command line: serve, classify, bench, info."""
