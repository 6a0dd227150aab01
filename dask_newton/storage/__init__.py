"""What data sets, models and checkpoints share: atomic writes, checksums, columns, groups and one codec."""
