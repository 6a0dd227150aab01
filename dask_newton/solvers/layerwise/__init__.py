"""Networks cut into layers: the sub-problems of ADMM methods that give every layer variables of its own.

The solvers are ``dladmm`` and ``pdadmm``, on ``base``; what they do in a pass is in ``dladmm_passes`` and
``pdadmm_passes``, and in ``pdadmm_layer`` for one layer. Sub-problems have one file per variable: margins of the
outputs (``outputs``), pre-activations of hidden layers (``hidden``), inputs of layers (``inputs``), weights
(``weights``).
"""
