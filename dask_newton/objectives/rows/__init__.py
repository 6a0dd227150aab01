"""The kernel of linear models and networks: blocks of rows, their tiles, sums over rows, and samples."""
