"""Linear models: margins ``X W + b`` of blocks of rows."""
