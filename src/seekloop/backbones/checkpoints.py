"""Weights from a file into a trunk: every parameter or an error, never a silent random initialisation."""

import argparse
import contextlib
import hashlib
import io
import math
import pickle
import re
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from seekloop.contracts.errors import ConfigError

KEY = "backbone.checkpoint"
WRAPPERS = ("teacher", "model_ema", "state_dict", "model")  # dictionaries that training scripts put around weights
PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.")
HEADS = (  # what sits on top of the trunk; a file may have it or not
    "head.",
    "head_dist.",
    "fc.",
    "classifier.",
    "pre_logits.",
    "attn_pool.",
    "dino_head.",
    "ibot_head.",
    "projectors.",
    "local_cls_norm",
    "mask_token",
)
PROJECTION = "patch_embed.proj.weight"
SHOWN = 4  # keys named in an error


def load(trunk: nn.Module, path: str | Path) -> None:
    """Fill every parameter and buffer of the trunk from a file, whatever names its publisher used.

    Position embeddings of another resolution change the trunk's input size; nothing is resampled here.

    Raises:
        ConfigError: if the file is missing, unreadable, or of another architecture; the message names a few keys.
    """
    weights = _with_timm_names(trunk, _unwrapped(read(path)), path)
    weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    _check(trunk, weights, path)
    own = trunk.state_dict()
    trunk.load_state_dict({name: value for name, value in weights.items() if name in own}, strict=False)


def read(path: str | Path) -> dict[str, Any]:
    """What is in a safetensors or torch file, on the CPU. Torch files are read without running any code in them.

    Raises:
        ConfigError: if there is no such file, or it holds no weights.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(KEY, str(path), "there is no such file", "Give the path of a safetensors, pth or pt file.")
    try:
        if file.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(file))
        with torch.serialization.safe_globals([argparse.Namespace]):  # DINO's files carry their training arguments
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        why = (
            f"the file cannot be read as weights ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )
        raise ConfigError(KEY, str(path), why, "Give a safetensors file, or a pth file of tensors only.") from error
    if not isinstance(content, Mapping):
        raise ConfigError(KEY, str(path), f"it holds a {type(content).__name__}", "Save the model's state_dict().")
    return dict(content)


def weights_hash(trunk: nn.Module, *words: str) -> str:
    """Hash of the values of all parameters and floating buffers as float32, sorted by name.

    `words` are what values do not show but outputs depend on, such as where a network strides.
    """
    digest = hashlib.blake2b(digest_size=16)
    for word in words:
        digest.update(word.encode() + b"\0")
    for name, value in sorted(trunk.state_dict().items()):
        if value.is_floating_point():
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def without_heads(trunk: nn.Module) -> nn.Module:
    """The same network; whatever sits on top of its features is replaced by the identity."""
    for name, _ in list(trunk.named_children()):
        if f"{name}." in HEADS:
            setattr(trunk, name, nn.Identity())
    return trunk


def _unwrapped(content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors themselves, free of the dictionaries and prefixes around them."""
    while inner := next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None):
        content = dict(inner)
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    while prefix := next((p for p in PREFIXES if any(name.startswith(p) for name in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    return weights


def _with_timm_names(trunk: nn.Module, weights: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Rename official names to timm's with timm's own converter for this kind of network, where it has one."""
    convert: Callable[..., dict[str, Tensor]] | None
    convert = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    weights = {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in weights.items()}
    _check_embedding(trunk, weights, path)
    _match_position_grid(trunk, weights)
    if any(name == "register_tokens" or ".mlp.w12." in name for name in weights):
        weights.setdefault("mask_token", torch.zeros(1))  # by this key timm recognises DINOv2's names
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # timm prints about DINOv3's absent biases
            return dict(convert(weights, trunk))
    except (RuntimeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        raise _misfit(path, f"its tensors cannot be brought to this model's shapes ({error})") from error


def _check_embedding(trunk: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse other patches and other tokens before them, which timm would resample away without a word."""
    own = trunk.state_dict()
    found, needed = weights.get(PROJECTION), own.get(PROJECTION)
    if found is not None and needed is not None and found.shape != needed.shape:
        raise _misfit(path, f"{PROJECTION} is {tuple(found.shape)}, not {tuple(needed.shape)}")
    for names in (("cls_token",), ("reg_token", "register_tokens", "storage_tokens")):
        have, want = (sum(w[name].shape[1] for name in names if name in w) for w in (weights, own))
        if have != want:
            raise _misfit(path, f"it has {have} tokens in {' or '.join(names)}, the model {want}")


def _match_position_grid(trunk: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give the trunk the resolution that the file's positions were trained at, so that they load as they are."""
    network: Any = trunk  # whose attributes no type knows
    found = weights.get("pos_embed")
    if getattr(network, "pos_embed", None) is None or found is None or found.ndim != 3:
        return
    prefix = 0 if getattr(network, "no_embed_class", False) else network.num_prefix_tokens
    counts = (found.shape[1] - before for before in (prefix, 1, 0))  # positions of tokens before the patches
    side = next((math.isqrt(count) for count in counts if count > 0 and math.isqrt(count) ** 2 == count), None)
    height, width = network.patch_embed.patch_size
    if side and (side, side) != tuple(network.patch_embed.grid_size):
        network.set_input_size(img_size=(side * height, side * width))


def _check(trunk: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise unless the file has the trunk, the whole trunk, and nothing but the trunk and its heads."""
    own = {name: value for name, value in trunk.state_dict().items() if not name.endswith("num_batches_tracked")}
    missing = own.keys() - weights.keys()
    surplus = {
        n for n in weights.keys() - own.keys() if not n.startswith(HEADS) and not n.endswith("num_batches_tracked")
    }
    other = [
        f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    found = [("it lacks", missing), ("it has besides", surplus), ("shapes differ:", other)]
    if missing or surplus or other:
        raise _misfit(path, "; ".join(f"{what} {_few(names)}" for what, names in found if names))


def _few(names: Collection[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")


def _misfit(path: str | Path, why: str) -> ConfigError:
    return ConfigError(
        KEY,
        str(path),
        f"these are weights of another architecture: {why}",
        "Choose the backbone, and registers, that the file was trained as.",
    )
