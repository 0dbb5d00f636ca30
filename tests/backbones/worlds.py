"""Transformers without layers: their tokens are the embedded patches, so every one can be computed by hand."""

import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from seekloop.backbones.preprocessing import Preprocessing

PATCH, DIM = 8, 8


def expects(*size: int) -> Preprocessing:
    return Preprocessing((size[0], size[-1]), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic")


def bare_vit(size: tuple[int, int], **kwargs) -> VisionTransformer:
    """No layers, no positions, no norm; token = mean of its patch's red channel, in every dimension."""
    settings = {"pos_embed": "none", "final_norm": False, "global_pool": "", "depth": 0} | kwargs
    model = VisionTransformer(img_size=size, patch_size=PATCH, embed_dim=DIM, num_heads=2, num_classes=0, **settings)
    return marked(model)


def bare_eva(size: tuple[int, int], **kwargs) -> Eva:
    settings = {"use_abs_pos_emb": False, "use_rot_pos_emb": True, "depth": 0, "global_pool": ""} | kwargs
    model = Eva(img_size=size, patch_size=PATCH, embed_dim=DIM, num_heads=2, num_classes=0, **settings)
    model.norm = nn.Identity()
    return marked(model)


def marked(model: nn.Module) -> nn.Module:
    """Class token all -1, registers all -2, -3, ...; patches the mean of red."""
    with torch.no_grad():
        if model.cls_token is not None:
            model.cls_token.fill_(-1)
        if model.reg_token is not None:
            model.reg_token.copy_(-2 - torch.arange(model.reg_token.shape[1])[None, :, None].expand_as(model.reg_token))
        model.patch_embed.proj.weight.zero_()[:, 0] = 1 / PATCH**2
        model.patch_embed.proj.bias.zero_()
    return model


def numbered(rows: int, columns: int) -> Tensor:
    """An image whose patch (i, j) has red 10 i + j."""
    cells = 10.0 * torch.arange(rows)[:, None] + torch.arange(columns)
    red = cells.repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)
    return torch.stack([red, torch.full_like(red, 99), torch.full_like(red, 77)])[None]


def small_vit(**kwargs) -> VisionTransformer:
    """Two real layers, random; 4x4 patches unless asked otherwise."""
    settings = {"img_size": 32, "depth": 2, "init_values": 1e-2, "global_pool": "token"} | kwargs
    torch.manual_seed(0)
    model = VisionTransformer(patch_size=PATCH, embed_dim=16, num_heads=2, num_classes=0, **settings)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))  # so that nothing is at its initial zero or one
    return model.eval()
