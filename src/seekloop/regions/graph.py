"""The graph of an image's tokens: how alike they are, and the eigenvectors that say which belong together."""

import math
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Gt, Lt
from jaxtyping import Bool, Float
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from torch import Generator, Tensor
from torch.nn import functional as F

Cosine = Annotated[float, Gt(-1), Lt(1)]
"""A cosine that some pairs exceed, and some do not."""
Solver = Literal["dense", "lanczos"]
"""Of eigenvectors: dense, as the authors; or lanczos, the same up to rounding, faster by far."""

UNLIKE = 1e-5  # weight of an edge between tokens that are not alike; those that are have 1
BLOCK = 256  # rows of a product
ROUNDING = 1e-12  # of the largest entry: tokens no farther than this from their mean are the mean
FEW = 64  # tokens for which dense is the faster
SAME = 1e-6  # weights that differ by no more than this are the same: rounding of cosines
TOLERANCE = 1e-10  # of an eigenvalue
TIES = 1e-6  # of the largest entry of an eigenvector: entries no farther apart are equal, whichever solver found them
RESTARTS = 30  # of Lanczos; with nearly disconnected components it would take longer than a dense solver


def rows_of(tokens: Float[Tensor, "h w d"], centre: bool) -> Float[Tensor, "n d"]:
    """The map's tokens row by row, in float64 on the CPU.

    Args:
        tokens: of one image.
        centre: whether to take their mean off. Keys of some networks (DINOv2's) have so much in common, such as the
            bias of the layer that makes them, that every pair would pass for alike.

    Raises:
        ValueError: if a token is not finite.

    Example:
        >>> rows_of(torch.tensor([[[1.0, 5.0], [3.0, 5.0]]]), centre=True).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    rows = tokens.detach().cpu().double().flatten(0, 1)
    if not bool(rows.isfinite().all()):
        raise ValueError("tokens are not finite: the network or its input is at fault, not this image's regions")
    if not centre:
        return rows
    centred = rows - rows.mean(dim=0)
    differs = centred.abs() > ROUNDING * rows.abs().max()
    return centred.where(differs.any(dim=1, keepdim=True), 0.0)


def gram(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Inner products of each row with each; nearly half of them are copied across the diagonal: half the time."""
    products = rows.new_empty(len(rows), len(rows))
    for start in range(0, len(rows), BLOCK):
        stop = start + BLOCK
        products[start:stop, start:] = rows[start:stop] @ rows[start:].T
        products[stop:, start:stop] = products[start:stop, stop:].T
    return products


def cosines_of(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Cosine of each token with each, itself included, in float32; symmetric. A token of length 0 has 0 with all."""
    longest = rows.abs().amax(dim=1, keepdim=True)  # first to the same size: squares of huge tokens overflow
    return gram(F.normalize(rows / longest.where(longest > 0, 1.0), dim=1).float())


def products_of(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Inner product of each token with each, up to a power of two for the whole map, in float32; symmetric."""
    _, exponent = math.frexp(float(rows.abs().max()))
    return gram((rows * 2.0 ** min(-exponent, 1000)).float())


def share_of_pairs(alike: Bool[np.ndarray, "n n"]) -> float | None:
    """Share of the pairs of two different tokens that are alike; None where there is only one token.

    Example:
        >>> share_of_pairs(np.array([[True, True, False], [True, True, False], [False, False, False]]))
        0.3333333333333333
    """
    tokens = len(alike)
    return None if tokens < 2 else int(alike.sum() - alike.trace()) / (tokens * (tokens - 1))


def cut_vector(alike: Bool[np.ndarray, "n n"], solver: Solver, rng: Generator) -> Float[np.ndarray, " n"] | None:
    r"""The second eigenvector of the graph with weights 1 where alike, else :math:`10^{-5}`, of any sign.

    None where all pairs of different tokens weigh the same: no vector comes second.
    """
    weights = np.where(alike, 1.0, UNLIKE)
    return None if says_nothing(weights) else later_vectors(weights, 1, solver, rng)[:, 0]


def says_nothing(weights: Float[np.ndarray, "s s"]) -> bool:
    """Whether all pairs of different tokens are joined alike: no way to cut such a graph is better than another."""
    tokens = len(weights)
    return tokens < 2 or bool(np.ptp(weights[~np.eye(tokens, dtype=bool)]) <= SAME)


def later_vectors(
    weights: Float[np.ndarray, "s s"], count: int, solver: Solver, rng: Generator
) -> Float[np.ndarray, "s c"]:
    r"""Generalised eigenvectors of a graph's Laplacian, from the second smallest eigenvalue on.

    .. math:: (D - A) v = \lambda D v, \qquad D = \mathrm{diag}(A 1)

    Found as :math:`v = D^{-1/2} u` from the largest eigenvalues of :math:`D^{-1/2} A D^{-1/2} - 2 u_1 u_1^\top`, where
    :math:`u_1 \propto D^{1/2} 1` is the first vector, the constant one: taken out, it is never mixed with the second
    where the graph falls apart into two. Signs are arbitrary. A token joined to none counts as if its degree were 1.

    Args:
        weights: symmetric, not negative.
        count: how many; fewer come back where there are fewer tokens.
        solver: dense, in a time that grows with the cube of the number of tokens, or lanczos, with its square, the
            same up to rounding; where that does not converge soon, or for few tokens, dense takes over.
        rng: draws where lanczos starts.
    """
    degree = weights.sum(axis=1, dtype=np.float64)
    root = np.sqrt(np.where(degree > 0, degree, 1.0))
    first = np.sqrt(degree)
    first /= np.linalg.norm(first) or 1.0
    matrix = weights / np.outer(root, root) - 2 * np.outer(first, first)
    tokens, count = len(matrix), min(count, len(matrix) - 1)
    if solver == "lanczos" and tokens > FEW:
        start = torch.rand(tokens, generator=rng, dtype=torch.float64).numpy() - 0.5
        try:
            values, vectors = eigsh(matrix, k=count, which="LA", v0=start, maxiter=RESTARTS, tol=TOLERANCE)
            return vectors[:, np.argsort(-values)] / root[:, None]
        except ArpackNoConvergence:
            pass
    _, vectors = eigh(matrix, subset_by_index=[tokens - count, tokens - 1])
    return vectors[:, ::-1] / root[:, None]


def first_peak(vector: Float[np.ndarray, "*s"]) -> int:
    """Position, row by row, of the largest entry; the first of those that are equal to it up to rounding.

    Example:
        >>> first_peak(np.array([0.0, 2.0 - 1e-9, 2.0]))
        1
    """
    return int((vector >= vector.max() - TIES * np.abs(vector).max()).argmax())


def above_mean(vector: Float[np.ndarray, "*s"]) -> Bool[np.ndarray, "*s"]:
    """The entries above the mean, by more than rounding.

    Example:
        >>> above_mean(np.array([-1.0, 1e-9, 1.0]))
        array([False, False,  True])
    """
    return vector - vector.mean() > TIES * np.abs(vector).max()


def peak_positive(vector: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """With the sign that makes the entry farthest from 0 positive, the first of those equal up to rounding.

    Example:
        >>> peak_positive(np.array([1.0, -3.0, 2.0])), peak_positive(np.array([-1.0, 1.0 + 1e-9]))
        (array([-1.,  3., -2.]), array([ 1., -1.]))
    """
    return vector if vector.flat[first_peak(np.abs(vector))] > 0 else -vector
