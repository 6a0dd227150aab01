"""Any container of rows to blocks: arrays, sparse matrices, data frames, xarray, Dask collections and Zarr groups."""
