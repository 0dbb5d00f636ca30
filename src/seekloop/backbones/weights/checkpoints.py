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
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from seekloop.backbones.weights import hub, parts
from seekloop.backbones.weights.parts import Part
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.lazy import lazily

if TYPE_CHECKING:
    import timm
else:
    timm = lazily("timm")

_log = logging.getLogger(__name__)
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
SHOWN = 4  # keys named in an error


class MisfitError(ValueError):
    """Tensors that are not the trunk's, and why."""


def fill(trunk: nn.Module, name: str, path: str | Path | None) -> None:
    """Fill a trunk from a file; None: with the weights that are published under its name in timm.

    Raises:
        ConfigError: about `checkpoint`, if the weights cannot be had or are not the trunk's.
    """
    load(trunk, hub.fetch(name, timm.get_pretrained_cfg(name)) if path is None else path)


def load(trunk: nn.Module, path: str | Path) -> None:
    """Fill every parameter and buffer of the trunk from a file, whatever names its publisher used.

    The weights may lie in dictionaries and behind prefixes of any name. Of several networks in a file an average over
    training steps (`ema`, `swa`, ...) is taken before a teacher, and that before any other; a warning says which was.
    Position embeddings of another resolution change the trunk's input size; nothing is resampled here.

    Raises:
        ConfigError: if the file is missing, unreadable, or of another architecture (the message names a few keys), or
            holds several networks that fit and none of them goes first.
    """
    content, own = read(path), trunk.state_dict()
    candidates = parts.find(content, set(own))
    fitting: list[tuple[Part, dict[str, Tensor]]] = []
    misfits: dict[Part, str] = {}
    for part in candidates:
        if fitting and part.rank > fitting[0][0].rank:
            break
        try:
            weights = _fitted(trunk, part)
        except MisfitError as misfit:
            misfits[part] = str(misfit)
            continue
        if not any(_equal(weights, other) for _, other in fitting):
            fitting.append((part, weights))
    if not fitting:
        raise _nothing_fits(trunk, content, candidates, misfits, path)
    if len(fitting) > 1:
        names = ", ".join(part.name for part, _ in fitting)
        why = f"{len(fitting)} networks in it fit and their names do not say which one is meant: {names}"
        fix = "Save the tensors of the one you mean as a file of its own, and give that file."
        raise ConfigError("checkpoint", str(path), why, fix)
    part, weights = fitting[0]
    _warn(part, candidates, misfits, parts.averages(content, len(own) // 10), path)
    weights = _fitted(trunk, part) if misfits else weights  # a misfit may have changed the input size
    known = trunk.state_dict().keys() & weights.keys()
    values = {name: weights[name] for name in known}
    trunk.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in values.items()}, strict=False)


def read(path: str | Path) -> dict[str, Any]:
    """Read a safetensors or torch file to the CPU. Torch files are read without running any code in them.

    Raises:
        ConfigError: if there is no such file, or it holds no weights.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        fix = "Give the path of a safetensors, pth or pt file."
        raise ConfigError("checkpoint", str(path), "there is no such file", fix)
    try:
        if file.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(file))
        with torch.serialization.safe_globals(HARMLESS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        foreign = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))  # in torch's long message about types
        cause = f"it holds a {foreign[1]}, which is no tensor" if foreign else (str(error) or type(error).__name__)
        why = f"the file cannot be read as weights ({cause.splitlines()[0]})"
        fix = "Give a safetensors file, or a pth file of tensors only."
        raise ConfigError("checkpoint", str(path), why, fix) from error
    if not isinstance(content, Mapping):
        why = f"it holds a {type(content).__name__}"
        raise ConfigError("checkpoint", str(path), why, "Save the model's state_dict().")
    return dict(content)


def weights_hash(trunk: nn.Module, *words: str) -> str:
    """Hash the values of all parameters and floating buffers as float32, sorted by name.

    `words` are what values do not show but outputs depend on, such as where a network strides.
    """
    return tensors_hash(trunk.state_dict(), *words)


def tensors_hash(tensors: Mapping[str, Tensor], *words: str) -> str:
    """The same of tensors by name."""
    digest = hashlib.blake2b(digest_size=16)
    for word in words:
        digest.update(word.encode() + b"\0")
    for name, value in sorted(tensors.items()):
        if value.is_floating_point():
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def without_heads(trunk: nn.Module) -> nn.Module:
    """Replace whatever sits on top of a network's features by the identity."""
    for name, _ in list(trunk.named_children()):
        if f"{name}." in HEADS:
            setattr(trunk, name, nn.Identity())
    return trunk


