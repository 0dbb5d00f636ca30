import argparse
import logging
import re
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from timm.models.convnext import ConvNeXt

from seekloop.backbones.weights import checkpoints
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


def before(prefix, weights):
    return {prefix + name: value for name, value in weights.items()}


def networks():
    """Two networks whose values differ everywhere: that of the last step, and the one that is meant."""
    last = small_vit().state_dict()
    meant = {name: value + 1 for name, value in last.items()}
    return last, meant


def loaded(path, content, **settings):
    """What a network holds after loading a file of this content."""
    torch.save(content, path)
    return loaded_from(path, **settings)


def loaded_from(path, **settings):
    target = small_vit(**settings)
    reset(target)
    checkpoints.load(target, path)
    return target.state_dict()


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


PREFERRED = {  # (last step, meant) -> content, what is taken, what is not used
    "timm's training": (lambda w, a: {"state_dict": w, "state_dict_ema": a}, "state_dict_ema", "state_dict"),
    **{
        name: (lambda w, a, name=name: {"model": w, name: a}, name, "model")
        for name in (
            "ema",
            "EMA",
            "model_ema",
            "modelEma",
            "ema_model",
            "ema_state_dict",
            "module_ema",
            "averaged_model",
            "swa_model",
            "model_avg",
            "ema_0.9999",
            "polyak",
            "shadow",
            "teacher",
        )
    },
    "average first": (lambda w, a: {"ema": a, "model": w}, "ema", "model"),
    "unknown word beside": (lambda w, a: {"network": w, "network_ema": a}, "network_ema", "network"),
    "average inside": (lambda w, a: {"model": w, "ema": {"decay": 0.9, "state_dict": a}}, "ema.state_dict", "model"),
    "AveragedModel": (
        lambda w, a: {"model": w, "swa": {"n_averaged": torch.tensor(3), **before("module.", a)}},
        "swa.module",
        "model",
    ),
    "two prefixes": (
        lambda w, a: {"state_dict": {**before("model.", w), **before("ema_model.", a)}},
        "state_dict.ema_model",
        "state_dict.model",
    ),
    "net and net_ema": (lambda w, a: {**before("net.", w), **before("net_ema.", a)}, "net_ema", "net"),
    "no prefix and ema.": (lambda w, a: {**w, **before("ema.", a)}, "ema", None),
    "nested prefixes": (lambda w, a: {**before("model.", w), **before("model.ema.", a)}, "model.ema", "model"),
    "Lightning": (
        lambda w, a: {
            "state_dict": {
                **before("model.", w),
                **before("ema.module.", a),
                "ema.n_averaged": torch.tensor(2),
                "loss.weight": torch.zeros(3),
            }
        },
        "state_dict.ema.module",
        "state_dict.model",
    ),
    "Lightning's weight averaging": (
        lambda w, a: {"state_dict": before("net.", a), "current_model_state": before("net.", w)},
        "state_dict.net",
        "current_model_state.net",
    ),
    "MMEngine": (
        lambda w, a: {
            "meta": {"mmengine_version": "0.10.0"},
            "state_dict": before("backbone.", a),
            "ema_state_dict": before("module.backbone.", w) | {"steps": torch.tensor(4)},
        },
        "state_dict.backbone",
        "ema_state_dict.module.backbone",
    ),
    "ema_pytorch": (
        lambda w, a: {"ema": {**before("online_model.", w), **before("ema_model.", a), "step": torch.tensor(3)}},
        "ema.ema_model",
        "ema.online_model",
    ),
    "not an average": (lambda w, a: {"model_non_ema": w, "model_ema": a}, "model_ema", "model_non_ema"),
    "student and teacher": (lambda w, a: {**before("student.", w), **before("teacher.", a)}, "teacher", "student"),
    "DINOv2's training": (
        lambda w, a: {"model": {**before("student.backbone.", w), **before("teacher.backbone.", a)}, "iteration": 9},
        "model.teacher.backbone",
        "model.student.backbone",
    ),
    "average of the student": (lambda w, a: {"student": w, "teacher": w, "student_ema": a}, "student_ema", "teacher"),
}


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize(("wrap", "taken", "left"), PREFERRED.values(), ids=PREFERRED)
def test_the_average_is_loaded_and_said(wrap, taken, left, ending, tmp_path, caplog):
    last, meant = networks()
    content, path = wrap(last, meant), tmp_path / f"w{ending}"
    if ending == ".pth":
        torch.save(content, path)
    elif any("mmengine" in str(value) for value in content.values()):
        pytest.skip("safetensors files keep no notes of MMEngine")
    else:
        save_file({name: value.clone() for name, value in flat(content).items()}, path)
    assert_equal(loaded_from(path), meant)
    (told,) = caplog.messages
    assert f"{path}: {taken!r} was loaded; " in told
    assert (f"{left!r}" if left else "the names without a prefix") + " is not used" in told


