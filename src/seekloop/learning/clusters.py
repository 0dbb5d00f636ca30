"""K-means clusters of features, and epochs that see all of them equally often."""

import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor

from seekloop.contracts.errors import MissingExtraError
from seekloop.store.index import load_faiss

SEEDS = 2**31  # both libraries take seeds below this


def clustered(rows: Float[Tensor, "n d"], clusters: int, iterations: int, seed: int) -> Int[Tensor, " n"]:
    """Assign each row to a cluster by Lloyd's k-means, started from rows drawn at random.

    faiss computes where it is installed: on all GPUs if it can, and it splits a large cluster where one has run empty.
    scikit-learn stands in for it, and gives other clusters. Either may leave clusters without rows.

    Args:
        rows: at least as many as `clusters`.
        clusters: how many.
        iterations: of Lloyd's algorithm.
        seed: of the start, which are other rows for another seed.
    """
    points = np.ascontiguousarray(rows.detach().float().cpu().numpy())
    try:
        faiss = load_faiss()
    except MissingExtraError:
        return _by_sklearn(points, clusters, iterations, seed % SEEDS)
    faiss.omp_set_num_threads(torch.get_num_threads())
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    kmeans = faiss.Kmeans(
        points.shape[1],
        clusters,
        niter=iterations,
        seed=seed % SEEDS,
        gpu=gpus or False,
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),  # all rows take part: nothing is subsampled
    )
    kmeans.train(points)
    return torch.from_numpy(kmeans.index.search(points, 1)[1][:, 0].astype(np.int64))


def _by_sklearn(points: np.ndarray, clusters: int, iterations: int, seed: int) -> Int[Tensor, " n"]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    kmeans = KMeans(  # type: ignore[no-untyped-call]
        clusters, init="random", n_init=1, max_iter=iterations, tol=0.0, algorithm="lloyd", random_state=seed
    )
    with warnings.catch_warnings(), threadpool_limits(limits=1):  # sums shared out among threads come in any order
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal rows leave clusters empty: they are skipped later
        return torch.from_numpy(kmeans.fit(points).labels_.astype(np.int64))


def uniform_epoch(assignment: Int[Tensor, " n"], rng: Generator) -> Int[Tensor, " n"]:
    """Draw as many positions as there are images, every cluster equally often.

    Each cluster that has images gives floor(n / clusters) + 1 of them: without repetition where it has more, with
    repetition where it has that many or fewer. They are shuffled, and cut to n.

    Args:
        assignment: cluster of each image; numbers that do not occur are never drawn from.
        rng: generator.

    Reference:
        Caron et al., ECCV 2018, section 3.3 (trivial parametrisation), as released.
    """
    images = len(assignment)
    order = assignment.argsort(stable=True)
    members = torch.split(order, torch.unique(assignment, return_counts=True)[1].tolist())
    each = images // max(len(members), 1) + 1
    drawn = [order[:0]]
    for rows in members:
        if len(rows) > each:
            drawn.append(rows[torch.randperm(len(rows), generator=rng)[:each]])
        else:
            drawn.append(rows[torch.randint(len(rows), (each,), generator=rng)])
    together = torch.cat(drawn)
    return together[torch.randperm(len(together), generator=rng)[:images]]


def sizes(assignment: Int[Tensor, " n"]) -> Int[Tensor, " k"]:
    """Count the images of each cluster that has any, the largest first."""
    return torch.unique(assignment, return_counts=True)[1].sort(descending=True).values
