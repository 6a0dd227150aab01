"""Benchmarks for airspeed velocity; see docs/benchmarks.rst."""

import sys
from pathlib import Path

# asv imports this package by an importer of its own; worker processes start with this sys.path, and must find it too.
sys.path.append(str(Path(__file__).parents[1]))
