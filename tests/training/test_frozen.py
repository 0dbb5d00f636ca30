from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Tokens
from seekloop.training.frozen import Frozen

CONF = Path(__file__).parents[2] / "conf"


class Counting(nn.Module):
    """Gives colour means as class token and remembers how many images it saw."""

    name, dim, image_size = "counting", 3, (8, 8)
    mean, std, interpolation, weights_hash = (0.1,) * 3, (0.2,) * 3, "bilinear", "x"

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, pixels):
        assert pixels.shape[-2:] == self.image_size
        self.seen += len(pixels)
        cls = pixels.mean(dim=(2, 3))
        return Tokens(cls, cls.new_zeros(len(cls), 0, 3), pixels.permute(0, 2, 3, 1))


@pytest.fixture
def pixels():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_features_are_computed_once_for_all_networks_of_the_source(pixels):
    backbone = Counting()
    source = Frozen(backbone, "cls")
    first = source.build(2, 0).features(pixels)
    again = source.build(2, 1).features(pixels.flip(0))
    assert backbone.seen == 4
    torch.testing.assert_close(again.flip(0), first)
    torch.testing.assert_close(first, F.normalize(pixels.mean(dim=(2, 3)), dim=1))


def test_equal_images_of_one_batch_are_computed_once_and_others_by_their_content(pixels):
    backbone = Counting()
    network = Frozen(backbone, "cls").build(2, 0)
    network.features(pixels[:2])
    found = network.features(pixels[[3, 0, 3, 2]])
    assert backbone.seen == 4
    torch.testing.assert_close(found, F.normalize(pixels[[3, 0, 3, 2]].mean(dim=(2, 3)), dim=1))


def test_only_the_head_learns_and_is_saved(pixels):
    network = Frozen(Counting(), "auto").build(2, 0)
    assert network.frozen
    assert set(network.state_dict()) == {"head.weight", "head.bias"}
    with torch.inference_mode():
        network.features(pixels)
    network(pixels).sum().backward()  # what was remembered in inference mode serves training
    assert network.head.weight.grad is not None


def test_memory_forgets_the_oldest(pixels, monkeypatch):
    """Of images 0, 1, 2 the last two are remembered. Of 1, 0, 0 then only 0 is computed, and once."""
    monkeypatch.setattr("seekloop.training.frozen.MOST", 2)
    source = Frozen(Counting(), "cls")
    for image in range(3):
        source.build(2, 0).features(pixels[image : image + 1])
    assert len(source.memory) == 2
    source.build(2, 0).features(pixels[[1, 0, 0]])
    assert source.backbone.seen == 4


def test_more_images_than_it_remembers_are_still_right(pixels, monkeypatch):
    monkeypatch.setattr("seekloop.training.frozen.MOST", 2)
    network = Frozen(Counting(), "cls").build(2, 0)
    network.features(pixels[:2])
    torch.testing.assert_close(network.features(pixels), F.normalize(pixels.mean(dim=(2, 3)), dim=1))


def test_the_parts_of_the_tokens_by_hand():
    cls, patches = torch.tensor([[3.0, 4.0]]), torch.tensor([[[[0.0, 2.0], [0.0, 4.0]]]])
    tokens = Tokens(cls, cls.new_zeros(1, 0, 2), patches)
    auto, cls_token, mean, both = (Frozen(Counting(), choice) for choice in ("auto", "cls", "mean", "both"))
    assert auto.feature(tokens).tolist() == cls_token.feature(tokens).tolist() == [[3.0, 4.0]]
    assert mean.feature(tokens).tolist() == [[0.0, 3.0]]
    torch.testing.assert_close(both.feature(tokens), torch.tensor([[0.6, 0.8, 0.0, 1.0]]))
    without = Tokens(None, cls.new_zeros(1, 0, 2), patches)
    assert auto.feature(without).tolist() == [[0.0, 3.0]]
    with pytest.raises(ConfigError, match=r"Frozen: tokens='cls' .*no class token"):
        cls_token.feature(without)


def test_the_config_takes_the_built_in_backbone():
    parts = {
        "model": OmegaConf.load(CONF / "model" / "frozen.yaml"),
        "backbone": OmegaConf.load(CONF / "backbone" / "tiny.yaml"),
        "registers": OmegaConf.load(CONF / "registers" / "own.yaml"),
    }
    source = instantiate(OmegaConf.create(parts).model)
    network = source.build(3, 0)
    features = network.features(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, source.backbone.dim)
    assert source.mean == source.backbone.mean
    with pytest.raises(ConfigError, match=r"Frozen: tokens='all'"):
        Frozen(source.backbone, "all")
