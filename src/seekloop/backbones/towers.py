"""Networks of the built-in pair for images and texts: a ViT and a small transformer over words, and their space."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

PADDING = 0  # the word that is none


class ImageTower(nn.Module):
    """A ViT whose class token and patch tokens are brought to the space of the texts, each by a linear map.

    Args:
        trunk: arguments of timm's `VisionTransformer`; it has a class token.
        dim: d of the space, which may differ from the width of the tokens.
    """

    def __init__(self, trunk: Mapping[str, Any], dim: int) -> None:
        super().__init__()
        self.trunk = VisionTransformer(**trunk)
        self.whole, self.dense = nn.Linear(self.trunk.num_features, dim), nn.Linear(self.trunk.num_features, dim)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b p d"]]:
        """A vector for the image, and one for each patch, row by row; of unit length."""
        return self.aligned(self.trunk.forward_features(pixels))

    def aligned(self, sequence: Float[Tensor, "b t k"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b p d"]]:
        """The same from the tokens after the final norm."""
        patches = sequence[:, self.trunk.num_prefix_tokens :]
        whole, dense = self.whole(sequence[:, 0]), self.dense(patches)
        return F.normalize(whole.float(), dim=-1), F.normalize(dense.float(), dim=-1)


class TextTower(nn.Module):
    """A transformer over words: the token in front of them becomes the text's vector.

    Args:
        words: different words, without `PADDING`.
        length: most words of a text.
        width: of the tokens.
        depth: layers.
        heads: of each attention.
        dim: d of the space.
    """

    def __init__(self, words: int, length: int, width: int, depth: int, heads: int, dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words + 1, width, padding_idx=PADDING)
        self.places = nn.Parameter(0.02 * torch.randn(length + 1, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.whole = nn.Linear(width, dim)

    def forward(self, words: Int[Tensor, "t l"]) -> Float[Tensor, "t d"]:
        """One vector of unit length for each text; `PADDING` follows its words."""
        front = self.places[:1].expand(len(words), 1, -1)
        tokens = torch.cat([front, self.words(words) + self.places[1 : words.shape[1] + 1]], dim=1)
        ignored: Bool[Tensor, "t l1"] = F.pad(words == PADDING, (1, 0))
        return F.normalize(self.whole(self.layers(tokens, src_key_padding_mask=ignored)[:, 0]).float(), dim=-1)


class Towers(nn.Module):
    """Both towers.

    Args:
        image: arguments of the trunk of the image tower.
        text: arguments of the text tower without `dim`.
        dim: d of the space that they share.
    """

    def __init__(self, image: Mapping[str, Any], text: Mapping[str, Any], dim: int) -> None:
        super().__init__()
        self.image, self.text = ImageTower(image, dim), TextTower(**text, dim=dim)
