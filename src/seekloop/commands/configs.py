"""Where the configs are."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder of the configs: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"
