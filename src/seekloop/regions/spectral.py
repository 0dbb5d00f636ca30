"""Eigenvectors of a graph of tokens that say which of them belong together."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from torch import Generator, float64, rand

from seekloop.contracts.errors import ConfigError

SOLVERS = ("dense", "lanczos")
FEW = 64  # tokens for which dense is the faster
SAME = 1e-6  # weights that differ by no more than this are the same: rounding of cosines
TOLERANCE = 1e-10  # of an eigenvalue
RESTARTS = 30  # where groups hang together by next to nothing, Lanczos would take longer than dense


def check_solver(solver: str, key: str = "detector.solver") -> None:
    """Refuse what is no solver, chosen by this key.

    Raises:
        ConfigError: if it is unknown.
    """
    if solver not in SOLVERS:
        raise ConfigError(key, solver, "there is no such solver", f"Choose from {list(SOLVERS)}.")


def says_nothing(weights: Float[np.ndarray, "s s"]) -> bool:
    """Whether all pairs of different tokens are joined alike: no way to cut such a graph is better than another."""
    tokens = len(weights)
    others = weights[~np.eye(tokens, dtype=bool)]
    return tokens < 2 or bool(np.ptp(others) <= SAME)


def later_vectors(
    weights: Float[np.ndarray, "s s"], count: int, solver: str, rng: Generator
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
    vectors = _largest(matrix, min(count, len(matrix) - 1), solver, rng)
    return vectors / root[:, None]


def _largest(matrix: Float[np.ndarray, "s s"], count: int, solver: str, rng: Generator) -> Float[np.ndarray, "s c"]:
    """Eigenvectors of the largest eigenvalues, that of the largest first."""
    tokens = len(matrix)
    if solver == "lanczos" and tokens > FEW:
        start = rand(tokens, generator=rng, dtype=float64).numpy() - 0.5
        try:
            values, vectors = eigsh(matrix, k=count, which="LA", v0=start, maxiter=RESTARTS, tol=TOLERANCE)
            return vectors[:, np.argsort(-values)]
        except ArpackNoConvergence:
            pass
    _, vectors = eigh(matrix, subset_by_index=[tokens - count, tokens - 1])
    return vectors[:, ::-1]


def peak_positive(vector: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """With the sign that makes the entry farthest from 0 positive, the first of equals.

    Example:
        >>> peak_positive(np.array([1.0, -3.0, 2.0]))
        array([-1.,  3., -2.])
    """
    return vector if vector.flat[np.abs(vector).argmax()] > 0 else -vector
