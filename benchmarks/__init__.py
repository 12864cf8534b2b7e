"""Measurements against stated yardsticks: `python -m benchmarks.<name>` prints a table and writes build/bench/<name>.json."""
