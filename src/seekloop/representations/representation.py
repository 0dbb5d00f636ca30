"""Representations: labelled images to training rows, region scores to image scores."""

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Answer, Block, Feedback
from seekloop.contracts.scorers import LinearScorer
from seekloop.representations.fusion import Fusion, NoFusion
from seekloop.representations.local import GLOBAL, PROTOTYPE, All, Local, RowChoice, best_overlap


@component
class Representation:
    """A local strategy and a fusion, put together; LO-All by default.

    Where a region stands in for a box that nobody drew, the image's other regions train nothing: some of them show the
    object, too.

    Raises:
        ConfigError: if a fusion is asked for without local descriptors.
    """

    local: Local = All()
    fusion: Fusion = NoFusion()
    revision: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.fusion.uses_global and not self.local.uses_regions:
            raise ConfigError(
                "fusion",
                type(self.fusion).__name__.lower(),
                "without a local strategy there is no local descriptor to join with the global one",
                "Use representation/fusion=none, or representation/local=all, one_rand or one_proto.",
                self,
            )

    def rows(self, feedback: Feedback, regions: Float[Tensor, "m 4"], best: int | None, rng: Generator) -> RowChoice:
        """Training rows of one answered image.

        Args:
            feedback: the answer; "unsure" trains nothing.
            regions: boxes of the image's regions.
            best: the region that the model scored highest when it asked; stands in for a box that was not drawn.
            rng: for strategies that draw.
        """
        if feedback.answer is Answer.UNSURE:
            return RowChoice(torch.empty(0, dtype=torch.long), torch.empty(0))
        if feedback.answer is Answer.IRRELEVANT:
            return self.local.negative(regions, rng)
        box, stands_in = feedback.box, feedback.box is None and best is not None and best >= 0
        choice = self.local.positive(regions, regions[best] if stands_in else box)
        if self.fusion.keep_pos_negatives and not stands_in:
            return choice
        return RowChoice(choice.region[choice.label > 0], choice.label[choice.label > 0])

    def query_region(self, regions: Float[Tensor, "m 4"], box: Float[Tensor, " 4"] | None) -> int:
        """Region of the query's own object; GLOBAL where only g is used, PROTOTYPE without a box."""
        if not self.local.uses_regions:
            return GLOBAL
        return PROTOTYPE if box is None else best_overlap(regions, box)

    def vectors(self, block: Block, position: Int[Tensor, " k"], region: Int[Tensor, " k"]) -> Float[Tensor, "k e"]:
        """The classified vector of each (image of the block, region) pair; GLOBAL and PROTOTYPE are understood."""
        global_ = block.global_[position]
        if block.local is None or block.offsets is None:
            return global_
        index = block.offsets[position] + region.clamp(min=0)
        local = block.local[index.clamp(max=max(len(block.local) - 1, 0))]
        special = region == PROTOTYPE
        if special.any():
            local = torch.where(special.to(local.device)[:, None], self.prototypes(block)[position], local)
        local = torch.where((region == GLOBAL).to(local.device)[:, None], global_, local)
        return self.fusion.fuse(global_, local)

    def prototypes(self, block: Block) -> Float[Tensor, "b d"]:
        """Mean of each image's local descriptors; zero for an image without any."""
        if block.local is None or block.offsets is None:
            raise ValueError("prototypes need local descriptors, and this block holds global ones only")
        total = torch.zeros_like(block.global_).index_add_(0, block.owner.to(block.local.device), block.local)
        mean = total / block.offsets.diff().clamp(min=1).to(total.device)[:, None]
        return F.normalize(mean, dim=1) if self.local.renorm else mean

    def streams(self, weights: Float[Tensor, "q e"]) -> bool:
        """Whether hyperplanes score images by products alone, without a look at the descriptors."""
        return self.fusion.split(weights) is not None and not self.local.scores_prototype

    def of_hyperplanes(
        self, block: Block, weights: Float[Tensor, "q e"], intercept: Float[Tensor, " q"]
    ) -> Float[Tensor, "q b"]:
        r"""Score of each image: :math:`s_i = \max_m w \cdot x_{i,m} + b`; -inf for an image without regions.

        Hyperplanes are applied to global and local descriptors apart where the fusion allows it, so that fused vectors
        are not built.
        """
        parts = self.fusion.split(weights)
        if parts is None:
            return self.of_vectors(block, LinearScorer(weights, intercept).scores)
        if block.offsets is None:
            return (block.global_products(weights) + intercept).T
        global_, local = parts
        scores = _region_max(block.local_products(local), block.offsets)
        if self.local.scores_prototype:
            scores = scores.maximum(self.prototypes(block) @ local.T)
        if global_ is not None:
            scores = scores + block.global_products(global_)
        return (scores + intercept).T

    def of_vectors(
        self, block: Block, scores: Callable[[Float[Tensor, "r e"], Int[Tensor, " r"]], Float[Tensor, "q r"]]
    ) -> Float[Tensor, "q b"]:
        """Score of each image where `scores` takes vectors and their images: the highest of its regions."""
        if block.local is None or block.offsets is None:
            return scores(block.global_, block.image)
        vectors, image = [self.fusion.fuse(block.global_[block.owner], block.local)], [block.image[block.owner]]
        if self.local.scores_prototype:
            vectors.append(self.fusion.fuse(block.global_, self.prototypes(block)))
            image.append(block.image)
        of_regions = scores(torch.cat(vectors), torch.cat(image))
        regions = int(block.offsets[-1])
        best = _region_max(of_regions[:, :regions].T, block.offsets).T
        return best.maximum(of_regions[:, regions:]) if self.local.scores_prototype else best


def _region_max(scores: Float[Tensor, "r q"], offsets: Int[Tensor, " ends"]) -> Float[Tensor, "b q"]:
    """Maximum over each image's regions; -inf where it has none."""
    counts = offsets.diff()
    if len(counts) and bool((counts == counts[0]).all()) and counts[0] > 0:
        return scores.reshape(len(counts), int(counts[0]), -1).amax(dim=1)
    best = scores.new_full((len(counts), scores.shape[1]), -torch.inf)
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts).to(scores.device)
    return best.scatter_reduce_(0, owner[:, None].expand_as(scores), scores, "amax")
