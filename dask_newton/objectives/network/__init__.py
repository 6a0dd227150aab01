"""Multi-layer perceptrons: margins of blocks of rows through layers."""
