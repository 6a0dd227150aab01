"""The kernel that linear models and networks share: blocks of rows, tiles of them, sums and samples."""
