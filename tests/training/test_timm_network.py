from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import save_file

from seekloop.commands.configs import load_entry
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import NetworkSource
from seekloop.training.networks import resized
from seekloop.training.timm_network import TimmModel

CONF = Path(__file__).parents[2] / "conf" / "model"
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


def vit(**keys):
    settings = {
        "options": TINY,
        "weights": None,
        "small_stem": False,
        "image_size": None,
        "unit": False,
        "sobel": False,
    }
    return TimmModel("vit_tiny_patch16_224", **(settings | keys))


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_the_configs_build_for_small_images(name):
    source = instantiate(load_entry(CONF / f"{name}.yaml"))
    network = source.build(5, 0).eval()
    assert isinstance(source, NetworkSource)
    features = network.features(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, network.dim)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    assert network.head(features).shape == (2, 5)
    assert (source.mean, source.std) == (None, None)


def test_the_small_stem_keeps_the_maps_large():
    """Of 32 pixels, three halvings are left of the five that ResNets have: maps of 4x4, not 1x1."""
    source = instantiate(OmegaConf.load(CONF / "resnet18.yaml"))
    trunk = source.build(5, 0).trunk.eval()
    assert trunk.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)
    assert sum(value.numel() for value in trunk.parameters()) == 11_168_832  # CIFAR's ResNet-18 without its head


def test_weights_depend_on_the_seed_alone():
    first, again, other = (vit().build(3, seed).state_dict() for seed in (0, 0, 1))
    assert all(value.equal(again[name]) for name, value in first.items())
    assert not first["trunk.patch_embed.proj.weight"].equal(other["trunk.patch_embed.proj.weight"])


def test_published_weights_come_with_their_normalisation(tmp_path):
    """Heads differ with the seed, trunks are those of the file."""
    trained = vit().build(3, 5)
    save_file({name: value.clone() for name, value in trained.trunk.state_dict().items()}, tmp_path / "w.safetensors")
    source = vit(weights=str(tmp_path / "w.safetensors"))
    first, other = source.build(3, 0), source.build(3, 1)
    for network in (first, other):
        for name, value in network.trunk.state_dict().items():
            assert value.equal(trained.trunk.state_dict()[name])
    assert not first.head.weight.equal(other.head.weight)
    assert source.mean == (0.5, 0.5, 0.5)


def test_images_are_brought_to_the_size_asked_for():
    pixels = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert resized(pixels, None) is pixels
    assert resized(pixels, (8, 8)) is pixels
    small = resized(torch.arange(8.0).expand(1, 3, 8, 8), (4, 4))[0, 0, 0]
    torch.testing.assert_close(small[1:3], torch.tensor([2.5, 4.5]), atol=0.1, rtol=0)  # means of two, not every second
    assert vit(image_size=32).build(3, 0)(pixels).shape == (1, 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"small_stem": True}, "TimmModel: small_stem=True .*does not begin with one convolution"),
        ({"small_stem": True, "weights": "hub"}, "TimmModel: small_stem=True .*another first layer"),
        ({"sobel": True, "weights": "hub"}, "TimmModel: sobel=True .*another first layer"),
        ({"options": {"patches": 3}}, "TimmModel: options=.*patches"),
        ({"weights": "nowhere.pth"}, "TimmModel: weights='nowhere.pth' .*no such file"),
    ],
)
def test_settings_that_cannot_work_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        vit(**keys).build(3, 0)


def test_unknown_models_are_refused_with_similar_ones():
    with pytest.raises(ConfigError, match=r"TimmModel: model='resnet19' .*Similar"):
        TimmModel("resnet19", {}, None, False, None, True, False)


def test_with_sobel_the_first_layer_has_two_channels():
    assert vit(sobel=True).build(3, 0).trunk.patch_embed.proj.in_channels == 2