def _equal(weights: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether the same values are there twice, which leaves nothing to choose."""
    return weights.keys() == other.keys() and all(torch.equal(weights[name], other[name]) for name in weights)


def _warn(
    taken: Part, candidates: Sequence[Part], misfits: Mapping[Part, str], averages: Sequence[str], path: str | Path
) -> None:
    """Warn where there was a choice, and of averages that could not be taken."""
    likely = [part for part in candidates if part is not taken and 2 * part.known >= taken.known]
    left = [f"{part.name} is not used" for part in likely if part not in misfits]
    left += [f"{part.name} cannot be used ({misfits[part]})" for part in likely if part in misfits]
    seen = (taken.prefix, *(part.prefix for part in likely))
    unseen = [average for average in averages if not any(prefix.startswith(average) for prefix in seen)]
    left += [f"{average!r} cannot be used (it does not hold the whole network by its names)" for average in unseen]
    if left:
        _log.warning("%s: %s was loaded; %s", path, taken.name, "; ".join(left))


def _nothing_fits(
    trunk: nn.Module,
    content: Mapping[Any, Any],
    candidates: Sequence[Part],
    misfits: Mapping[Part, str],
    path: str | Path,
) -> ConfigError:
    """MisfitError of the part that is most like the trunk; with the names in the file, where it is hardly like it."""
    names = parts.names(content)
    if not names:
        why = "there are no named tensors in it"
        return ConfigError("checkpoint", str(path), why, "Save the model's state_dict().")
    nearest = max(candidates, key=lambda part: part.known)
    why = f"behind {nearest.name}, {misfits[nearest]}" if nearest.prefix else misfits[nearest]
    if 2 * nearest.known < len(trunk.state_dict()):
        why += f"; the names in the file begin with {parts.beginnings(names)}"
    fix = "Choose the network, and registers, that the file was trained as."
    return ConfigError("checkpoint", str(path), f"these are weights of another architecture: {why}", fix)


def _fitted(trunk: nn.Module, part: Part) -> dict[str, Tensor]:
    """Weights by timm's names, which timm's own converter for this kind of network knows, where there is one.

    Raises:
        MisfitError: unless they have the trunk, the whole trunk, and nothing but the trunk and its heads.
    """
    weights = dict(part.weights)
    convert: Callable[..., dict[str, Tensor]] | None
    convert = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        _check_embedding(trunk, weights)
        _match_position_grid(trunk, weights)
        if any(name == "register_tokens" or ".mlp.w12." in name for name in weights):
            weights.setdefault("mask_token", torch.zeros(1))  # by this key timm recognises DINOv2's names
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # timm prints about DINOv3's absent biases
                weights = dict(convert(weights, trunk))
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
            raise MisfitError(f"its tensors cannot be brought to this model's shapes ({error})") from error
    counters = "num_batches_tracked"  # may be there or not
    own = {name: value for name, value in trunk.state_dict().items() if not name.endswith(counters)}
    surplus = weights.keys() - own.keys()
    other = [
        f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    ]
    wrong = {
        "it lacks": own.keys() - weights.keys(),
        "it has besides": {name for name in surplus if not name.startswith(HEADS) and not name.endswith(counters)},
        "shapes differ:": other,
    }
    if any(wrong.values()):
        raise MisfitError("; ".join(f"{what} {_few(names)}" for what, names in wrong.items() if names))
    return weights


def _few(names: Collection[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")


def _check_embedding(trunk: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Refuse other patches and other tokens before them, which timm would resample away without a word."""
    own = trunk.state_dict()
    given, needed = weights.get(PROJECTION), own.get(PROJECTION)
    if given is not None and needed is not None and given.shape != needed.shape:
        raise MisfitError(f"{PROJECTION} is {tuple(given.shape)}, not {tuple(needed.shape)}")
    for names in (("cls_token",), ("reg_token", "register_tokens", "storage_tokens")):
        have, want = (sum(w[name].shape[1] for name in names if name in w) for w in (weights, own))
        if have != want and not have and names == ("cls_token",):
            raise MisfitError("no tensor called cls_token is in it")
        if have != want:
            raise MisfitError(f"it has {have} tokens in {' or '.join(names)}, the model {want}")


def _match_position_grid(trunk: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give the trunk the resolution that the file's positions were trained at, so that they load as they are."""
    network: Any = trunk  # whose attributes no type knows
    positions = weights.get("pos_embed")
    if getattr(network, "pos_embed", None) is None or positions is None or positions.ndim != 3:
        return
    prefix = 0 if getattr(network, "no_embed_class", False) else network.num_prefix_tokens
    counts = (positions.shape[1] - before for before in (prefix, 1, 0))  # positions of tokens before the patches
    side = next((math.isqrt(count) for count in counts if count > 0 and math.isqrt(count) ** 2 == count), None)
    height, width = network.patch_embed.patch_size
    if side and (side, side) != tuple(network.patch_embed.grid_size):
        network.set_input_size(img_size=(side * height, side * width))
