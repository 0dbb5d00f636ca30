"""Overlap of boxes with objects: boxes that a search returns, and regions that a detector finds."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.records import Annotations, Regions


def mean_best_iou(
    images: Int[Tensor, "q k"], boxes: Float[Tensor, "q k 4"], truth: Sequence[Mapping[int, Float[Tensor, "_ 4"]]]
) -> Float[Tensor, " q"]:
    r"""A search's mIoU: overlap of the returned boxes with the objects, on the positives among the first k images.

    .. math:: \mathrm{mIoU}_k = \frac{1}{|T_k|} \sum_{i \in T_k} \max_{t \in t_i} \mathrm{IoU}(b_i, t)

    :math:`T_k` are the positives with known boxes :math:`t_i` among those images, and :math:`b_i` is the box returned.
    It measures localisation alone: how many positives were found does not matter.

    Args:
        images: positions in the database in the order of each query's ranking, without what is taken out of it; -1
            where a ranking is shorter.
        boxes: what was returned as the object on each of them; not numbers (nothing returned) counts 0.
        truth: per query, the boxes of the object on the images where they are known.

    Returns:
        In float64; NaN for a query without such a positive (average with `nanmean`).

    Raises:
        ValueError: if there are not as many queries in `truth`.

    Example:
        >>> found = torch.tensor([[4, 2]]), torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]]])
        >>> mean_best_iou(*found, [{2: torch.tensor([[0.0, 0.0, 1.0, 0.5]])}])
        tensor([0.5000], dtype=torch.float64)
    """
    if len(truth) != len(images):
        raise ValueError(f"{len(images)} rankings come with the truth about {len(truth)} queries")
    means = [torch.zeros(0, dtype=torch.float64)]
    for ranking, returned, known in zip(images.tolist(), boxes, truth, strict=True):
        ranks = [rank for rank, image in enumerate(ranking) if image in known]
        objects = [known[ranking[rank]] for rank in ranks]
        owner = torch.repeat_interleave(torch.arange(len(ranks)), torch.tensor([len(one) for one in objects]).long())
        overlap = _paired_iou(
            returned[ranks].nan_to_num(0.0).double()[owner], torch.cat([returned[:0], *objects]).double()
        )
        best = overlap.new_zeros(len(ranks)).scatter_reduce(0, owner, overlap, "amax")
        means.append(best.mean()[None])
    return torch.cat(means)


def _paired_iou(a: Float[Tensor, "k 4"], b: Float[Tensor, "k 4"]) -> Float[Tensor, " k"]:
    """Intersection over union of each row of `a` with the same row of `b`; 0 where both are degenerate."""
    sides = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    common = sides.prod(dim=1)
    union = box_geometry.area(a) + box_geometry.area(b) - common
    return torch.where(union > 0, common / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def corloc(boxes: Float[Tensor, "n 4"], truth: Annotations, threshold: float) -> float:
    r"""Correct localisation: share of the annotated images on which the one box found covers some object.

    .. math:: \mathrm{CorLoc} = \frac{1}{|I|} \sum_{i \in I} \left[ \max_{t \in t_i} \mathrm{IoU}(b_i, t) \ge \theta
              \right]

    :math:`I` are the images with objects. NaN where there are none.

    Args:
        boxes: the one found on each image of the collection; not numbers where nothing was found, which is wrong.
        truth: the objects that count, of any class.
        threshold: :math:`\theta`, customarily 0.5.

    Reference:
        Deselaers, Alexe & Ferrari, Localizing Objects While Learning Their Appearance, ECCV 2010.

    Example:
        >>> truth = Annotations(("a",), *(torch.zeros(1, dtype=torch.long),) * 2, torch.tensor([[0.0, 0.0, 0.5, 1.0]]),
        ...                     *(torch.zeros(1, dtype=torch.bool),) * 2)
        >>> corloc(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), truth, 0.5)
        1.0
    """
    covered = _paired_iou(boxes[truth.image].nan_to_num(0.0).double(), truth.box.double()) >= threshold
    objects, right = (truth.image[rows].bincount(minlength=len(boxes)) > 0 for rows in (..., covered))
    return float(right[objects].double().mean())


def best_iou(regions: Regions, truth: Annotations) -> Float[Tensor, " o"]:
    """For every annotated object, the IoU with the region of its image that covers it best; 0 without regions."""
    best = torch.zeros(len(truth.image), dtype=torch.float64)
    rows_of: dict[int, list[int]] = {}
    for row, image in enumerate(truth.image.tolist()):
        rows_of.setdefault(image, []).append(row)
    for image, rows in rows_of.items():
        parts = regions.of(image).double()
        if len(parts):
            best[rows] = box_geometry.iou(truth.box[rows].double(), parts).amax(dim=1)
    return best


def recall_at_iou(regions: Regions, truth: Annotations, thresholds: Float[Tensor, " t"]) -> Float[Tensor, " t"]:
    r"""Share of the annotated objects that some region of their image covers, for several demands.

    .. math:: \mathrm{recall}(\theta) = \frac{1}{o} \sum_{j=1}^{o} \left[ \max_m \mathrm{IoU}(r_m, t_j) \ge \theta
              \right]

    Falls with the threshold, and never falls when regions are added. Regions may be ragged or the same on all images.

    Args:
        regions: of the collection's images.
        truth: the objects that count, of any class.
        thresholds: the values of :math:`\theta`.

    Returns:
        In float64; NaN where nothing is annotated.

    Reference:
        Sun et al., class agnostic instance-level descriptor, Fig. 7.
    """
    return (best_iou(regions, truth)[None, :] >= thresholds[:, None]).double().mean(dim=1)
