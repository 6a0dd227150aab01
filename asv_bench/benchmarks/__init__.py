"""Benchmarks; see docs/benchmarks.rst."""
