"""Networks as TorchScript files, small enough for a pencil."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seekloop.backbones.torchscript import TorchScript
from seekloop.contracts.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of those that write the files


class TwoMaps(nn.Module):
    """Of the red channel: means of 8 x 8 pixels beside 1, and of 16 x 16 beside 0."""

    def forward(self, pixels):
        fine, coarse = F.avg_pool2d(pixels[:, :1], 8), F.avg_pool2d(pixels[:, :1], 16)
        return torch.cat([fine, torch.ones_like(fine)], 1), torch.cat([coarse, torch.zeros_like(coarse)], 1)


class Single(nn.Module):
    def forward(self, pixels):
        return F.avg_pool2d(pixels, 8).reshape(1, 3, 4, 4)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "two.ts.pt"
    torch.jit.script(TwoMaps()).save(str(path))
    return str(path)


def image():
    """32 x 32 pixels: red is 1, and 0.75 in the top left quarter of the top left quarter."""
    pixels = torch.ones(1, 3, 32, 32)
    pixels[:, :, :8, :8] = 0.75
    return pixels


def test_a_map_is_read_at_unit_length_by_hand(file):
    """0.75 beside 1 has length 1.25."""
    backbone = TorchScript(file, image_size=32, text_space="mine")
    tokens = backbone(image())
    assert tokens.cls is None
    assert (backbone.dim, backbone.patch, backbone.text_space, backbone.name) == (2, (8, 8), "mine", "two:0")
    torch.testing.assert_close(tokens.patches[0, 0, 0], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(tokens.patches[0, 3, 3], torch.tensor([0.5, 0.5]).sqrt())


def test_the_mean_of_all_maps_brings_coarse_cells_to_the_finest_ones_by_hand(file):
    """The coarse map is (1, 0) everywhere; the fine one (0.6, 0.8) in its first cell and (r, r) elsewhere."""
    tokens = TorchScript(file, image_size=32, map="mean")(image())
    assert tokens.patches.shape == (1, 4, 4, 2)
    torch.testing.assert_close(tokens.patches[0, 0, 0], torch.tensor([0.8, 0.4]))
    torch.testing.assert_close(tokens.patches[0, 0, 1], torch.tensor([(1 + 0.5**0.5) / 2, 0.5**0.5 / 2]))
    assert TorchScript(file, image_size=32, map=1)(image()).patches.shape == (1, 2, 2, 2)


def test_a_file_for_single_images_is_given_one_at_a_time(tmp_path):
    torch.jit.trace(Single(), torch.zeros(1, 3, 32, 32)).save(str(tmp_path / "one.pt"))
    backbone = TorchScript(str(tmp_path / "one.pt"), image_size=32)
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = F.normalize(F.avg_pool2d(pixels, 8), dim=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(backbone(pixels).patches, expected)


def test_what_determines_the_vectors_is_in_the_hash(file):
    first = TorchScript(file, image_size=32).weights_hash
    assert first == TorchScript(file, image_size=32).weights_hash
    assert first != TorchScript(file, image_size=32, map=1).weights_hash
    assert first != TorchScript(file, image_size=32, text_space="mine").weights_hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"map": 2}, r"map=2 .*the network gives 2: \(2, 4, 4\), \(2, 2, 2\)"),
        ({"image_size": 4}, r"image_size=\[4, 4\] cannot work: the network fails"),
        ({"std": [1.0, 0.0, 1.0]}, "std=.*each above 0"),
        ({"checkpoint": None}, "it has no default"),
        ({"checkpoint": "nowhere.pt"}, "there is no such file"),
    ],
)
def test_what_cannot_work_is_said(file, change, message):
    with pytest.raises(ConfigError, match=message):
        TorchScript(**{"checkpoint": file, "image_size": 32, **change})


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"checkpoint=.*the file is no TorchScript"):
        TorchScript(str(tmp_path / "weights.pt"), image_size=32)
    torch.jit.script(nn.Flatten()).save(str(tmp_path / "flat.pt"))
    with pytest.raises(ConfigError, match="gives no maps of shape"):
        TorchScript(str(tmp_path / "flat.pt"), image_size=32)
