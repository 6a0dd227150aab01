"""Solvers for any objective with a smooth penalty."""
