"""Networks cut into layers: the sub-problems of ADMM methods that give every layer variables of its own.

One file per variable: margins of the outputs (:mod:`~dask_newton.layerwise.outputs`), pre-activations of hidden layers
(:mod:`~dask_newton.layerwise.hidden`), inputs of layers (:mod:`~dask_newton.layerwise.inputs`), weights
(:mod:`~dask_newton.layerwise.weights`).
"""