def flat(content, path=""):
    """Nested dictionaries as safetensors files have them: names joined by dots, tensors only."""
    found = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found |= flat(value, f"{path}{name}.")
        elif isinstance(value, torch.Tensor):
            found[path + name] = value
    return found


ALONE = {
    **{
        prefix: lambda a, prefix=prefix: {"state_dict": before(prefix, a)}
        for prefix in (
            "net.",
            "encoder.",
            "teacher.backbone.",
            "module.model.encoder.",
            "_fsdp_wrapped_module.",
            "_orig_mod.",
            "_orig_mod.module._orig_mod.",
            "my.own.long.path.to.it.",
        )
    },
    "unknown dictionary": lambda a: {"network": a},
    "dictionaries in dictionaries": lambda a: {"checkpoint": {"weights": {"vit": a}}},
    "list": lambda a: {"models": [a]},
    "wrapped inside": lambda a: {
        name.replace("blocks.", "blocks._checkpoint_wrapped_module.").replace("attn.", "_fsdp_wrapped_module.attn."): v
        for name, v in before("module.", a).items()
    },
    "compiled blocks": lambda a: {name.replace(".0.", ".0._orig_mod."): value for name, value in a.items()},
    "optimiser by number": lambda a: {
        "model": a,
        "optimizer": {"state": {k: {"exp_avg": torch.ones_like(v)} for k, v in enumerate(a.values())}},
    },
    "optimiser by name": lambda a: {
        "model": a,
        "optimizer": {"state": {k: {"exp_avg": torch.ones_like(v)} for k, v in a.items()}},
        "optim": {"exp_avg": {k: torch.ones_like(v) for k, v in a.items()}},
        "momentum_buffer": {k: torch.ones_like(v) for k, v in a.items()},
    },
    "ema is a number": lambda a: {"model": a, "ema": 0.999},
    "ema is nothing": lambda a: {"model": a, "ema": None, "ema_state_dict": {}},
    "ema has settings": lambda a: {"model": a, "ema": {"decay": 0.999, "updates": torch.tensor(5)}},
    "the same twice": lambda a: {"model": a, "state_dict": {k: v.clone() for k, v in a.items()}},
    "numbers of numpy": lambda a: {"model": a, "metric": np.float64(0.5), "epoch": np.int64(3)},
}


@pytest.mark.parametrize("wrap", ALONE.values(), ids=ALONE)
def test_one_network_is_found_behind_anything(wrap, tmp_path):
    _, meant = networks()
    assert_equal(loaded(tmp_path / "w.pth", wrap(meant)), meant)


@pytest.mark.parametrize("name", ["net.", "encoder.", "module.model.encoder.", "_fsdp_wrapped_module."])
def test_a_convolutional_network_is_found_behind_a_prefix(name, tmp_path):
    """Names such as conv1.weight also end the names of its blocks."""
    last, meant = timm.create_model("resnet18", num_classes=0), timm.create_model("resnet18", num_classes=0)
    content = {**before(name, last.state_dict()), **before("ema." + name, meant.state_dict())}
    torch.save({"state_dict": content}, tmp_path / "w.pth")
    target = timm.create_model("resnet18", num_classes=0)
    checkpoints.load(target, tmp_path / "w.pth")
    assert_equal(target.state_dict(), meant.state_dict())


def lacking(weights):
    return {name: value for name, value in weights.items() if name != "blocks.1.attn.proj.bias"}


@pytest.mark.parametrize(
    ("average", "why"),
    [
        (lambda a: lacking(a), "it lacks blocks.1.attn.proj.bias"),
        (lambda a: {k: v for k, v in a.items() if "blocks.0.mlp" in k}, "it does not hold the whole network"),
        (lambda a: {"shadow_params": list(a.values())}, "it does not hold the whole network"),
        (lambda a: {k.replace(".", ""): v for k, v in a.items()}, "it does not hold the whole network"),
        (lambda a: a | {"norm.weight": torch.zeros(3)}, "shapes differ: norm.weight (3,) for (16,)"),
    ],
    ids=["one lacks", "few", "without names", "names without dots", "other shapes"],
)
def test_an_average_that_is_no_whole_network_is_passed_over_and_told(average, why, tmp_path, caplog):
    last, meant = networks()
    assert_equal(loaded(tmp_path / "w.pth", {"model": meant, "ema": average(last)}), meant)
    (told,) = caplog.messages
    assert "'model' was loaded; 'ema' cannot be used (" in told
    assert why in told


