"""Weights from a file into a trunk: every parameter or an error, never a silent random initialisation."""

import argparse
import contextlib
import hashlib
import io
import logging
import math
import pickle
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from seekloop.backbones import file_parts
from seekloop.backbones.file_parts import Part
from seekloop.contracts.errors import ConfigError

_log = logging.getLogger(__name__)
KEY = "backbone.checkpoint"
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
_numpy_scalar = np.float64().__reduce__()[0]
HARMLESS: list[Any] = [  # types beside tensors that training scripts save: arguments (DINO), numbers (timm's metric)
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int32", "int64", "bool")),
    *((_numpy_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
PROJECTION = "patch_embed.proj.weight"
OTHER = "these are weights of another architecture: "
SHOWN = 4  # keys named in an error


def load(trunk: nn.Module, path: str | Path) -> None:
    """Fill every parameter and buffer of the trunk from a file, whatever names its publisher used.

    The weights may lie in dictionaries and behind prefixes of any name. Of several networks in a file an average over
    training steps (`ema`, `swa`, ...) is taken before a teacher, and that before any other; a warning says which was.
    Position embeddings of another resolution change the trunk's input size; nothing is resampled here.

    Raises:
        ConfigError: if the file is missing, unreadable, or of another architecture (the message names a few keys), or
            holds several networks that fit and none of them goes first.
    """
    content = read(path)
    parts = file_parts.find(content, set(trunk.state_dict()))
    weights = {
        name: value.float() if value.is_floating_point() else value
        for name, value in _chosen(trunk, content, parts, path).items()
    }
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
        with torch.serialization.safe_globals(HARMLESS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        why = f"the file cannot be read as weights ({_first_cause(error)})"
        raise ConfigError(KEY, str(path), why, "Give a safetensors file, or a pth file of tensors only.") from error
    if not isinstance(content, Mapping):
        raise ConfigError(KEY, str(path), f"it holds a {type(content).__name__}", "Save the model's state_dict().")
    return dict(content)


def _first_cause(error: Exception) -> str:
    """One line; of torch's long message about types that it does not read, the type."""
    text = str(error)
    if found := re.search(r"Unsupported global: GLOBAL (\S+)", text):
        return f"it holds a {found[1]}, which is no tensor"
    return text.splitlines()[0] if text else type(error).__name__


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


def _chosen(trunk: nn.Module, content: Mapping[Any, Any], parts: Sequence[Part], path: str | Path) -> dict[str, Tensor]:
    """The weights to load, by the trunk's names: those of the first rank with a part that fits the trunk."""
    fitting: list[tuple[Part, dict[str, Tensor]]] = []
    misfits: dict[Part, ConfigError] = {}
    for part in parts:
        if fitting and part.rank > fitting[0][0].rank:
            break
        try:
            weights = _fitted(trunk, part, path)
        except ConfigError as error:
            misfits[part] = error
            continue
        if not any(_equal(weights, other) for _, other in fitting):
            fitting.append((part, weights))
    if not fitting:
        raise _nothing_fits(trunk, content, parts, misfits, path)
    if len(fitting) > 1:
        names = ", ".join(part.name for part, _ in fitting)
        why = f"{len(fitting)} networks in it fit and their names do not say which one is meant: {names}"
        fix = "Save the tensors of the one you mean as a file of its own, and give that file."
        raise ConfigError(KEY, str(path), why, fix)
    part, weights = fitting[0]
    _tell(part, parts, misfits, file_parts.averages(content, len(trunk.state_dict()) // 10), path)
    return weights if len(misfits) == 0 else _fitted(trunk, part, path)  # a misfit may have changed the input size


def _fitted(trunk: nn.Module, part: Part, path: str | Path) -> dict[str, Tensor]:
    """A part's weights by the trunk's names.

    Raises:
        ConfigError: if they are not the trunk's.
    """
    weights = _with_timm_names(trunk, dict(part.weights), path)
    _check(trunk, weights, path)
    return weights


def _equal(weights: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether the same values are there twice, which leaves nothing to choose."""
    return weights.keys() == other.keys() and all(torch.equal(weights[name], other[name]) for name in weights)


def _tell(
    taken: Part, parts: Sequence[Part], misfits: Mapping[Part, ConfigError], averages: Sequence[str], path: str | Path
) -> None:
    """Warn where there was a choice, and of averages that could not be taken."""
    likely = [part for part in parts if part is not taken and 2 * part.known >= taken.known]
    left = [f"{part.name} is not used" for part in likely if part not in misfits]
    left += [f"{part.name} cannot be used ({_reason(misfits[part])})" for part in likely if part in misfits]
    seen = (taken.prefix, *(part.prefix for part in likely))
    unseen = [average for average in averages if not any(prefix.startswith(average) for prefix in seen)]
    left += [f"{average!r} cannot be used (it does not hold the whole network by its names)" for average in unseen]
    if left:
        _log.warning("%s: %s was loaded; %s", path, taken.name, "; ".join(left))


def _nothing_fits(
    trunk: nn.Module,
    content: Mapping[Any, Any],
    parts: Sequence[Part],
    misfits: Mapping[Part, ConfigError],
    path: str | Path,
) -> ConfigError:
    """The misfit of the part that is most like the trunk; with the names found, where it is hardly like it."""
    names = file_parts.names(content)
    if not names:
        return ConfigError(KEY, str(path), "there are no named tensors in it", "Save the model's state_dict().")
    nearest = max(parts, key=lambda part: part.known)
    why = _reason(misfits[nearest])
    if nearest.prefix:
        why = f"behind {nearest.name}, {why}"
    if 2 * nearest.known < len(trunk.state_dict()):
        why += f"; the names in the file begin with {file_parts.beginnings(names)}"
    return _misfit(path, why)


def _reason(error: ConfigError) -> str:
    return error.why.removeprefix(OTHER)


def _with_timm_names(trunk: nn.Module, weights: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Rename official names to timm's with timm's own converter for this kind of network, where it has one."""
    convert: Callable[..., dict[str, Tensor]] | None
    convert = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    _check_embedding(trunk, weights, path)
    _match_position_grid(trunk, weights)
    if any(name == "register_tokens" or ".mlp.w12." in name for name in weights):
        weights.setdefault("mask_token", torch.zeros(1))  # by this key timm recognises DINOv2's names
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # timm prints about DINOv3's absent biases
            return dict(convert(weights, trunk))
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        raise _misfit(path, f"its tensors cannot be brought to this model's shapes ({error})") from error


def _check_embedding(trunk: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse other patches and other tokens before them, which timm would resample away without a word."""
    own = trunk.state_dict()
    found, needed = weights.get(PROJECTION), own.get(PROJECTION)
    if found is not None and needed is not None and found.shape != needed.shape:
        raise _misfit(path, f"{PROJECTION} is {tuple(found.shape)}, not {tuple(needed.shape)}")
    for names in (("cls_token",), ("reg_token", "register_tokens", "storage_tokens")):
        have, want = (sum(w[name].shape[1] for name in names if name in w) for w in (weights, own))
        if have != want and not have and names == ("cls_token",):
            raise _misfit(path, "no tensor called cls_token is in it")
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
        f"{OTHER}{why}",
        "Choose the backbone, and registers, that the file was trained as.",
    )
