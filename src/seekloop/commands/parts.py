"""Parts, built from the config; and their errors, with the path and the file where the part is mounted."""

import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, Node, OmegaConf

from seekloop.artifacts.folder import BusyError
from seekloop.commands.configs import conf_dir
from seekloop.contracts.errors import ConfigError, MissingExtraError, StoreError

KINDS: Mapping[str, tuple[str, ...]] = {
    "collection": ("contracts.protocols.Collection",),
    "dataset": ("contracts.learning.DatasetSource",),
    "backbone": ("contracts.protocols.Backbone",),
    "model": ("contracts.learning.NetworkSource",),
    "text": ("contracts.protocols.TextEncoder",),
    "regions": ("regions.parts.PartsOfImages", "regions.detected.Detected"),
    "regions.detector": ("regions.segments.Detector",),
    "regions.backbone": ("contracts.protocols.Backbone",),
    "encoding": ("descriptors.encoding.Encoding",),
    "pooling": ("descriptors.pooling.Pooling",),
    "pooling.single": ("descriptors.pooling.Pooling",),
    "whitening": ("extraction.whitening.Learner",),
    "whitening.collection": ("contracts.protocols.Collection",),
    "representation": ("representations.representation.Representation",),
    "representation.local": ("representations.local.Local",),
    "representation.fusion": ("representations.fusion.Fusion",),
    "classifier": ("contracts.protocols.Classifier",),
    "criterion": ("contracts.protocols.Criterion",),
    "reranker": ("matching.reranking.RerankerSource",),
    "reranker.first": ("matching.reranking.RerankerSource",),
    "reranker.then": ("matching.reranking.RerankerSource",),
    "prior": ("loop.prior.Prior",),
    "loop.stop": ("loop.stopping.Rule",),
    "loop.stop.first": ("loop.stopping.Rule",),
    "loop.stop.then": ("loop.stopping.Rule",),
    "finetuning": ("training.contrastive.Contrastive",),
    "feedback.classifier": ("contracts.protocols.Classifier",),
    "query": ("protocol.queries.FromWords",),
    "user": ("contracts.protocols.User",),
    "pretraining": ("contracts.learning.Pretrainer",),
    "semi": ("learning.schemes.Scheme",),
    "propagation": ("contracts.learning.Propagation",),
}
"""Protocols below `seekloop`, one of which the part at a path must have."""
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
PASSED_ON = (StoreError, BusyError, OSError, MemoryError, MissingExtraError)
"""Errors of constructors that no value of the config explains."""
OURS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}  # words of Hydra in a part's node


def build(config: DictConfig, path: str, **given: object) -> Any:  # noqa: ANN401 - whatever the config names
    """Build the part at a path of the config; None where its choice names none (`pretraining=none`).

    Args:
        config: of any command.
        path: such as "criterion" or "representation.local".
        given: arguments that the program has and the config has not.

    Raises:
        ConfigError: with path and file, if the class cannot be imported, an argument is unknown, missing or refused, or
            the part lacks a method that its place asks for.
    """
    node = OmegaConf.select(config, path)
    if node is None or "_target_" not in node:
        return None
    _check_arguments(node, path, given)
    inner = [key for key in map(str, node) if f"{path}.{key}" in KINDS and _is_part(node[key])]
    given = {key: build(config, f"{path}.{key}") for key in inner} | given
    try:
        make = instantiate(node, _partial_=True, **dict.fromkeys(inner))
        part = make if node.get("_partial_") else make(**given)
    except PASSED_ON:
        raise
    except Exception as error:  # a constructor may raise anything
        cause = (error.__cause__ or error) if isinstance(error, InstantiationException) else error
        if isinstance(cause, ConfigError):
            if cause.owner is None and cause.key in node:  # raised by what the constructor calls
                raise cause.located(path, file_of(path, cause.key)) from error
            raise located(cause, config) from error
        if isinstance(cause, PASSED_ON):
            raise cause from error
        why = f"its constructor raised {type(cause).__name__}: {cause}"
        fix = f"Correct a value below {path}; HYDRA_FULL_ERROR=1 shows where it failed."
        raise _wrong(path, "_target_", node._target_, why, fix) from error
    _check_kind(part, path)
    return part


def _is_part(node: object) -> bool:
    return isinstance(node, DictConfig) and "_target_" in node


def _check_arguments(node: DictConfig, path: str, given: Mapping[str, object]) -> None:
    """Compare a node, and those of its own parts, with the constructors that they name."""
    target = node._target_
    try:
        parameters = inspect.signature(_object(target)).parameters
    except Exception as error:
        away = isinstance(error, ModuleNotFoundError)
        own = "; the folder of a module of your own must be on PYTHONPATH: PYTHONPATH=<folder> seekloop ..."
        why, fix = f"{type(error).__name__}: {error}", f"Correct the name{own if away else ''}."
        raise _wrong(path, "_target_", target, why, fix) from error
    keys = [str(key) for key in node if key not in OURS]
    whatever = any(one.kind is one.VAR_KEYWORD for one in parameters.values()) or node.get("_args_")
    for key in keys:
        if OmegaConf.is_missing(node, key):
            raise _wrong(path, key, "???", "it has no default", f"Give it: {path}.{key}=...")
        if key not in parameters and not whatever:
            meant = "".join(f"Did you mean {one}? " for one in difflib.get_close_matches(key, parameters, n=1))
            takes = ", ".join(name for name in parameters if name not in given) or "nothing"
            raise _wrong(path, key, node[key], f"{target} takes no such argument", f"{meant}It takes: {takes}.")
        if isinstance(node._get_node(key), DictConfig) and _is_part(node[key]):
            _check_arguments(node[key], f"{path}.{key}", {})
    for one in [] if whatever or node.get("_partial_") else parameters.values():
        if one.default is one.empty and one.kind is not one.VAR_POSITIONAL and one.name not in {*keys, *given}:
            fix = f"Add it to the file, or say +{path}.{one.name}=..."
            raise _wrong(path, one.name, "(missing)", f"{target} needs it", fix)


