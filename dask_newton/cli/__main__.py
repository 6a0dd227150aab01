"""``python -m dask_newton.cli``."""

from dask_newton.cli import main

if __name__ == "__main__":  # worker processes import this module again
    main(prog_name="dask-newton")
