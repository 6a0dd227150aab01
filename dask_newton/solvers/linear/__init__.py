"""Solvers for linear models."""
