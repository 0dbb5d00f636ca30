"""Lloyd's k-means that does not mind duplicates, does not warn, and does not depend on the number of threads."""

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor


def kmeans_labels(rows: Float[Tensor, "p d"], clusters: int, seed: int) -> Int[Tensor, " p"]:
    """Cluster of each row: k-means++ once, then Lloyd, with min(`clusters`, distinct rows) clusters.

    Equal rows are clustered once, weighted by how many they are: same objective, and no cluster without rows of its
    own. With at least as many clusters as distinct rows, each distinct row is a cluster.

    Args:
        rows: at least one.
        clusters: how many are wanted.
        seed: any non-negative integer; of its bits, scikit-learn can use 32.
    """
    distinct, inverse, count = np.unique(rows.cpu().numpy(), axis=0, return_inverse=True, return_counts=True)
    if clusters >= len(distinct):
        return torch.from_numpy(inverse)
    kmeans = KMeans(  # type: ignore[no-untyped-call]
        clusters, init="k-means++", n_init=1, algorithm="lloyd", random_state=seed % 2**32
    )
    with threadpool_limits(limits=1):  # sums of several threads come in any order
        labels = kmeans.fit(distinct, sample_weight=count).labels_
    return torch.from_numpy(labels.astype(np.int64)[inverse])
