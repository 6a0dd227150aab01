"""Raw files for the tests."""

import gzip
import struct


def write_idx(path, values):
    """Write an array of bytes as an IDX file, compressed if the name ends with .gz."""
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
