"""Normalised cut of a node, in place of k-sums."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from torch import Generator

from seekloop.contracts.errors import ConfigError
from seekloop.regions.cuts import UNLIKE, Node, Variant

SOLVERS = ("dense", "lanczos")
_FEW = 64  # tokens for which dense is the faster
_TOLERANCE = 1e-8  # of an eigenvalue
_RESTARTS = 10  # where groups hang together by nothing but 1e-5, Lanczos would take longer than dense


@dataclass(frozen=True)
class NormalisedCut:
    r"""Cut a node in two where the relaxed normalised cut of its thresholded graph is above its mean.

    .. math:: (D - A) v = \lambda D v, \qquad A_{ij} = 1 \text{ where alike, else } 10^{-5}

    v belongs to the second smallest eigenvalue. Its sign is such that the entry farthest from 0 is above. Where all
    pairs of different tokens have the same weight, no vector comes second, and there is no cut.

    Args:
        solver: dense, as TokenCut's authors do, in a time that grows with the cube of the number of tokens; or lanczos,
            with its square, the same up to rounding. Where that does not converge soon, dense takes over.

    Reference:
        Shi & Malik, "Normalized Cuts and Image Segmentation", PAMI 2000; the weights are those of TokenCut.
    """

    solver: str

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            fix = f"Set its solver to one of {list(SOLVERS)}."
            raise ConfigError("detector.bisect", self.solver, "there is no such solver", fix)

    def __call__(self, node: Node, variant: Variant, rng: Generator) -> Bool[np.ndarray, " s"]:
        """The second side; both variants cut alike, and only a starting point is drawn."""
        alike, none = node.cosines > node.alpha, np.zeros(len(node.members), dtype=bool)
        others = alike[~np.eye(len(alike), dtype=bool)]
        if others.all() or not others.any():
            return none
        start = torch.rand(len(alike), generator=rng, dtype=torch.float64).numpy()
        lanczos = self.solver == "lanczos" and len(alike) > _FEW
        return above_mean(second(np.where(alike, 1.0, UNLIKE), start if lanczos else None))


def above_mean(vector: Float[np.ndarray, " s"]) -> Bool[np.ndarray, " s"]:
    """Where a vector is above its mean, with the sign that makes the entry farthest from 0 positive.

    Example:
        >>> above_mean(np.array([-3.0, 1.0, 2.0, -1.0]))
        array([ True, False, False,  True])
    """
    signed = vector * np.sign(vector[np.abs(vector).argmax()])
    return signed > signed.mean()


def second(weights: Float[np.ndarray, "s s"], start: Float[np.ndarray, " s"] | None) -> Float[np.ndarray, " s"]:
    """The generalised eigenvector of the second smallest eigenvalue: by Lanczos from `start`, or dense without."""
    degree = weights.sum(axis=1)
    if start is not None:
        try:
            return _by_lanczos(weights, degree, start)
        except ArpackNoConvergence:
            pass
    _, vectors = eigh(np.diag(degree) - weights, np.diag(degree), subset_by_index=[1, 1])
    return vectors[:, 0]


def _by_lanczos(
    weights: Float[np.ndarray, "s s"], degree: Float[np.ndarray, " s"], start: Float[np.ndarray, " s"]
) -> Float[np.ndarray, " s"]:
    r"""The second largest of :math:`D^{-1/2} A D^{-1/2} u = (1 - \lambda) u`, with :math:`v = D^{-1/2} u`."""
    root = np.sqrt(degree)
    values, vectors = eigsh(
        weights / np.outer(root, root), k=2, which="LA", v0=start, maxiter=_RESTARTS, tol=_TOLERANCE
    )
    return vectors[:, values.argmin()] / root
