"""Networks in a weights file: tensors whose names differ from the trunk's by what stands before them."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# What parallel, compiled and checkpointed modules put between two parts of a name.
WRAPPING = {
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
}
CHUNK = re.compile(r"^blocks\.\d+\.(\d+)\.")  # DINOv2 trains its blocks in chunks
AVERAGE = {"average", "averages", "averaged", "averaging", "avg", "polyak", "shadow", "swa"}
NOT_EMA = {"cinema", "schema"}
NO_AVERAGE = {"current", "no", "non", "not", "online", "original", "raw", "without"}
TEACHER = {"teacher", "teachers"}
STATISTICS = {  # of an optimiser, which may have the network's names and shapes
    "exp_avg",
    "exp_avg_sq",
    "grad",
    "grads",
    "gradients",
    "momentum",
    "momentum_buffer",
    "mu",
    "nu",
}
AVERAGES, TEACHERS, OTHERS, LAST = range(4)
SHOWN = 4  # beginnings of names listed


@dataclass(frozen=True, eq=False)
class Part:
    """The tensors of a file whose names begin alike.

    Attributes:
        prefix: the beginning, dictionaries and names alike joined by dots; empty for the file itself.
        weights: the tensors by the rest of their names.
        known: how many of the trunk's names are among them.
        rank: averages before teachers before others before weights that are known to be those of the last step.
    """

    prefix: str
    weights: dict[str, Tensor]
    known: int
    rank: int

    @property
    def name(self) -> str:
        """For people."""
        return repr(self.prefix.rstrip(".")) if self.prefix else "the names without a prefix"


def find(content: Mapping[Any, Any], own: Collection[str]) -> list[Part]:
    """Find the parts of a file that may be the trunk, those to prefer first.

    A dictionary around weights and a prefix of their names are treated alike. Where hardly a name is the trunk's, the
    publisher may have used names of their own: then every dictionary with tensors is a part.

    Args:
        content: of the file.
        own: the trunk's names.
    """
    tensors = dict(_tensors(content))
    known: dict[str, set[str]] = defaultdict(set)  # for every beginning of a name, which of the trunk's names follow it
    for name in tensors:
        words = name.split(".")
        for start in range(len(words)):
            rest = _plain(words[start:], own)
            if words[start] not in WRAPPING and rest in own:
                known["".join(f"{word}." for word in words[:start])].add(rest)
    most = max(map(len, known.values()), default=0)
    prefixes = {prefix for prefix, names in known.items() if 2 * len(names) >= most}
    others: set[str] = _foreign(tensors) if 2 * most < len(own) else set()
    swapped, nested = _swapped(content), set() if others else prefixes
    parts = [
        Part(prefix, _below(prefix, tensors, nested, own), len(known.get(prefix, ())), _rank(prefix, swapped))
        for prefix in prefixes | others
    ]
    return sorted(parts, key=lambda part: (part.rank, -part.known, len(part.prefix), part.prefix))


def names(content: Mapping[Any, Any]) -> list[str]:
    """List the names of all tensors, dictionaries and names joined by dots."""
    return [name for name, _ in _tensors(content)]


def averages(content: Mapping[Any, Any], least: int) -> list[str]:
    """List beginnings of names that speak of an average, with at least so many tensors of one axis or more."""
    swapped = _swapped(content)
    counts: Counter[str] = Counter()
    for name, value in _tensors(content):
        words = name.split(".") if value.ndim else []
        paths = (".".join(words[:end]) for end in range(1, len(words) + 1))
        counts.update([path for path in paths if _rank(path, swapped) == AVERAGES][:1])
    return sorted(path for path, count in counts.items() if count >= least)


def beginnings(names: Collection[str]) -> str:
    """List prefixes of the names, the most frequent first, as long as is needed to tell them apart.

    Example:
        >>> beginnings(["net.a.x", "net.a.y", "net.b"])
        'net.a. (2), net.b (1)'
    """

    def begun(name: str) -> str:
        words = name.split(".")
        return name if len(words) <= depth else ".".join(words[:depth]) + "."

    depth = 1
    while len(set(map(begun, names))) == 1 and any(name.count(".") >= depth for name in names):
        depth += 1
    counts = Counter(map(begun, names)).most_common()
    shown = ", ".join(f"{start} ({count})" for start, count in counts[:SHOWN])
    return shown + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")


def _tensors(content: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    """All tensors of nested dictionaries and lists, by their paths; none of an optimiser."""

    def of_optimiser(name: str) -> bool:
        words = name.lower().split(".")
        return any(word in STATISTICS or "optim" in word or word.startswith("opt_state") for word in words)

    stack: list[tuple[str, Any, tuple[int, ...]]] = [("", content, ())]
    while stack:
        path, value, above = stack.pop()
        if isinstance(value, Tensor):
            yield path, value
        elif id(value) in above:  # a dictionary that holds itself
            continue
        elif isinstance(value, Mapping | list | tuple):
            entries = list(value.items() if isinstance(value, Mapping) else enumerate(value))
            before, inside = f"{path}." if path else "", (*above, id(value))
            inner = [(f"{before}{key}", one, inside) for key, one in entries if not of_optimiser(str(key))]
            stack.extend(reversed(inner))


def _plain(words: Sequence[str], own: Collection[str]) -> str:
    """A name without wrapping modules and chunks of blocks; as it is where the trunk has it so."""
    name = ".".join(words)
    return name if name in own else CHUNK.sub(r"blocks.\1.", ".".join(word for word in words if word not in WRAPPING))


def _foreign(tensors: Mapping[str, Tensor]) -> set[str]:
    """Beginnings of up to three words that at least a quarter of all names share."""
    counts: Counter[str] = Counter()
    for name in tensors:
        words = name.split(".")[:-1]
        counts.update("".join(f"{word}." for word in words[:depth]) for depth in range(min(3, len(words)) + 1))
    return {prefix for prefix, count in counts.items() if 4 * count >= len(tensors)}


def _below(prefix: str, tensors: Mapping[str, Tensor], prefixes: set[str], own: Collection[str]) -> dict[str, Tensor]:
    """The tensors behind a prefix, but for those of a part that is nested in this one."""
    nested = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
    weights: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            words = name.removeprefix(prefix).split(".")
            rest = _plain(words, own)
            if rest in own or not name.startswith(nested):
                weights[".".join(words) if rest in weights else rest] = value
    return weights


def _rank(prefix: str, swapped: bool) -> int:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", prefix).lower()  # modelEma is two words
    words = set(re.split(r"[^a-z0-9]+", apart))
    averaged = {word for word in words - NOT_EMA if word.startswith("ema") or word.endswith("ema")} | words & AVERAGE
    if prefix.startswith(("current_model_state", *(["ema_state_dict"] if swapped else []))):
        return LAST
    if averaged and not NO_AVERAGE & words:
        return AVERAGES
    return TEACHERS if TEACHER & words else OTHERS


def _swapped(content: Mapping[Any, Any]) -> bool:
    """Whether MMEngine wrote the file: it puts the average under `state_dict` and the last step's under `ema_...`."""
    about = content.get("meta")
    return isinstance(about, Mapping) and "mmengine_version" in about
