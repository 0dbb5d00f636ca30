import inspect
import re
from pathlib import Path

import pytest
import timm
import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from seekloop.commands.configs import load_entry

CONF = Path(__file__).parents[2] / "conf"
SHARED = Path(__file__).parents[2].parent / "shared" / "weights"
BACKBONES = sorted((CONF / "backbone").glob("*.yaml"))
REGISTERS = sorted((CONF / "registers").glob("*.yaml"))


def composed(name, registers="own", **overrides):
    """The config as the command composes it: the backbone beside the registers group."""
    both = OmegaConf.create(
        {
            "backbone": load_entry(CONF / "backbone" / f"{name}.yaml"),
            "registers": OmegaConf.load(CONF / "registers" / f"{registers}.yaml"),
        }
    )
    return OmegaConf.merge(both, {"backbone": overrides}).backbone


@pytest.mark.parametrize("entry", BACKBONES, ids=lambda path: path.stem)
def test_yaml_keys_are_the_constructor_arguments(entry):
    config = load_entry(entry)
    keys = {str(key) for key in config if not str(key).startswith("_")}
    assert keys == set(inspect.signature(get_object(config["_target_"])).parameters)
    assert all("#" in line for line in entry.read_text().splitlines() if line[0] not in " _d")


@pytest.mark.parametrize("entry", BACKBONES, ids=lambda path: path.stem)
def test_every_model_is_published(entry):
    models = load_entry(entry).get("models", {})
    published = set(timm.list_pretrained())
    assert {name for name in models.values() if name not in published} == set()
    assert set(models) <= {path.stem for path in REGISTERS} - {"own"}


@pytest.mark.parametrize("entry", BACKBONES, ids=lambda path: path.stem)
def test_the_size_fits_the_network(entry):
    """Sizes against timm's own record of patch size, without building the networks."""
    config = OmegaConf.create(load_entry(entry))
    found = [re.search(r"_patch(\d+)", name) for name in config.get("models", {}).values()]
    patch = int(found[0][1]) if found and found[0] else None
    if patch is None or config.image_size is None:
        pytest.skip("no patches, or no size of its own")
    assert config.image_size % patch == 0
    assert config.image_size // patch % 4 == 0  # 4x4 grids divide the tokens


@pytest.mark.parametrize("entry", REGISTERS, ids=lambda path: path.stem)
def test_a_registers_file_says_its_own_name(entry):
    assert OmegaConf.load(entry) == {"count": entry.stem}


def test_real_weights_of_dinov2_load_and_tell_places_apart():
    """A red square on rows 4..7, columns 2..5 of the token grid changes those tokens most, and no transposed ones."""
    path = SHARED / "dinov2_vits14_saliency.safetensors"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/weights")
    backbone = instantiate(composed("dinov2_s", checkpoint=str(path)))
    photograph = torch.zeros(1, 3, 224, 224)
    photograph[..., 56:112, 28:84] = torch.tensor([2.0, -1.0, -1.0])[:, None, None]  # a red square, top left
    unlike = (backbone(photograph).patches - backbone(torch.zeros_like(photograph)).patches).norm(dim=-1)[0]
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[4:8, 2:6] = True
    assert unlike[inside].mean() > 1.5 * unlike[~inside].mean()
    assert unlike[inside & ~inside.T].mean() > 1.5 * unlike[inside.T & ~inside].mean()
    assert backbone.grid == (16, 16)


def test_resnet50_v1_composes_with_real_weights():
    path = SHARED / "resnet50_imagenet_v1.safetensors"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/weights")
    backbone = instantiate(composed("resnet50_v1", checkpoint=str(path), image_size=[64, 96]))
    assert backbone(torch.randn(1, 3, 64, 96)).patches.shape == (1, 2, 3, 2048)
