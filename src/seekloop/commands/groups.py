"""Groups and keys of a command: its help, and the refusal of what it would not read."""

import difflib
import functools
import inspect
from collections.abc import Sequence
from typing import Any

import yaml
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seekloop.commands.configs import conf_dir
from seekloop.contracts.errors import ConfigError

LINES: dict[str, tuple[str, ...]] = {
    "collection": ("collection",),
    "instances": ("instances",),
    "dataset": ("dataset",),
    "model": ("model",),
    "backbone": ("backbone", "registers"),
    "text": ("text", "query"),
    "regions": ("regions", "detector@regions.detector", "backbone@regions.backbone"),
    "descriptor": ("encoding", "pooling", "pooling@pooling.single", "whitening", "collection@whitening.collection"),
    "representation": ("representation", "representation/local", "representation/fusion"),
    "pretraining": ("pretraining",),
    "semi": ("semi", "propagation"),
    "training": ("training", "finetuning"),
    "classifier": ("classifier", "prior"),
    "feedback": ("feedback", "classifier@feedback.classifier"),
    "criterion": ("criterion", "loop/stop"),
    "user": ("user",),
    "reranker": ("reranker", "features"),
    "engine": ("engine",),
    "trainer": ("trainer",),
    "store": ("store",),
    "run": ("wandb", "launcher"),
    "experiment": ("experiment",),
}
"""The lines of every help, in the order of the data, with the groups of each."""
MOVED = {"local": "representation/local", "fusion": "representation/fusion", "pool": "dataset"}
METHODS = {
    "base": "pretraining=none semi=none",
    "pre": "pretraining=thesis semi=none",
    "semi": "pretraining=none semi=thesis",
    "pre_semi": "pretraining=thesis semi=thesis",
}
KEYS = {
    "search.whitening": "whitening=pca whitening.teacher={}",
    "search.whitening_dims": "whitening=pca whitening.dims={}, or whitening=centred",
}
"""Keys that are said by a group now, with what to type."""
SPELLED = {"loop.stop": "loop/stop"}
"""Groups inside a section that may be typed like its keys."""
BELOW = {
    "classifier@feedback.classifier": " (below feedback=simulated)",
    "backbone@regions.backbone": " (likewise)",
    "pooling@pooling.single": " (below pooling=multiscale)",
    "collection@whitening.collection": " (below whitening=pca, centred, supervised)",
}
"""Groups inside the entries of others, with the words of the help."""
OPEN = {"paper", "numbers"}  # handed on, or looked up, whole


def groups_of(command: str) -> dict[str, str | None]:
    """Groups that a command composes, each with the entry it has when nothing is said."""
    found: dict[str, str | None] = {}
    for item in yaml.safe_load((conf_dir() / f"{command}.yaml").read_text())["defaults"]:
        if isinstance(item, str):
            found |= groups_of(item) if item != "_self_" else {}
            continue
        ((group, name),) = item.items()
        group = group.removeprefix("override ")
        if not group.startswith("hydra/"):
            found[group] = name
            found |= _inside(group, name)
    return found


def _inside(group: str, name: str | None) -> dict[str, str | None]:
    """Groups inside a group, with the entries that one of its own chooses."""
    inside = [path.name for path in sorted((conf_dir() / group).iterdir()) if path.is_dir() and path.name != "base"]
    if not inside or name is None:
        return {}
    chosen = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())["defaults"]
    return {f"{group}/{one}": next(item[one] for item in chosen if one in item) for one in reversed(inside)}


def by_groups(overrides: Sequence[str]) -> list[str]:
    """The overrides with groups inside a section typed as Hydra asks for.

    Example:
        >>> by_groups(["loop.stop=recall", "loop.stop.goal=0.9"])
        ['loop/stop=recall', 'loop.stop.goal=0.9']
    """
    pairs = [word.partition("=") for word in overrides]
    return [SPELLED.get(key, key) + equals + value for key, equals, value in pairs]


def check_groups(command: str, overrides: Sequence[str]) -> None:
    """Refuse overrides of groups that the command does not have, before Hydra advises to append them.

    Raises:
        ConfigError: with what to type instead, where something stands for it.
    """
    known = groups_of(command)
    for word in overrides:
        typed, equals, value = word.partition("=")
        key, _, package = typed.lstrip("+~").partition("@")
        top, dot, rest = key.partition(".")
        if not equals or word.startswith("-") or key in known or package:
            continue
        if key in KEYS:
            raise ConfigError(key, value, "it is said by the group whitening now", f"Type: {KEYS[key].format(value)}.")
        if command == "learn" and key == "method":
            fix = METHODS.get(value, "pretraining=... semi=...")
            raise ConfigError(key, value, "it would say again what pretraining and semi say", f"Type: {fix}.")
        if top in MOVED and MOVED[top] in known:
            moved = MOVED[top].replace("/", ".") if dot else MOVED[top]
            why = f"{top} is a part of representation" if "/" in moved or "." in moved else f"{top} is now {moved}"
            raise ConfigError(typed, value, why, f"Type: {moved}{dot}{rest}={value}.")
        group = MOVED.get(key, key)
        if not dot and (conf_dir() / group).is_dir():
            others = [
                name for name in ("retrieve", "learn", "search", "detect", "finetune") if group in groups_of(name)
            ]
            now = f"it is now {group}, and " if group != key else ""
            why = f"{now}seekloop {command} has no group {group}, and would read nothing of it"
            whose = f"It belongs to seekloop {' and '.join(others)}. " if others else ""
            raise ConfigError(typed, value, why, f"{whose}Groups here: {', '.join(known)}.")


