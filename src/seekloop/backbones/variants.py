"""Which of a backbone's variants the registers group asks for."""

from collections.abc import Mapping

from seekloop.contracts.errors import ConfigError


def choose(models: Mapping[str, str], registers: str) -> tuple[str, str]:
    """The variant and the model of a backbone, with the registers that were asked for.

    `own` is the backbone's usual variant: without registers where there is such a one, else the first named.

    Raises:
        ConfigError: if the backbone has no such variant; the message lists those it has.

    Example:
        >>> choose({"none": "vit_a", "four": "vit_b"}, "own")
        ('none', 'vit_a')
    """
    usual = "none" if "none" in models else next(iter(models))
    wanted = usual if registers == "own" else registers
    if wanted not in models:
        raise ConfigError(
            "registers", registers, "this backbone has no such variant", f"It has: own, {', '.join(models)}."
        )
    return wanted, models[wanted]
