"""What Hydra's own message about a key that does not exist leaves out: which keys there are."""

import difflib
from collections.abc import Sequence

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seekloop.commands.compose import resolve


def known_keys(command: str, overrides: Sequence[str], error: BaseException | None) -> str | None:
    """One line with the keys beside one that does not exist, the likeliest first; None for errors of other kinds.

    Args:
        command: that was asked for.
        overrides: its arguments.
        error: what Hydra raised while it composed them.
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
    likely = difflib.get_close_matches(key, siblings, n=1)
    meant = f" Did you mean {f'{parent}.{likely[0]}' if parent else likely[0]}?" if likely else ""
    return f"There is no {wrong}.{meant} Known{f' below {parent}' if parent else ''}: {', '.join(sorted(siblings))}."


def _keys(command: str, overrides: Sequence[str], parent: str) -> list[str]:
    try:
        config = resolve(command, overrides)
        found = OmegaConf.select(config, parent) if parent else config
    except (HydraException, OmegaConfBaseException):
        return []
    return [str(key) for key in found if key != "_target_"] if isinstance(found, DictConfig) else []
