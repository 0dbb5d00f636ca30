r"""Measures of a ranking's order alone, with images taken out and with a cut-off. Two definitions of average precision.

Both count, at every positive, how much of the ranking down to it is positive. The finite sum takes the precision there,
the trapezoid the mean of the precisions there and just before: it is lower unless the ranking is perfect. Papers on
classes use the first, papers on Oxford, Paris and INSTRE the second; neither is just "mAP".

A cut-off k looks at the first k images left in the ranking, and divides by the number of positives that fit there,
:math:`\min(k, |R|)`, so that a perfect ranking earns 1. Divided by :math:`|R|`, a query with 100 positives could not
earn more than 0.5 within 50 images, while 0.89 is published for INSTRE, whose queries have about as many.

Some published evaluations of instance search stop at the first :math:`\min(k, |R|)` images; that is a cut-off, too, one
per query: `ranks.positives.clamp(max=k)`.

Images with equal scores share the worst rank of their group: within a cut-off they count where the whole group fits.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.metrics.ranks import Ranks


def finite_sum_average_precision(ranks: Ranks, cutoff: int | Int[Tensor, " q"] | None = None) -> Float[Tensor, " q"]:
    r"""Precision at each positive, averaged; :math:`h_i` positives and :math:`r_i` images stand no lower than it.

    .. math:: \mathrm{AP}_k = \frac{1}{\min(k, |R|)} \sum_{i \in R,\, r_i \le k} \frac{h_i}{r_i}

    Args:
        ranks: of the positives.
        cutoff: k, of all queries or of each; None for the whole ranking.

    Returns:
        In float64; NaN for a query without positives (average with `nanmean`).

    Raises:
        ValueError: if the cut-off is below 1.

    Example:
        >>> from seekloop.metrics.ranks import ranks_of_positives
        >>> ranks = ranks_of_positives(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[True, False, True]]))
        >>> finite_sum_average_precision(ranks)  # (1 + 2/3) / 2
        tensor([0.8333], dtype=torch.float64)
    """
    return _mean_of_positives(ranks.hits.double() / ranks.rank, ranks, cutoff)


def trapezoid_average_precision(ranks: Ranks, cutoff: int | Int[Tensor, " q"] | None = None) -> Float[Tensor, " q"]:
    r"""Area under the precision-recall curve by the trapezoid, as the revisited Oxford and Paris benchmarks compute it.

    .. math:: \mathrm{AP}_k = \frac{1}{\min(k, |R|)} \sum_{i \in R,\, r_i \le k}
              \frac{1}{2} \left( \frac{h_i - 1}{r_i - 1} + \frac{h_i}{r_i} \right),
              \qquad \frac{0}{0} := 1

    It is at most the finite sum, and equal to it where the ranking down to the cut-off is perfect (or has nothing
    right).

    Args:
        ranks: of the positives.
        cutoff: k, of all queries or of each; None for the whole ranking.

    Returns:
        In float64; NaN for a query without positives (average with `nanmean`).

    Raises:
        ValueError: if the cut-off is below 1.

    Reference:
        Radenovic et al., Revisiting Oxford and Paris, CVPR 2018; the definition is Philbin et al.'s, CVPR 2007.

    Example:
        >>> from seekloop.metrics.ranks import ranks_of_positives
        >>> ranks = ranks_of_positives(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[True, False, True]]))
        >>> trapezoid_average_precision(ranks)  # (1 + (1/2 + 2/3) / 2) / 2
        tensor([0.7917], dtype=torch.float64)
    """
    hits, rank = ranks.hits.double(), ranks.rank.double()
    before = torch.where(rank > 1, (hits - 1) / (rank - 1).clamp(min=1), 1.0)
    return _mean_of_positives((before + hits / rank) / 2, ranks, cutoff)


def precision_at(ranks: Ranks, k: int) -> Float[Tensor, " q"]:
    r"""Share of positives among the first images: k of them, or fewer where the last positive comes earlier.

    .. math:: \frac{|\{i \in R : r_i \le k'\}|}{k'}, \qquad k' = \min(k, \max_{i \in R} r_i)

    So that a query with three positives, all of them first, earns 1 within ten. The usual precision divides by k.

    Returns:
        In float64; NaN for a query without positives in its ranking.

    Raises:
        ValueError: if k is below 1.

    Reference:
        Radenovic et al., Revisiting Oxford and Paris, CVPR 2018 (mP@k).
    """
    _check(torch.tensor([k]))
    padded = F.pad(ranks.rank.masked_fill(~ranks.ranked, 0), (1, 0))  # a column even without positives
    looked_at = padded.amax(dim=1).clamp(max=k)
    positives = (ranks.ranked & (ranks.rank <= looked_at[:, None])).sum(dim=1)
    return positives.double() / looked_at


def recall_at(ranks: Ranks, k: int) -> Float[Tensor, " q"]:
    r"""Whether a positive is among the first k images, as Recall@k counts in image retrieval.

    .. math:: \left[\, \min_{i \in R} r_i \le k \,\right]

    Its mean is the share of queries with something right among the first k; with k = 1, of those whose first image is
    right. It is not the share of the positives that are found.

    Returns:
        In float64, 0 or 1; NaN for a query without positives.

    Raises:
        ValueError: if k is below 1.

    Example:
        >>> from seekloop.metrics.ranks import ranks_of_positives
        >>> ranks = ranks_of_positives(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[False, True, True]]))
        >>> recall_at(ranks, 1), recall_at(ranks, 2)
        (tensor([0.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    _check(torch.tensor([k]))
    found = (ranks.ranked & (ranks.rank <= k)).any(dim=1).double()
    return found.masked_fill(ranks.positives == 0, torch.nan)


def _mean_of_positives(
    values: Float[Tensor, "q p"], ranks: Ranks, cutoff: int | Int[Tensor, " q"] | None
) -> Float[Tensor, " q"]:
    """The values of the positives within the cut-off, over how many could be there."""
    if cutoff is None:
        return torch.where(ranks.ranked, values, 0.0).sum(dim=1) / ranks.positives
    last = torch.as_tensor(cutoff).expand(len(values))
    _check(last[ranks.positives > 0])
    counted = ranks.ranked & (ranks.rank <= last[:, None])
    return torch.where(counted, values, 0.0).sum(dim=1) / torch.minimum(ranks.positives, last)


def _check(cutoff: Int[Tensor, " _"]) -> None:
    if len(few := cutoff[cutoff < 1]):
        raise ValueError(f"a ranking is looked at down to its first image at least, not to {int(few[0])}")
