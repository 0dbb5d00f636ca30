"""Coverage: how much of a class's variety the positives found so far touch."""

import hashlib

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.randomness import derived_seed
from seekloop.metrics.kmeans import kmeans_labels

_KEPT = 1000  # clusterings of so many classes are kept while a process lives: the runs of a sweep share them
_kept: dict[tuple[str, int, tuple[int, ...]], Int[Tensor, "s p"]] = {}


def cluster_positives(
    descriptors: Float[Tensor, "p d"], clusters: int, clusterings: int, seed: int, class_name: str
) -> Int[Tensor, "{clusterings} p"]:
    """Cluster all positives of a class, several times over; all strategies that are compared share the result.

    The result is kept, so that the runs of a sweep cluster a class once.

    Args:
        descriptors: global, of the class's images, unit length.
        clusters: wanted per clustering; min(this, distinct rows) are made.
        clusterings: how many, each with a seed of its own.
        seed: together with `class_name` and the clustering's number it fixes each clustering.
        class_name: whose positives these are.
    """
    if len(descriptors) == 0:
        raise ValueError(f"class {class_name!r} has no positives to cluster")
    seeds = tuple(derived_seed(seed, "coverage", class_name, number) for number in range(clusterings))
    values = descriptors.cpu().contiguous().numpy()
    key = hashlib.blake2b(repr(values.shape).encode() + values.tobytes()).hexdigest(), clusters, seeds
    if key not in _kept:
        if len(_kept) >= _KEPT:
            _kept.clear()
        _kept[key] = kmeans_labels(descriptors, clusters, seeds)
    return _kept[key]


def coverage(labels: Int[Tensor, "s p"], found: Bool[Tensor, "q p"]) -> Float[Tensor, " q"]:
    r"""Share of clusters that hold a positive found so far, averaged over the clusterings.

    .. math:: \frac{1}{S} \sum_{s=1}^{S} \frac{|\{\ell_s(i) : i \in F\}|}{|\{\ell_s(i) : i\}|}

    Never falls as more are found; 1 once all are. The query's own image counts as found.

    Args:
        labels: from `cluster_positives`; the columns are the class's positives.
        found: which of them each query has found, all rounds together.

    Returns:
        In float64.

    Reference:
        Zaher, Buisson & Joly, arXiv 2604.00809.
    """
    labels = labels.to(found.device)
    clusters = int(labels.max()) + 1
    there = torch.zeros(len(labels), clusters, dtype=torch.bool, device=found.device).scatter_(1, labels.long(), True)
    query, image = found.nonzero(as_tuple=True)
    touched = torch.zeros(len(labels), len(found), clusters, dtype=torch.bool, device=found.device)
    touched[torch.arange(len(labels))[:, None], query[None], labels[:, image].long()] = True
    return (touched.sum(dim=2).double() / there.sum(dim=1, keepdim=True)).mean(dim=0)
