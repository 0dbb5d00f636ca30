"""In which precision the network computes; a part of the store's key."""

from collections.abc import Mapping
from typing import Any

import torch

from seekloop.backbones.precision import cpu_prefers_bfloat16
from seekloop.contracts.errors import ConfigError

PRECISIONS = ("32-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed", "64-true")
"""Lightning's names for what any network here can compute in; its aliases would give one store two keys."""


def resolve_precision(trainer: Mapping[str, Any]) -> str:
    """Lightning's precision, with `auto` decided for this machine.

    `auto` is bfloat16 weights on processors that multiply them much faster, else float32.

    Raises:
        ConfigError: if there is no such precision.
    """
    asked = str(trainer["precision"])
    if asked in PRECISIONS:
        return asked
    if asked != "auto":
        raise ConfigError("trainer.precision", asked, "it is unknown", f"Valid: auto, {', '.join(PRECISIONS)}.")
    return "bf16-true" if _runs_on_cpu(trainer) and cpu_prefers_bfloat16() else "32-true"


def _runs_on_cpu(trainer: Mapping[str, Any]) -> bool:
    if trainer["accelerator"] == "auto":
        return not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return bool(trainer["accelerator"] == "cpu")
