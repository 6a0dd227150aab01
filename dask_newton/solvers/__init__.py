"""Distributed solvers: one algorithm per file, each opening with its recursion.

A new solver is a file here, a line below and an entry in tests/catalogue.py.
"""

from dask_newton.solvers.admm.network_admm import NetworkADMM
from dask_newton.solvers.admm.newton_admm import NewtonADMM
from dask_newton.solvers.base import Info, Solver, State, Status, UnsupportedError
from dask_newton.solvers.general.adadelta import Adadelta
from dask_newton.solvers.general.adagrad import Adagrad
from dask_newton.solvers.general.adam import Adam
from dask_newton.solvers.general.gd import GD
from dask_newton.solvers.general.lbfgs import LBFGS
from dask_newton.solvers.general.momentum import Momentum
from dask_newton.solvers.general.newton_cg import NewtonCG
from dask_newton.solvers.general.newton_mr import NewtonMR
from dask_newton.solvers.grid.pdadmm_grid import PDADMMGrid
from dask_newton.solvers.layerwise.dladmm import DLADMM
from dask_newton.solvers.layerwise.pdadmm import PDADMM
from dask_newton.solvers.linear.aide import AIDE
from dask_newton.solvers.linear.dane import DANE
from dask_newton.solvers.linear.dingo import DINGO
from dask_newton.solvers.linear.dino import DINO
from dask_newton.solvers.linear.disco import DiSCO
from dask_newton.solvers.linear.giant import GIANT
from dask_newton.solvers.linear.inexact_dane import InexactDANE
from dask_newton.solvers.linear.newton_cholesky import NewtonCholesky
from dask_newton.solvers.linear.prox_newton import ProxNewton
from dask_newton.solvers.linear.sampled_newton import SampledNewton
from dask_newton.solvers.linear.sgd import SGD
from dask_newton.solvers.network.hf_bicgstab import HFBiCGSTAB
from dask_newton.solvers.network.hf_minres import HFMINRES
from dask_newton.solvers.network.kfac import KFAC
from dask_newton.solvers.network.minibatch_sgd import MiniBatchSGD
from dask_newton.solvers.network.truncated_cg import GNCG, HFCG, HybridCG

SOLVERS: dict[str, type[Solver]] = {
    cls.name: cls
    for cls in (
        AIDE,
        DANE,
        DINGO,
        DINO,
        DiSCO,
        GIANT,
        LBFGS,
        SGD,
        InexactDANE,
        NewtonADMM,
        NewtonCG,
        NewtonCholesky,
        NewtonMR,
        ProxNewton,
        SampledNewton,
    )
}

# Those for networks. The first-order methods, lbfgs and newton-cg are for any objective whose penalty is smooth. A name
# may be in both tables.
NETWORK_SOLVERS: dict[str, type[Solver]] = {
    cls.name: cls
    for cls in (
        DLADMM,
        GD,
        GNCG,
        HFCG,
        HFMINRES,
        PDADMM,
        Adadelta,
        Adagrad,
        Adam,
        HFBiCGSTAB,
        HybridCG,
        MiniBatchSGD,
        Momentum,
        KFAC,
        NetworkADMM,
        PDADMMGrid,
    )
}

__all__ = [
    "AIDE",
    "DANE",
    "DINGO",
    "DINO",
    "DLADMM",
    "GD",
    "GIANT",
    "GNCG",
    "HFCG",
    "HFMINRES",
    "KFAC",
    "LBFGS",
    "NETWORK_SOLVERS",
    "PDADMM",
    "SGD",
    "SOLVERS",
    "Adadelta",
    "Adagrad",
    "Adam",
    "DiSCO",
    "HFBiCGSTAB",
    "HybridCG",
    "InexactDANE",
    "Info",
    "MiniBatchSGD",
    "Momentum",
    "NetworkADMM",
    "NewtonADMM",
    "NewtonCG",
    "NewtonCholesky",
    "NewtonMR",
    "PDADMMGrid",
    "ProxNewton",
    "SampledNewton",
    "Solver",
    "State",
    "Status",
    "UnsupportedError",
]
