import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seekloop.backbones.vit import NamedTransformer, PatchTokens, VisionTransformer, build
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Backbone
from tests.backbones.worlds import DIM, PATCH, bare_eva, bare_vit, expects, numbered, small_vit

BARE = {
    "class token": (lambda size: bare_vit(size), True, 0),
    "class token and registers": (lambda size: bare_vit(size, reg_tokens=4), True, 4),
    "no class token": (lambda size: bare_vit(size, class_token=False), False, 0),
    "registers only": (lambda size: bare_vit(size, class_token=False, reg_tokens=2), False, 2),
    "eva": (lambda size: bare_eva(size), True, 0),
    "eva with registers": (lambda size: bare_eva(size, num_reg_tokens=4), True, 4),
    "eva without class token": (lambda size: bare_eva(size, class_token=False), False, 0),
    "eva, any size": (lambda size: bare_eva(size, num_reg_tokens=4, dynamic_img_size=True), True, 4),
}


def wrapped(model: nn.Module, *size: int) -> PatchTokens:
    return PatchTokens(model, "test", (), expects(*size))


@pytest.mark.parametrize(("model", "class_token", "registers"), BARE.values(), ids=BARE)
def test_tokens_are_told_apart_by_hand(model, class_token, registers):
    """Two rows of three patches. Patch (i, j) is 10 i + j: a transposed or shifted grid gives other numbers."""
    tokens = wrapped(model((16, 24)), 16, 24)(numbered(2, 3))
    want = torch.tensor([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]])[None, ..., None].expand(1, 2, 3, DIM)
    torch.testing.assert_close(tokens.patches, want)
    marks = -2.0 - torch.arange(registers)
    torch.testing.assert_close(tokens.registers, marks[None, :, None].expand(1, registers, DIM))
    assert (tokens.cls is not None) == class_token
    if class_token:
        torch.testing.assert_close(tokens.cls, torch.full((1, DIM), -1.0))


def test_a_distillation_token_is_neither_class_nor_patch():
    model = timm.create_model("deit_tiny_distilled_patch16_224", depth=1, num_classes=0)
    tokens = wrapped(model, 32, 48)(torch.randn(1, 3, 32, 48))
    assert tokens.registers.shape == (1, 1, 192)
    assert tokens.patches.shape == (1, 2, 3, 192)