def test_a_larger_teacher_is_passed_over(tmp_path, caplog):
    """Distillation: the student is the network that was asked for, its teacher another one with the same names."""
    _, meant = networks()
    content = {"student": meant, "teacher": small_vit(depth=3, img_size=48).state_dict()}
    assert_equal(loaded(tmp_path / "w.pth", content), meant)
    assert "'teacher' cannot be used (it has besides blocks.2." in caplog.messages[0]


@pytest.mark.parametrize("names", [("model", "network"), ("encoder_q", "encoder_k"), ("ema_0.99", "ema_0.9999")])
@pytest.mark.parametrize("wrapped", [True, False])
def test_two_networks_of_equal_right_are_refused_by_name(names, wrapped, tmp_path):
    first, second = names
    last, meant = networks()
    content = {first: last, second: meant} if wrapped else {**before(f"{first}.", last), **before(f"{second}.", meant)}
    with pytest.raises(ConfigError, match=r"2 networks in it fit .* Save the tensors of the one you mean") as error:
        loaded(tmp_path / "w.pth", content)
    assert all(repr(name) in str(error.value) for name in names)
    assert error.value.key == "checkpoint"


def test_the_choice_is_one_line_of_the_program(tmp_path):
    """Without anybody's setting up of logging, as in the commands."""
    last, meant = networks()
    torch.save({"state_dict": last, "state_dict_ema": meant}, tmp_path / "w.pth")
    code = "from seekloop.backbones.weights import checkpoints\nfrom timm.models import VisionTransformer\n" + (
        "checkpoints.load(VisionTransformer(img_size=32, patch_size=8, embed_dim=16, num_heads=2, depth=2, "
        f"num_classes=0, init_values=1e-2), {str(tmp_path / 'w.pth')!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import seekloop\n" + code], capture_output=True, text=True, check=True
    )
    assert done.stderr == f"{tmp_path / 'w.pth'}: 'state_dict_ema' was loaded; 'state_dict' is not used\n"


def test_a_single_network_is_loaded_without_a_word(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        loaded(tmp_path / "w.pth", {"state_dict": before("net.", networks()[1])})
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            {"state_dict": {"net.stem.0.weight": torch.zeros(2), "net.stem.1.weight": torch.zeros(2)}},
            "no tensor called cls_token is in it; the names in the file begin with "
            "state_dict.net.stem.0. (1), state_dict.net.stem.1. (1)",
        ),
        (
            before("a.", {f"layer{k}.weight": torch.zeros(2) for k in range(6)}),
            "a.layer0. (1), a.layer1. (1), a.layer2. (1), a.layer3. (1) and 2 more",
        ),
    ],
    ids=["stem", "many"],
)
def test_names_of_another_world_are_listed(content, named, tmp_path):
    with pytest.raises(ConfigError, match="no tensor called cls_token") as error:
        loaded(tmp_path / "w.pth", content)
    assert named in str(error.value)


def test_the_error_names_the_prefix_that_is_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"behind 'model\.teacher\.backbone', it lacks blocks\.1\.attn\.proj\.bias"):
        loaded(tmp_path / "w.pth", {"model": before("teacher.backbone.", lacking(networks()[1]))})


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"ema": None}, {"optimizer": {"state": {0: torch.zeros(2)}}}])
def test_a_file_without_named_tensors(content, tmp_path):
    with pytest.raises(ConfigError, match=r"there are no named tensors in it\. Save the model's state_dict"):
        loaded(tmp_path / "w.pth", content)


def test_positions_of_a_misfit_do_not_change_the_size(tmp_path):
    """An average of 6x6 patches lacks a tensor; the whole network has 4x4 patches, and they load as they are."""
    _, meant = networks()
    content = {"model": meant, "ema": lacking(small_vit(img_size=48).state_dict())}
    assert_equal(loaded(tmp_path / "w.pth", content), meant)


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


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"model": w}, lambda w: {"state_dict": before("module.", w)}])
def test_official_names_that_only_timm_knows(wrap, tmp_path):
    """ConvNeXt's own names share next to nothing with timm's, so that no prefix can be told by them."""
    settings = {"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 8), "num_classes": 0}
    source, target = (checkpoints.without_heads(ConvNeXt(**settings)) for _ in range(2))
    official = {}
    for name, value in source.state_dict().items():
        name = re.sub(
            r"stages\.(\d)\.downsample", r"downsample_layers.\1", name.replace("stem.", "downsample_layers.0.")
        )
        name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        official[name] = value
    torch.save(wrap(official), tmp_path / "w.pth")
    checkpoints.load(target, tmp_path / "w.pth")
    same(source, target)


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
    assert error.value.key == "checkpoint"
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
    with pytest.raises(ConfigError, match=r"cannot be read as weights \(it holds a \S*print, which is no tensor\)"):
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
