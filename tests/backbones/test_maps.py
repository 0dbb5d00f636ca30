import pytest
import torch
from torch import nn

from seekloop.backbones.cnn import MapTokens
from seekloop.backbones.maps import Maps
from seekloop.backbones.vit import PatchTokens
from seekloop.contracts.errors import ConfigError
from tests.backbones.worlds import PATCH, bare_eva, bare_vit, expects, numbered, small_vit


def flexible(**kwargs):
    return PatchTokens(small_vit(dynamic_img_size=True, reg_tokens=2, **kwargs), "small", (), expects(32))


def picture(rows, columns):
    return torch.randn(1, 3, rows * PATCH, columns * PATCH, generator=torch.Generator().manual_seed(3))


def test_each_token_lies_where_its_patch_is():
    """Three rows of two patches through a network set up for 2 x 2: patch (i, j) is 10 i + j."""
    network = PatchTokens(bare_vit((16, 16), dynamic_img_size=True, depth=1), "bare", (), expects(16))
    with torch.no_grad():
        for module in network.trunk.blocks.modules():
            if isinstance(module, nn.Linear):
                module.weight.zero_(), module.bias.zero_()
    found = Maps(network, ("tokens",), None)(numbered(3, 2))["tokens"]
    assert found[0, :, :, 0].tolist() == [[0, 1], [10, 11], [20, 21]]


@pytest.mark.parametrize(("place", "feature"), list(enumerate(["queries", "keys", "values"])))
@pytest.mark.parametrize("layer", [0, -1])
def test_what_attention_compares_is_written_out(place, feature, layer):
    """The block's input, normed, times the third of the stacked weights that is this feature's; class token and
    registers left out. Another third, another block or a forgotten norm give other numbers."""
    network = flexible()
    found = Maps(network, (feature, "tokens"), layer)(picture(3, 5))[feature]
    trunk, block = network.trunk, network.trunk.blocks[layer]
    embedded = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(picture(3, 5))))
    sequence = embedded if layer == 0 else trunk.blocks[0](embedded)
    weight, bias = (part.chunk(3)[place] for part in (block.attn.qkv.weight, block.attn.qkv.bias))
    want = (block.norm1(sequence) @ weight.T + bias)[:, 3:].reshape(1, 3, 5, 16)
    torch.testing.assert_close(found, want.detach())


@pytest.mark.parametrize("place", range(3))
def test_queries_keys_and_values_of_layers_of_their_own(place):
    """Networks that do not stack them."""
    trunk = bare_eva((16, 16), depth=1, dynamic_img_size=True, qkv_fused=False)
    with torch.no_grad():
        trunk.patch_embed.proj.weight.normal_(generator=torch.Generator().manual_seed(1))
    block = trunk.blocks[0]
    layer = (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj)[place]
    feature = ("queries", "keys", "values")[place]
    found = Maps(PatchTokens(trunk, "eva", (), expects(16)), (feature,), None)(picture(2, 3))[feature]
    want = layer(block.norm1(trunk.patch_embed(picture(2, 3))))
    torch.testing.assert_close(found, want.detach())


def test_tokens_of_the_last_block_are_the_backbones_own():
    network = flexible(depth=3)
    own = network(picture(4, 4)).patches
    for layer in (None, -1, 2):
        torch.testing.assert_close(Maps(network, ("tokens",), layer)(picture(4, 4))["tokens"], own)


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_tokens_of_an_earlier_block_are_normed(pool):
    """By the norm behind the average, too, in networks that keep it there."""
    network = flexible(global_pool=pool)
    trunk = network.trunk
    early = trunk.fc_norm(trunk.norm(trunk.blocks[0](trunk._pos_embed(trunk.patch_embed(picture(4, 4))))))[:, 3:]
    for layer in (0, -2):
        found = Maps(network, ("tokens",), layer)(picture(4, 4))["tokens"]
        torch.testing.assert_close(found.flatten(1, 2), early.detach())


def test_maps_of_a_network_in_half_precision_are_in_float32():
    found = Maps(flexible().bfloat16(), ("tokens", "keys"), None)(picture(2, 2))
    assert {name: one.dtype for name, one in found.items()} == {"tokens": torch.float32, "keys": torch.float32}


def test_one_pass_gives_all_features_and_leaves_no_hook_behind():
    maps = Maps(flexible(), ("keys", "tokens"), None)
    assert list(maps(picture(2, 2))) == ["keys", "tokens"]
    assert not any(module._forward_hooks for module in maps.modules())


class Halved(nn.Module):
    """A map with a cell for every two rows of a column."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        return [nn.functional.avg_pool2d(pixels, (2, 1)) * self.weight]


def test_a_convolutional_network_gives_its_cells_at_any_size():
    network = MapTokens(Halved(), "halved", 3, (), expects(8))
    maps = Maps(network, ("tokens",), None)
    assert maps.patch == (2, 1)
    pixels = torch.arange(3 * 4 * 6.0).reshape(1, 3, 4, 6)
    assert maps(pixels)["tokens"][0, 1, 2].tolist() == [(14 + 20) / 2 + 24 * channel for channel in range(3)]
    with pytest.raises(ConfigError, match=r"feature='keys'.*convolutional"):
        Maps(network, ("keys",), None)
    with pytest.raises(ConfigError, match=r"layer=2"):
        Maps(network, ("tokens",), 2)


def test_what_cannot_work_is_refused_by_its_key():
    with pytest.raises(ConfigError, match=r"feature='heads'.*tokens, queries, keys, values"):
        Maps(flexible(), ("heads",), None)
    with pytest.raises(ConfigError, match=r"layer=2.*0 to 1"):
        Maps(flexible(), ("keys",), 2)
    rigid = PatchTokens(small_vit(), "rigid", (), expects(32))
    with pytest.raises(ConfigError, match=r"backbone.*one size only"):
        Maps(rigid, ("tokens",), None)
    with pytest.raises(ValueError, match="no multiple"):
        Maps(flexible(), ("tokens",), None)(torch.zeros(1, 3, 20, 16))
