"""All queries of one instance as one query."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.images.annotated import Chosen


def join_queries(
    instances: InstanceSearch, kept: Int[Tensor, " q"], vectors: Float[Tensor, "q d"]
) -> tuple[InstanceSearch, Float[Tensor, "i d"]]:
    r"""Join the queries that search for one instance, boxes or texts, into one.

    .. math:: v = \sum_q \frac{v_q}{\lVert v_q \rVert} \bigg/ \Big\lVert \sum_q \frac{v_q}{\lVert v_q \rVert} \Big\rVert

    Right is what is right for one of them; junk is what is junk for one of them and right for none, and the own image
    of each of them, which the searcher has.

    Args:
        instances: the search.
        kept: those of its queries that have vectors.
        vectors: theirs.

    Returns:
        The search with one query for each instance, by the first of its queries; and the vectors.
    """
    rows: dict[str, list[int]] = {}
    for row, query in enumerate(kept.tolist()):
        rows.setdefault(instances.names[query], []).append(row)
    groups = [kept[some].tolist() for some in rows.values()]
    joined = torch.stack([F.normalize(vectors[some], dim=1).sum(dim=0) for some in rows.values()])
    own = [{int(instances.own[query]) for query in group} - {-1} for group in groups]
    boxes = [
        {image: box for query in group for image, box in instances.boxes[query].items() if image not in seen}
        for group, seen in zip(groups, own, strict=True)
    ]
    texts = None if instances.texts is None else [[instances.texts[query] for query in group] for group in groups]
    search = replace(
        instances,
        queries=instances.queries if instances.texts is not None else first_of(instances, groups),
        names=tuple(rows),
        own=torch.full((len(groups),), -1),
        setups={name: union(setup, groups, own) for name, setup in instances.setups.items()},
        boxes=tuple(boxes),
        texts=None if texts is None else tuple(" + ".join(several) for several in texts),
    )
    return search, F.normalize(joined, dim=1)


def union(setup: Relevance, groups: Sequence[Sequence[int]], own: Sequence[set[int]]) -> Relevance:
    """Right images and junk for the queries of each group together."""
    positive, junk = [], []
    for group, seen in zip(groups, own, strict=True):
        right = {image for query in group for image in setup.positive[query].tolist()} - seen
        out = {image for query in group for image in setup.junk[query].tolist()} - right
        positive.append(torch.tensor(sorted(right), dtype=torch.int64))
        junk.append(torch.tensor(sorted(out | seen), dtype=torch.int64))
    return Relevance(tuple(positive), tuple(junk))


def first_of(instances: InstanceSearch, groups: Sequence[Sequence[int]]) -> Chosen:
    """The image and the box of each group's first query."""
    source, first = instances.queries, [group[0] for group in groups]
    known = source.annotations
    place = {query: number for number, query in enumerate(first)}
    some = known.keep(torch.tensor([image in place for image in known.image.tolist()], dtype=torch.bool))
    numbered = replace(some, image=torch.tensor([place[image] for image in some.image.tolist()], dtype=torch.int64))
    return Chosen(f"{source.name}, joined", source, first, numbered, source.problems)
