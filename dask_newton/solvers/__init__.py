"""Distributed solvers: one algorithm per file, each opening with its recursion.

A new solver is a file here, a line below and an entry in tests/catalogue.py.
"""

from dask_newton.solvers.adadelta import Adadelta
from dask_newton.solvers.adagrad import Adagrad
from dask_newton.solvers.adam import Adam
from dask_newton.solvers.aide import AIDE
from dask_newton.solvers.base import Info, Solver, State, Status, UnsupportedError
from dask_newton.solvers.dane import DANE
from dask_newton.solvers.dingo import DINGO
from dask_newton.solvers.dino import DINO
from dask_newton.solvers.disco import DiSCO
from dask_newton.solvers.dladmm import DLADMM
from dask_newton.solvers.gd import GD
from dask_newton.solvers.giant import GIANT
from dask_newton.solvers.gn_cg import GNCG
from dask_newton.solvers.hf_bicgstab import HFBiCGSTAB
from dask_newton.solvers.hf_cg import HFCG
from dask_newton.solvers.hf_minres import HFMINRES
from dask_newton.solvers.hybrid_cg import HybridCG
from dask_newton.solvers.inexact_dane import InexactDANE
from dask_newton.solvers.kfac import KFAC
from dask_newton.solvers.lbfgs import LBFGS
from dask_newton.solvers.minibatch_sgd import MiniBatchSGD
from dask_newton.solvers.momentum import Momentum
from dask_newton.solvers.network_admm import NetworkADMM
from dask_newton.solvers.newton_admm import NewtonADMM
from dask_newton.solvers.newton_cg import NewtonCG
from dask_newton.solvers.newton_cholesky import NewtonCholesky
from dask_newton.solvers.newton_mr import NewtonMR
from dask_newton.solvers.pdadmm import PDADMM
from dask_newton.solvers.pdadmm_grid import PDADMMGrid
from dask_newton.solvers.prox_newton import ProxNewton
from dask_newton.solvers.sampled_newton import SampledNewton
from dask_newton.solvers.sgd import SGD

SOLVERS: dict[str, type[Solver]] = {
    cls.name: cls for cls in (
        AIDE, DANE, DINGO, DINO, DiSCO, GIANT, LBFGS, SGD, InexactDANE, NewtonADMM, NewtonCG, NewtonCholesky,
        NewtonMR, ProxNewton, SampledNewton,
    )
}

# Those for networks. The first-order methods, lbfgs and newton-cg are for any objective whose penalty is smooth. A name
# may be in both tables.
NETWORK_SOLVERS: dict[str, type[Solver]] = {
    cls.name: cls for cls in (
        DLADMM, GD, GNCG, HFCG, HFMINRES, PDADMM, Adadelta, Adagrad, Adam, HFBiCGSTAB, HybridCG, MiniBatchSGD, Momentum,
        KFAC, NetworkADMM, PDADMMGrid,
    )
}

__all__ = [
    "AIDE", "DANE", "DINGO", "DINO", "DLADMM", "GD", "GIANT", "GNCG", "HFCG", "HFMINRES", "KFAC", "LBFGS",
    "NETWORK_SOLVERS", "PDADMM", "SGD", "SOLVERS", "Adadelta", "Adagrad", "Adam", "DiSCO", "HFBiCGSTAB", "HybridCG",
    "InexactDANE", "Info", "MiniBatchSGD", "Momentum", "NetworkADMM", "NewtonADMM", "NewtonCG", "NewtonCholesky",
    "NewtonMR", "PDADMMGrid", "ProxNewton", "SampledNewton", "Solver", "State", "Status", "UnsupportedError",
]
