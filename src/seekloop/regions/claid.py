"""CLAID: cut the map of tokens in two again and again; connected pieces that hold energetic tokens are regions."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import islice
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Interval
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, component
from seekloop.regions.cuts import VARIANTS, Bisect, Node
from seekloop.regions.graph import UNLIKE, Cosine, gram
from seekloop.regions.ksums import KSums
from seekloop.regions.segments import Segments, components, mask_boxes

PURITY = {"paper": 0.2, "released": 0.1}
RELEASED_PATCH = 8  # pixels of a token in the released code, whose boxes `variant=released` repeats


@component
class Claid:
    r"""Class-agnostic regions at every level of a hierarchy of cuts.

    All tokens are cut in two; so is, level by level, each connected component of a side (corners connect) of at least
    `smallest` tokens, unless the likeness inside it says that it is one thing. A component is a region if enough
    of it is energetic: if :math:`|C \cap H| / |C| > \tau_2`, where H are the tokens of largest L1 norm. Whether it is
    a region and whether it is cut on are independent; equal regions of different levels are all kept. The whole
    image is never a region, and it is cut as any component is (Algorithm 1): if all its tokens are alike, nothing is
    found. The released code always cuts it.

    Work and memory grow with the square of the number of tokens. Everything happens on the CPU.

    Args:
        variant: paper, or released for the rules of the code released with it; see `cuts.Variant`.
        alpha: cosine above which two tokens are alike.
        termination: :math:`\tau_1`, likeness from which on a component is not cut any more; None: cut as long as
            there are components.
        purity: :math:`\tau_2`, a share, or one for each variant; None: every component is a region.
        smallest: fewest tokens of a component.
        connected: whether the connected components of a side are what is cut on (the paper's getObject); else it is the
            side as it is. Without them and without `termination`, `purity` and `smallest`, D levels of cuts give
            :math:`2^{D+1} - 2` regions, as many as Table VIII counts, where no set is left whole.
        energetic: share of the image's tokens that count as energetic.
        max_depth: most levels; None: no limit.
        bisect: how a node is cut in two.

    Raises:
        ConfigError: if a setting is out of its range.

    Reference:
        Sun et al., "Class Agnostic Instance-level Descriptor for Visual Instance Search" (CLAID).
    """

    revision: ClassVar[int] = 2

    variant: Literal["paper", "released"] = "paper"
    alpha: Cosine = 0.2
    termination: float | None = 0.97
    purity: float | Mapping[str, float] | None = field(default_factory=lambda: dict(PURITY))
    smallest: Count = 15
    connected: bool = True
    energetic: Annotated[float, Interval(gt=0, le=1)] = 0.3
    max_depth: Count | None = None
    bisect: Bisect = KSums()

    def __post_init__(self) -> None:
        if isinstance(self.purity, Mapping):  # from here on it is the variant's: what a store's key is made of
            object.__setattr__(self, "purity", float(self.purity[self.variant]))

    def __call__(self, tokens: Float[Tensor, "h w d"], rng: Generator) -> Segments:
        """Regions level by level, from left to right in the tree; the score is the purity, `affine` leaves itself out.

        Args:
            tokens: after the last norm, of their own length.
            rng: draws the orders in which tokens are visited.

        Raises:
            ValueError: if a token is not finite.
        """
        h, w, _ = tokens.shape
        flat = tokens.detach().cpu().float().flatten(0, 1)
        if not bool(flat.isfinite().all()):
            raise ValueError("tokens are not finite: the network or its input is at fault, not this image's regions")
        root, energetic = node_of(flat, self.alpha), energetic_tokens(flat, self.energetic)
        masks, level, score = [], [], []
        for depth, parts in enumerate(islice(self._levels(root, (h, w), rng), self.max_depth), start=1):
            for part in parts:
                purity = float(energetic[part.members].mean())
                if not isinstance(self.purity, float | int) or purity > self.purity:
                    mask = np.zeros(h * w, dtype=bool)
                    mask[part.members] = True
                    masks.append(mask.reshape(h, w))
                    level.append(depth)
                    score.append(purity)
        found = torch.from_numpy(np.array(masks, dtype=bool).reshape(-1, h, w))
        return Segments(
            found,
            torch.tensor(level, dtype=torch.long),
            torch.tensor(score),
            root.alike_pairs / root.pairs if root.pairs else None,
            released_boxes(found, RELEASED_PATCH) if self.variant == "released" else None,
        )

    def _levels(self, root: Node, size: tuple[int, int], rng: Generator) -> Iterator[list[Node]]:
        """Components of each level; the next is cut only when it is asked for."""
        variant = VARIANTS[self.variant]
        nodes = [root] if len(root.members) > self.smallest and (variant.cuts_root or self._cut_on(root)) else []
        while nodes:
            parts = []
            for node in nodes:
                second = self.bisect(node, variant, rng)
                for side in (~second, second) if second.any() and not second.all() else ():
                    parts += [node.part(node.members[within], within) for within in self._pieces(node, side, size)]
            yield parts
            # what a cut leaves of a component of `smallest` tokens is too small
            nodes = [part for part in parts if len(part.members) > self.smallest and self._cut_on(part)]

    def _cut_on(self, part: Node) -> bool:
        """Whether a set of tokens is not yet one thing."""
        limit = self.termination
        return limit is None or likeness(part, VARIANTS[self.variant].diagonal) < limit

    def _pieces(self, node: Node, side: Bool[np.ndarray, " s"], size: tuple[int, int]) -> list[Int[np.ndarray, " t"]]:
        """Positions within the node of the large enough components of a side, or of all of the side."""
        if not self.connected:
            within = side.nonzero()[0]
            return [within] if len(within) >= self.smallest else []
        mask = np.zeros(size[0] * size[1], dtype=bool)
        mask[node.members[side]] = True
        return [np.searchsorted(node.members, part) for part in components(mask.reshape(size), 8, self.smallest)]


def node_of(tokens: Float[Tensor, "n d"], alpha: float) -> Node:
    """All tokens of an image, by their cosines. A token of length 0 is alike to none."""
    cosines = gram(F.normalize(tokens, dim=1)).numpy()
    return Node(np.arange(len(tokens)), cosines, np.count_nonzero(cosines > alpha, axis=1), alpha)


def energetic_tokens(tokens: Float[Tensor, "n d"], share: float) -> Bool[np.ndarray, " n"]:
    r"""The tokens whose L1 norm is at least the one at place :math:`\lfloor (1 - share) n \rfloor` in ascending order.

    Example:
        >>> energetic_tokens(torch.tensor([[1.0], [-4.0], [2.0], [3.0]]), 0.5)
        array([False,  True, False,  True])
    """
    energy = tokens.abs().sum(dim=1, dtype=torch.float64).numpy()
    if not len(energy):
        return energy > 0
    return energy >= np.sort(energy)[math.floor(len(energy) - share * len(energy))]


def likeness(part: Node, diagonal: bool) -> float:
    r"""Mean weight of the edges between two tokens, :math:`\sum_{i \ne j} A_{ij} / (n (n - 1))`.

    Args:
        part: at least two tokens.
        diagonal: whether to add :math:`\sum_i A_{ii}` to the sum, though not to the number it is divided by.
    """
    ones, edges = part.alike_pairs, part.pairs
    if diagonal:
        ones, edges = ones + part.alike_to_themselves, edges + len(part.members)
    return (ones + UNLIKE * (edges - ones)) / part.pairs


def released_boxes(masks: Bool[Tensor, "m h w"], patch: int) -> Float[Tensor, "m 4"]:
    """Boxes as the released code has them, for comparison with it: the far edges are wrong.

    Its far edge is at `last * (patch + 1)` pixels where `(last + 1) * patch` is meant: right only where `last` is
    `patch`, too near before it, too far behind it; here it stays inside the image.

    Args:
        masks: of tokens.
        patch: side of a token in pixels.
    """
    _, h, w = masks.shape
    boxes, size = mask_boxes(masks), torch.tensor([w, h])
    last = boxes[:, 2:] * size - 1
    far = last * (patch + 1) / (patch * size)
    return torch.cat([boxes[:, :2], far.clamp(max=1.0)], dim=1)
