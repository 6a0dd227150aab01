"""What importing the library brings along."""

import subprocess
import sys


def test_the_library_does_not_import_distributed():
    """Who has no cluster need not wait for it: its import takes about as long as that of Dask's arrays."""
    code = "import sys, dask_newton, dask_newton.blocks; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