@pytest.mark.parametrize("pool", ["token", "avg", "map"])
def test_tokens_come_after_the_final_norm_wherever_the_network_keeps_it(pool):
    """Written out: embed, then LayerNorm with gain 2 and offset 3. Forgetting the norm gives constant tokens."""
    model = bare_vit((16, 16), final_norm=True, global_pool=pool, class_token=pool == "token")
    with torch.no_grad():
        model.patch_embed.proj.weight.normal_(generator=torch.Generator().manual_seed(0))
        norm = model.fc_norm if pool == "avg" else model.norm
        norm.weight.fill_(2.0), norm.bias.fill_(3.0)
    pixels = torch.randn(2, 3, 16, 16)
    embedded = F.conv2d(pixels, model.patch_embed.proj.weight, stride=PATCH).permute(0, 2, 3, 1)
    centred = embedded - embedded.mean(-1, keepdim=True)
    want = 2 * centred / (embedded.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt() + 3
    torch.testing.assert_close(wrapped(model, 16, 16)(pixels).patches, want)


@pytest.mark.parametrize("no_embed_class", [False, True])
def test_positions_are_resampled_to_the_new_grid(no_embed_class):
    """Blank image: the tokens are the positions. The grid is bicubic of 2x2; the class token keeps its own."""
    model = bare_vit((16, 16), pos_embed="learn", reg_tokens=0, no_embed_class=no_embed_class)
    with torch.no_grad():
        model.pos_embed.normal_(generator=torch.Generator().manual_seed(0))
    before = model.pos_embed.clone()
    prefix = before.shape[1] - 4
    grid = before[:, prefix:].unflatten(1, (2, 2)).permute(0, 3, 1, 2)
    want = F.interpolate(grid, size=(3, 5), mode="bicubic", antialias=True, align_corners=False)
    tokens = wrapped(model, 24, 40)(torch.zeros(1, 3, 24, 40))
    torch.testing.assert_close(tokens.patches, want.permute(0, 2, 3, 1))
    torch.testing.assert_close(tokens.cls, before[:, :prefix].sum(dim=1) - 1)


@given(st.integers(1, 4), st.integers(1, 4), st.floats(-3, 3, width=32))
def test_equal_positions_stay_equal_at_any_size(rows, columns, value):
    model = bare_vit((16, 16), pos_embed="learn")
    with torch.no_grad():
        model.pos_embed.fill_(value)
    tokens = wrapped(model, PATCH * rows, PATCH * columns)(numbered(rows, columns))
    torch.testing.assert_close(tokens.patches - value, bare_tokens(rows, columns), atol=1e-4, rtol=1e-4)


def bare_tokens(rows, columns):
    return (10.0 * torch.arange(rows)[:, None] + torch.arange(columns))[None, ..., None].expand(1, rows, columns, DIM)


def test_the_protocol_and_the_frozen_state():
    backbone = wrapped(small_vit(reg_tokens=4).train(), 32)
    assert isinstance(backbone, Backbone)
    assert not backbone.trunk.training
    assert not any(value.requires_grad for value in backbone.parameters())
    assert (backbone.dim, backbone.image_size) == (16, (32, 32))


def test_bfloat16_changes_the_tokens_only_a_little():
    pixels = torch.randn(2, 3, 32, 32)
    whole = wrapped(small_vit(reg_tokens=4), 32)
    half = wrapped(small_vit(reg_tokens=4), 32).to(torch.bfloat16)
    assert half.weights_hash == whole.weights_hash
    a, b = whole(pixels).patches, half(pixels).patches
    assert b.dtype == torch.float32
    assert F.cosine_similarity(a, b, dim=-1).min() > 0.999
    assert not torch.equal(a, b)


def test_another_size_of_pixels_is_refused():
    with pytest.raises(ValueError, match=r"\(16, 32\).*\(32, 32\)"):
        wrapped(small_vit(), 32)(torch.zeros(1, 3, 16, 32))


def test_the_hash_knows_values_words_and_not_the_resolution():
    same, other = small_vit(), small_vit()
    with torch.no_grad():
        next(iter(other.parameters())).view(-1)[0] += 1e-3
    one = wrapped(small_vit(), 32).weights_hash
    assert one == wrapped(same, 64).weights_hash
    assert one != wrapped(other, 32).weights_hash
    assert one != PatchTokens(small_vit(), "test", ("3 heads",), expects(32)).weights_hash


TINY = "vit_tiny_patch16_224"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(TINY)
    torch.save(model.state_dict(), tmp_path / "tiny.pth")
    return model.eval(), str(tmp_path / "tiny.pth")


def test_a_published_network_gives_what_timm_gives(weights):
    model, path = weights
    backbone = VisionTransformer({"none": TINY}, "own", path, None, None)
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        want = model.forward_features(pixels)
    tokens = backbone(pixels)
    torch.testing.assert_close(tokens.cls, want[:, 0])
    torch.testing.assert_close(tokens.patches[0, 3, 5], want[0, 1 + 3 * 14 + 5])
    assert (backbone.image_size, backbone.mean, backbone.interpolation) == ((224, 224), (0.5, 0.5, 0.5), "bicubic")


def test_size_and_normalisation_can_be_overridden(weights):
    _, path = weights
    norm = {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}
    backbone = VisionTransformer({"none": TINY}, "none", path, [64, 96], norm)
    assert (backbone.mean, backbone.std, backbone.image_size) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), (64, 96))
    assert backbone(torch.randn(2, 3, 64, 96)).patches.shape == (2, 4, 6, 192)


def test_a_variant_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="It has: own, none") as error:
        VisionTransformer({"none": TINY}, "four", None, None, None)
    assert error.value.key == "registers"


def test_a_name_chooses_and_registers_only_check(weights):
    _, path = weights
    assert NamedTransformer(TINY, "none", path, None, None).prefix == 1
    with pytest.raises(ConfigError, match="has 0"):
        NamedTransformer(TINY, "four", path, None, None)


def test_names_that_cannot_work():
    with pytest.raises(ConfigError, match=r"no such model\. Similar: .*vit_tiny_patch16"):
        build("vit_tiny_patch17_224")
    with pytest.raises(ConfigError, match="no transformer"):
        build("resnet18")


@pytest.mark.parametrize(
    "name", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "vit_base_patch16_siglip_256"]
)
def test_published_layouts_are_told_apart(name):
    """One layer of each family at a new size: DINOv2 with registers, DINOv3 (Eva), SigLIP (no class token)."""
    model = timm.create_model(name, depth=1, num_classes=0)
    side = 2 * model.patch_embed.patch_size[0]
    tokens = wrapped(model, side, 2 * side)(torch.randn(1, 3, side, 2 * side))
    siglip = "siglip" in name
    assert (tokens.cls is None) == siglip
    assert tokens.registers.shape[1] == (0 if siglip else 4)
    assert tokens.patches.shape[1:3] == (2, 4)
