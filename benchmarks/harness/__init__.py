"""What the benchmarks share: requests, load generators, servers under test, and engines made for measuring."""
