"""Scores of the tokens of one image: where the model sees the object."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Descriptors, Transductive
from seekloop.contracts.records import Tokens
from seekloop.descriptors.whitening import Whitened
from seekloop.loop.engine import Loop
from seekloop.loop.state import State
from seekloop.store.joined import Joined


def token_scores(loop: Loop, state: State, tokens: Tokens, image: int) -> Float[Tensor, "h w"]:
    """Decision value of every token of one image, for the first search of a state.

    Each token is taken for the local descriptor of a region, joined with the image's global descriptor where the
    representation does so. Where images have no regions, it is taken for a global descriptor.

    Args:
        loop: that made the state.
        state: after an update.
        tokens: of this image alone, by the network that made the loop's descriptors.
        image: position in the collection.

    Raises:
        ConfigError: if the classifier knows whole images only.
        ValueError: if the tokens have other dimensions than the descriptors.
    """
    if isinstance(loop.classifier, Transductive):
        why = "it scores the images of the collection, and no parts of them"
        raise ConfigError("classifier", type(loop.classifier).__name__, why, "Use another classifier.")
    _, rows, columns, dim = tokens.patches.shape
    if dim != loop.descriptors.dim:
        raise ValueError(f"tokens of {dim} dimensions do not fit descriptors of {loop.descriptors.dim}")
    vectors = as_described(loop.descriptors, tokens.patches[0].flatten(0, 1).cpu().float())
    if loop.representation.local.uses_regions:
        own = loop.descriptors.read(torch.tensor([image]), local=False).global_
        vectors = loop.representation.fusion.fuse(own.expand(len(vectors), -1), vectors)
    scorer = loop._decider(state).select(torch.tensor([0]))
    placed = vectors.to(loop.engine.device, loop.engine.dtype)
    return scorer.scores(placed, torch.full((len(placed),), image))[0].reshape(rows, columns).cpu()


def as_described(descriptors: Descriptors, rows: Float[Tensor, "r d"]) -> Float[Tensor, "r e"]:
    """Vectors as these descriptors are read: of unit length, and whitened where these are."""
    if isinstance(descriptors, Whitened):
        return descriptors.whitening.unit(as_described(descriptors.descriptors, rows))
    if isinstance(descriptors, Joined):
        return as_described(descriptors.first, rows)
    return F.normalize(rows, dim=1)
