"""Layerwise ADMM as a graph of tasks: cells of layers and blocks, without a barrier between them."""
