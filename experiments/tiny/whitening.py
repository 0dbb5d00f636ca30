"""Spread the variance of a trained network's output over its dimensions, within the same architecture.

A linear classifier that sees few examples of unit length uses directions of large variance first. A partial whitening
(each principal axis divided by the root of its standard deviation) and centring suit it better, and both fit in the
gain and bias of the last LayerNorm once the principal axes are the network's own. They can be made so: LayerNorm's
gains and biases move into the linear maps that follow them, and then everything that writes to the residual stream
is rotated, and everything that reads from it rotated back. A rotation that keeps the vector of ones in place
commutes with a LayerNorm of gain one, so the network computes the same up to that rotation.
"""

from copy import deepcopy

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

POWER = 0.75  # of the standard deviation that each principal axis is divided by


def whitened(network: VisionTransformer, outputs: Tensor, power: float = POWER) -> VisionTransformer:
    """A network whose outputs are centred and partly whitened.

    Args:
        network: trained, pre-norm, without layer scale.
        outputs: a sample (k, d) of what the last LayerNorm gives before its gain and bias.
        power: 0 for centring alone, 1 for unit variance.
    """
    changed = deepcopy(network)
    mean = outputs.double().mean(0)
    variance, axes = torch.linalg.eigh(torch.cov(outputs.double().T))
    order = variance.argsort(descending=True)[:-1]  # the last is the vector of ones, along which nothing varies
    rotation = onto_own_axes(axes[:, order])
    unfold_norms(changed)
    rotate(changed, rotation.float())
    deviation = variance[order].clamp(min=variance.max() * 1e-4).sqrt()
    gain = torch.cat([deviation**-power, torch.zeros(1)])
    gain /= gain.pow(2).mul(torch.cat([variance[order], torch.zeros(1)])).mean().sqrt()
    with torch.no_grad():
        changed.norm.weight.copy_(gain)
        changed.norm.bias.copy_(-gain * (rotation @ mean))
    return changed


def onto_own_axes(axes: Tensor) -> Tensor:
    """The rotation (d, d) that keeps ones in place and turns the d - 1 axes, as nearly as it can, onto coordinates."""
    size = len(axes)
    ones = torch.full((size, 1), size**-0.5, dtype=axes.dtype)
    # Coordinates without their mean are the nearest to an axis that a vector orthogonal to ones can be.
    centred = torch.eye(size, dtype=axes.dtype)[:, :-1] - 1 / size
    left, _, right = torch.linalg.svd(centred, full_matrices=False)
    return left @ right @ axes.T + ones @ ones.T


@torch.no_grad()
def unfold_norms(network: VisionTransformer) -> None:
    """Move every LayerNorm's gain and bias into the linear map that reads it, except the last one's."""
    for block in network.blocks:
        for norm, reader in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
            reader.bias += reader.weight @ norm.bias
            reader.weight *= norm.weight
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)


@torch.no_grad()
def rotate(network: VisionTransformer, rotation: Tensor) -> None:
    """Rotate the residual stream."""
    stem = network.patch_embed.proj
    stem.weight.copy_((rotation @ stem.weight.flatten(1)).view_as(stem.weight))
    stem.bias.copy_(rotation @ stem.bias)
    for embedding in (network.cls_token, network.reg_token, network.pos_embed):
        embedding.copy_(embedding @ rotation.T)
    for block in network.blocks:
        for reader in (block.attn.qkv, block.mlp.fc1):
            reader.weight.copy_(reader.weight @ rotation.T)
        for writer in (block.attn.proj, block.mlp.fc2):
            writer.weight.copy_(rotation @ writer.weight)
            writer.bias.copy_(rotation @ writer.bias)
