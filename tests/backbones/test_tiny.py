import json

import pytest
import torch
from safetensors.torch import save_file

from seekloop.backbones import tiny
from seekloop.backbones.tiny import Tiny, build_tiny
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Backbone

ARCHITECTURE = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "class_token": True,
    "reg_tokens": 4,
    "dynamic_img_size": True,
    "num_classes": 0,
    "global_pool": "",
}
HEADER = {"architecture": json.dumps(ARCHITECTURE), "mean": "[0.5, 0.4, 0.3]", "std": "[0.2, 0.2, 0.25]"}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = build_tiny(ARCHITECTURE).half()
    save_file(model.state_dict(), tmp_path / "w.safetensors", HEADER)
    return model.float().eval(), str(tmp_path / "w.safetensors")


def test_the_file_says_what_it_holds(weights):
    model, path = weights
    backbone = Tiny("own", path, None)
    pixels = torch.randn(2, 3, 32, 32)
    tokens = backbone(pixels)
    with torch.no_grad():
        want = model.forward_features(pixels)
    torch.testing.assert_close(tokens.cls, want[:, 0])
    torch.testing.assert_close(tokens.registers, want[:, 1:5])
    torch.testing.assert_close(tokens.patches[:, 2, 1], want[:, 5 + 2 * 4 + 1])
    assert isinstance(backbone, Backbone)
    assert (backbone.mean, backbone.std, backbone.dim) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.25), 24)


def test_another_size(weights):
    assert Tiny("four", weights[1], [24, 40])(torch.randn(1, 3, 24, 40)).patches.shape == (1, 3, 5, 24)
    with pytest.raises(ConfigError, match=r"\[32, 32\] or \[40, 40\]"):
        Tiny("four", weights[1], 33)


def test_there_is_no_variant_without_registers(weights):
    with pytest.raises(ConfigError, match="It has: own, four"):
        Tiny("none", weights[1], None)


def test_the_number_of_heads_is_in_the_hash(weights, tmp_path):
    model, path = weights
    other = HEADER | {"architecture": json.dumps(ARCHITECTURE | {"num_heads": 2})}
    save_file(model.half().state_dict(), tmp_path / "two.safetensors", other)
    assert Tiny("own", path, None).weights_hash != Tiny("own", str(tmp_path / "two.safetensors"), None).weights_hash


def test_files_that_cannot_work(weights, tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        Tiny("own", str(tmp_path / "absent.safetensors"), None)
    save_file(weights[0].state_dict(), tmp_path / "plain.safetensors", {"mean": "[0, 0, 0]"})
    with pytest.raises(ConfigError, match="lacks architecture, std"):
        Tiny("own", str(tmp_path / "plain.safetensors"), None)
    (tmp_path / "noise.safetensors").write_bytes(b"no weights")
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        Tiny("own", str(tmp_path / "noise.safetensors"), None)


def test_the_packaged_weights_load():
    backbone = Tiny("own", None, None)
    tokens = backbone(torch.randn(1, 3, *backbone.image_size))
    assert tokens.patches.shape[1:3] == (16, 16)
    assert tokens.registers.shape[1] == 4
    assert tiny.WEIGHTS.stat().st_size <= 12e6
