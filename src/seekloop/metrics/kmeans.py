"""Lloyd's k-means that does not mind duplicates, does not warn, and does not depend on the number of threads."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits
from torch import Tensor

from seekloop.contracts.compiled import in_threads


def kmeans_labels(rows: Float[Tensor, "p d"], clusters: int, seeds: Sequence[int]) -> Int[Tensor, "s p"]:
    """Cluster of each row, once per seed: k-means++ once, then Lloyd, with min(`clusters`, distinct rows) clusters.

    Equal rows are clustered once, weighted by how many they are: same objective, and no cluster without rows of its
    own. With at least as many clusters as distinct rows, each distinct row is a cluster.

    Args:
        rows: at least one.
        clusters: how many are wanted.
        seeds: non-negative integers; scikit-learn uses the lowest 32 bits of each.
    """
    distinct, inverse, count = np.unique(rows.cpu().numpy(), axis=0, return_inverse=True, return_counts=True)
    if clusters >= len(distinct):
        return torch.from_numpy(inverse).expand(len(seeds), -1)

    from sklearn.cluster import KMeans

    def clustered(seed: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        kmeans = KMeans(  # type: ignore[no-untyped-call]
            clusters, init="k-means++", n_init=1, algorithm="lloyd", random_state=seed % 2**32
        )
        with threadpool_limits(limits=1):  # sums shared out among threads come in any order
            return kmeans.fit(distinct, sample_weight=count).labels_

    # The outer limit is what is restored in the end: workers overlap, and each would restore what it has found.
    with threadpool_limits(limits=1):
        labels = np.stack(in_threads(clustered, seeds, torch.get_num_threads()))
    return torch.from_numpy(labels.astype(np.int64)[:, inverse])