def _object(target: str) -> Any:  # noqa: ANN401
    """The class or function of a dotted name; an error is that of the import that failed, not of Hydra."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module or "." not in module:
            raise
    return getattr(_object(module), name)  # of a class in a module


def _check_kind(part: object, path: str) -> None:
    """Refuse a part that lacks methods or attributes of its protocol."""
    kinds = KINDS.get(path, ())
    if not kinds or isinstance(part, functools.partial):
        return
    absent = object()

    def lacks(name: str) -> bool:  # looked for statically first: a property that is there is not computed
        return inspect.getattr_static(part, name, absent) is absent and not hasattr(part, name)

    lacking = min(([name for name in _members(kind) if lacks(name)] for kind in kinds), key=len)
    if lacking:
        named = ["it cannot be called" if name == "__call__" else f"it has no {name}" for name in lacking]
        fix = f"Write what is missing: see {' or '.join(f'seekloop.{kind}' for kind in kinds)}."
        raise _wrong(path, "_target_", type(part).__name__, ", ".join(named), fix)


@functools.cache
def _members(kind: str) -> list[str]:
    """Names that a protocol, or a class, asks for."""
    classes = [one for one in _object(f"seekloop.{kind}").__mro__ if one.__module__.startswith("seekloop.")]
    names = [name for one in classes for name in [*vars(one), *vars(one).get("__annotations__", {})]]
    return [name for name in dict.fromkeys(names) if name == "__call__" or not name.startswith("_")]


def _wrong(path: str, key: str, got: object, why: str, fix: str) -> ConfigError:
    return ConfigError(key, got, why, fix).located(path, file_of(path, key))


def located(error: ConfigError, config: DictConfig) -> ConfigError:
    """The same error with the path of its part in the config and the file that mounts it; unchanged where unknown."""
    owner, key = error.owner, error.key
    if owner is None:
        return error
    kind = owner if isinstance(owner, type) or inspect.isroutine(owner) else type(owner)
    names = {one.__qualname__ for one in getattr(kind, "__mro__", (kind,))}
    nodes = dict(nodes_of(config))
    holding = [path for path, node in nodes.items() if (path or "." not in key) and _holds(node, key, error.got)]
    mounted = [path for path, node in nodes.items() if node.get("_target_", "").rpartition(".")[2] in names]
    # A record that is no part (numbers of the loop, sizes of batches) stands where its argument and its value stand.
    records = [path for path in holding if "_target_" not in nodes[path]]
    path = next((path for path in mounted if path in holding), next(iter(mounted or records), None))
    if path is None or any(one and key.startswith(f"{one}.") for one in [*mounted, *records]):
        return error
    value = nodes[path]._get_node(key) if key in nodes[path] else None
    refers = REFERENCE.fullmatch(str(value._value())) if isinstance(value, Node) and value._is_interpolation() else None
    path, _, key = refers[1].rpartition(".") if refers else (path, "", key)
    moved = ConfigError(key, error.got, error.why, error.fix, owner if path else None)
    return moved.located(path, file_of(path, key)) if path else moved


def nodes_of(node: DictConfig, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Mappings of a config with their paths, from the top; without those that stand for another key's."""
    yield path, node
    for key in map(str, node):
        below = node._get_node(key)
        if isinstance(below, DictConfig) and not (below._is_none() or below._is_interpolation() or below._is_missing()):
            yield from nodes_of(below, f"{path}.{key}" if path else key)


def _holds(node: DictConfig, key: str, got: object) -> bool:
    value = OmegaConf.select(node, key, throw_on_missing=False, default="(absent)")
    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    given = str(got) if isinstance(got, Path) else list(got) if isinstance(got, tuple) else got
    return bool(plain == given)


def file_of(path: str, key: str) -> str | None:
    """The file that says what stands at a path: the experiment's, or that of the choice of its group.

    None where the command line says it, or where no file is known (a config that was composed in Python).
    """
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    typed = [str(word).partition("=")[0].lstrip("+~") for word in hydra.overrides.task]
    if f"{path}.{key}" in typed:
        return None
    mounts: dict[str, str] = {}
    for group, name in hydra.runtime.choices.items():
        where, _, package = str(group).partition("@")
        mounts[package or where.replace("/", ".")] = f"{where}/{name}.yaml"
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    experiment = _first(folders, mounts.get("experiment"))
    if experiment and OmegaConf.select(OmegaConf.load(experiment), f"{path}.{key}", default=None) is not None:
        return _shown(experiment)
    while path and path not in mounts:
        path = path.rpartition(".")[0]
    file = _first(folders, mounts.get(path))
    return _shown(file) if file else None


def _first(folders: Sequence[Path], name: str | None) -> Path | None:
    return next((folder / name for folder in folders if name and (folder / name).is_file()), None)


def _shown(file: Path) -> str:
    """A file of the package from `conf`, one below the working folder from there, another in full."""
    for top in (conf_dir().parent, Path.cwd()):
        if file.is_relative_to(top):
            return str(file.relative_to(top))
    return str(file)
