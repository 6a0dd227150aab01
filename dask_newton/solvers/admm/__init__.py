"""Consensus ADMM: a model per block, and penalties that make the models agree."""
