"""Objectives: what the solvers minimise; every public method is exactly one pass."""
