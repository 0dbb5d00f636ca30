import argparse

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked

from seekloop.backbones import checkpoints
from seekloop.contracts.errors import ConfigError
from tests.backbones.worlds import small_vit

WRAPS = {
    "bare": lambda w: w,
    "state_dict": lambda w: {"state_dict": w, "epoch": 3},
    "model": lambda w: {"model": w},
    "dino's teacher": lambda w: {
        "student": {"module.backbone.cls_token": torch.zeros(1)},
        "teacher": {f"backbone.{k}": v for k, v in w.items()} | {"head.mlp.0.weight": torch.zeros(2)},
        "args": argparse.Namespace(arch="vit"),
    },
    "data parallel": lambda w: {f"module.{k}": v for k, v in w.items()},
    "half": lambda w: {k: v.half() for k, v in w.items()},
    "with a head": lambda w: w | {"head.weight": torch.zeros(5, 16), "head.bias": torch.zeros(5)},
}


def same(a, b, **tolerance):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_every_parameter_arrives_whatever_is_around_it(wrap, tmp_path):
    source, target = small_vit(reg_tokens=4), small_vit(reg_tokens=4)
    reset(target)
    torch.save(wrap(source.state_dict()), tmp_path / "w.pth")
    checkpoints.load(target, tmp_path / "w.pth")
    same(source, target, atol=1e-3, rtol=1e-3)


def reset(model):
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(float("nan"))


def test_safetensors(tmp_path):
    source, target = small_vit(), small_vit()
    reset(target)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    checkpoints.load(target, str(tmp_path / "w.safetensors"))
    same(source, target)


def officially_named(weights, registers):
    """DINOv2's own names: a mask token; with registers, a position for the class token that timm has added up."""
    official = {"mask_token": torch.zeros(1, 16)} | weights
    if registers:
        official["register_tokens"] = official.pop("reg_token")
        own = torch.full((1, 1, 16), 0.25)
        official["cls_token"] = official["cls_token"] - own
        official["pos_embed"] = torch.cat([own, official["pos_embed"]], dim=1)
    return {
        k.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.") if "w12" else k: v for k, v in official.items()
    }


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("giant", [False, True])
def test_official_dinov2_names(registers, giant, tmp_path):
    settings = {"reg_tokens": 4, "no_embed_class": True} if registers else {}
    settings |= {"mlp_layer": SwiGLUPacked} if giant else {}
    source, target = small_vit(**settings), small_vit(**settings)
    reset(target)
    official = officially_named(source.state_dict(), registers)
    if not giant:
        official = {k.replace(".w12.", ".fc1.").replace(".w3.", ".fc2."): v for k, v in official.items()}
    torch.save(official, tmp_path / "w.pth")
    checkpoints.load(target, tmp_path / "w.pth")
    same(source, target, atol=1e-6, rtol=1e-6)


def test_blocks_in_chunks_as_dinov2_trains_them(tmp_path):
    source, target = small_vit(), small_vit()
    reset(target)
    chunked = {
        k.replace("blocks.1.", "blocks.1.1.").replace("blocks.0.", "blocks.0.0."): v
        for k, v in source.state_dict().items()
    }
    torch.save({"teacher": {f"backbone.{k}": v for k, v in chunked.items()}}, tmp_path / "w.pth")
    checkpoints.load(target, tmp_path / "w.pth")
    same(source, target)


def test_positions_of_another_resolution_load_as_they_are(tmp_path):
    """The file was trained on 6x6 patches: nothing is resampled on loading, the network takes that size."""
    source, target = small_vit(img_size=48), small_vit(img_size=32)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    checkpoints.load(target, tmp_path / "w.pth")
    same(source, target)
    assert target.patch_embed.grid_size == (6, 6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"depth": 3}, "lacks blocks.2.attn.proj.bias"),
        ({"depth": 1}, "has besides blocks.1.attn.proj.bias"),
        ({"reg_tokens": 4}, "it has 0 tokens in reg_token or register_tokens or storage_tokens, the model 4"),
        ({"mlp_ratio": 2}, "blocks.0.mlp.fc1.bias"),
        ({"class_token": False, "global_pool": "avg", "fc_norm": False}, "it has 1 tokens in cls_token, the model 0"),
        ({"init_values": None}, "blocks.0.ls1.gamma"),
    ],
    ids=str,
)
def test_weights_of_another_architecture_name_their_keys(settings, named, tmp_path):
    torch.save(small_vit().state_dict(), tmp_path / "w.pth")
    target = small_vit(**settings)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(ConfigError, match="another architecture") as error:
        checkpoints.load(target, tmp_path / "w.pth")
    assert named in str(error.value)
    assert error.value.key == "backbone.checkpoint"
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items()), "half loaded"


def test_patches_of_another_size_are_not_resampled_in_silence(tmp_path):
    weights = small_vit().state_dict()
    weights["patch_embed.proj.weight"] = torch.zeros(16, 3, 7, 7)
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"patch_embed\.proj\.weight is \(16, 3, 7, 7\), not \(16, 3, 8, 8\)"):
        checkpoints.load(small_vit(), tmp_path / "w.pth")


def test_files_that_are_no_weights(tmp_path):
    for name, content in {"a.pth": b"", "b.pth": b"no weights", "c.safetensors": b"no weights"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as weights"):
            checkpoints.read(tmp_path / name)
    torch.save(torch.zeros(2), tmp_path / "d.pth")
    with pytest.raises(ConfigError, match="holds a Tensor"):
        checkpoints.read(tmp_path / "d.pth")
    with pytest.raises(ConfigError, match="no such file"):
        checkpoints.read(tmp_path / "absent.pth")


class Trap:
    """Pickled, it would call print when read by anything but a reader of tensors."""

    def __reduce__(self):
        return print, ("code from a weights file ran",)


def test_no_code_in_a_file_is_run(tmp_path, capsys):
    torch.save({"model": {"cls_token": Trap()}}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        checkpoints.read(tmp_path / "w.pth")
    assert "ran" not in capsys.readouterr().out


def test_running_statistics_are_weights_too(tmp_path):
    model = timm.create_model("resnet18", num_classes=0)
    weights = {k: v for k, v in model.state_dict().items() if k != "layer3.0.bn1.running_var"}
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"lacks layer3\.0\.bn1\.running_var"):
        checkpoints.load(model, tmp_path / "w.pth")


def test_counters_of_batches_may_be_absent(tmp_path):
    model = timm.create_model("resnet18")
    torch.save({k: v for k, v in model.state_dict().items() if "num_batches" not in k}, tmp_path / "w.pth")
    checkpoints.load(checkpoints.without_heads(timm.create_model("resnet18", num_classes=0)), tmp_path / "w.pth")


def test_the_hash_by_hand():
    """Same values under other names, or in another shape, are other weights; precision of storage is not."""
    a = torch.nn.Linear(2, 3)
    b = torch.nn.Linear(2, 3)
    b.load_state_dict(a.state_dict())
    assert checkpoints.weights_hash(a) == checkpoints.weights_hash(b)
    assert checkpoints.weights_hash(a, "x") != checkpoints.weights_hash(a)
    assert checkpoints.weights_hash(torch.nn.Sequential(a)) != checkpoints.weights_hash(a)
    assert checkpoints.weights_hash(b.half()) == checkpoints.weights_hash(b.float())
