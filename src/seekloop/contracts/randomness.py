"""Where every random number comes from: a generator named by its purpose, never a global one."""

import hashlib
from typing import TYPE_CHECKING

from seekloop.contracts.lazy import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every word of `purpose`, and on nothing else.

    Example:
        >>> derived_seed(0, "negatives", "dog", 3) == derived_seed(0, "negatives", "dog", 3)
        True
        >>> derived_seed(0, "a", "bc") == derived_seed(0, "ab", "c")
        False
    """
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """A CPU generator for one purpose, such as `(seed, class name, query, round, "criterion")`."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))