def check_keys(command: str, config: DictConfig) -> None:
    """Refuse keys that no part of the command reads: added by `+`, or by a file that spells them wrongly.

    Raises:
        ConfigError: naming the first of them, and the keys that are known beside it.
    """
    _check_below(config, _composed(command), "")


def _check_below(config: DictConfig, known: DictConfig, above: str) -> None:
    for key in map(str, config):
        path = f"{above}{key}"
        if key not in known:
            likely = difflib.get_close_matches(key, map(str, known), n=1)
            meant = f"Did you mean {above}{likely[0]}? " if likely else ""
            value = config._get_node(key)
            got = OmegaConf.to_container(value) if OmegaConf.is_config(value) else getattr(value, "_value", str)()
            beside = f"Known{f' below {above[:-1]}' if above else ''}: {', '.join(sorted(map(str, known)))}."
            raise ConfigError(path, got, "nothing reads it", f"{meant}{beside}")
        inner, usual = config._get_node(key), known._get_node(key)
        if not (isinstance(inner, DictConfig) and isinstance(usual, DictConfig)) or path in OPEN:
            continue
        if not (inner._is_interpolation() or inner._is_none() or "_target_" in inner):  # its constructor is asked
            _check_below(inner, usual, f"{path}.")


@functools.cache
def _composed(command: str) -> DictConfig:
    """The config of a command without overrides, also while Hydra is running."""
    if GlobalHydra.instance().is_initialized():
        return compose(command)
    from seekloop.commands.compose import resolve

    return resolve(command, [])


def help_of(command: str, config: DictConfig) -> str:
    """The help of a command: its groups with their entries, the chosen ones in brackets, and its config."""
    about = (conf_dir() / f"{command}.yaml").read_text().partition("\n")[0].removeprefix("# ")
    lines = [
        about,
        "",
        "Groups, in the order of the data (type group=entry; entries in brackets are used if nothing is said):",
    ]
    known = groups_of(command)
    loader = GlobalHydra.instance().config_loader()
    for line, groups in LINES.items():
        shown = [group for group in groups if group in known or group.partition("@")[2].partition(".")[0] in known]
        if shown and line not in shown:
            lines.append(f"  {line}")
        for group in shown:
            names = [name for name in loader.get_group_options(group.partition("@")[0]) if _runs(group, name, command)]
            entries = ", ".join(f"[{name}]" if name == known.get(group) else name for name in names)
            where = f" (below regions={', '.join(_with_detector())})" if group.endswith("@regions.detector") else ""
            where = BELOW.get(group, where)
            lines.append(f"  {'' if group == line else '  '}{group}{where}: {entries}")
    keys = OmegaConf.to_yaml(config, resolve=False)
    return "\n".join([*lines, "", "Keys (type key=value; below a key: key.key=value):", keys])


def _with_detector() -> list[str]:
    """Choices of regions that a detector finds."""
    return [file.stem for file in sorted((conf_dir() / "regions").glob("*.yaml")) if "/detector@" in file.read_text()]


def _runs(group: str, name: str, command: str) -> bool:
    """Whether an entry is of this command, which only experiments say."""
    file = conf_dir() / "experiment" / f"{name}.yaml"
    return group != "experiment" or not file.is_file() or f"seekloop {command} " in file.read_text()


def known_keys(command: str, overrides: Sequence[str], error: BaseException | None) -> str | None:
    """One line with the keys beside one that does not exist, the likeliest first; None for errors of other kinds.

    Args:
        command: that was asked for.
        overrides: its arguments.
        error: raised by Hydra while it composed them.
    """
    cause = None if error is None else error.__cause__
    wrong = cause.full_key if isinstance(cause, OmegaConfBaseException) else None
    if not wrong:
        return None
    parent, _, key = wrong.rpartition(".")
    others = [word for word in overrides if "=" in word and word.lstrip("+~").partition("=")[0] != wrong]
    siblings = _keys(command, others, parent) or _keys(command, [], parent)
    if not siblings or key in siblings:
        return None
    below, known = f"{parent}." if parent else "", sorted(set(siblings) - {"_target_"})
    names = {one: f"{below}{one}" for one in known}
    if target := siblings.get("_target_"):  # what its constructor takes, and no file says
        added = [one for one in _optional(str(target)) if one not in names]
        names |= {one: f"+{below}{one}" for one in added}
        known += [names[one] for one in added]
    likely = difflib.get_close_matches(key, names, n=1)
    meant = f" Did you mean {names[likely[0]]}?" if likely else ""
    told = f"Known{f' below {parent}' if parent else ''}: {', '.join(known) or 'nothing'}."
    return f"There is no {wrong}.{meant} {told}"


def _optional(target: str) -> list[str]:
    """Arguments of a constructor that have defaults; none of one that cannot be imported."""
    from hydra.utils import get_object

    try:
        parameters = inspect.signature(get_object(target)).parameters.values()
    except Exception:  # importing runs whatever a module holds
        return []
    return [one.name for one in parameters if one.default is not one.empty]


def _keys(command: str, overrides: Sequence[str], parent: str) -> dict[str, Any]:
    """Keys with their values, unresolved, of a node of a config; none where there is no such node."""
    from seekloop.commands.compose import resolve

    try:
        config = resolve(command, overrides)
        node = OmegaConf.select(config, parent) if parent else config
    except (HydraException, OmegaConfBaseException):
        return {}
    return {str(key): node._get_node(key) for key in node} if isinstance(node, DictConfig) else {}
