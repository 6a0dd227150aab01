"""Solvers for networks."""
