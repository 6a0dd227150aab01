"""From any container to blocks of rows: arrays, sparse matrices, data frames, xarray, Dask collections, Zarr groups."""
