"""Published weights: from the local cache, else from the hub, else an error within seconds with both ways out."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from seekloop.contracts.errors import ConfigError

FIRST_STEPS = ("tiny", "tiny_clip")  # built-in networks, small enough for the package
ADVICE = (
    "The built-in network {name} is for first steps: it finds simple shapes, such as digits, and few objects of "
    "photographs. DINOv2 finds far more. On a machine with a network, `{command}` gets it once; then say "
    "`seekloop serve backbone=dinov2_s ...`. With a file of its weights, add backbone.checkpoint=<file>; "
    "no network is needed then."
)
FILES = ("model.safetensors", "pytorch_model.bin")
_commands: list[str] = []  # inside `offline`: what fetches the weights elsewhere
PATIENCE = 5.0  # seconds to wait for a first sign of the hub; its own client would retry for most of a minute


def fetch(name: str, pretrained: Any) -> Path:  # noqa: ANN401 - timm's PretrainedCfg, untyped
    """Find or download the file with the published weights of a model.

    Raises:
        ConfigError: if there are none, or they are not cached and the hub cannot be reached.
    """
    if not pretrained.hf_hub_id:
        raise _unavailable(name, "no weights are published for it on the hub")
    repository, _, revision = pretrained.hf_hub_id.partition("@")
    files = (pretrained.hf_hub_filename,) if pretrained.hf_hub_filename else FILES
    cached = _first(repository, revision or None, files, local=True)
    if cached:
        return cached
    if constants.HF_HUB_OFFLINE:
        why = "nothing is fetched here" if _commands else "HF_HUB_OFFLINE is set"
        raise _unavailable(name, f"they are not in the cache, and {why}")
    if not reachable(constants.ENDPOINT):
        raise _unavailable(name, f"they are not in the cache, and {constants.ENDPOINT} cannot be reached")
    file = _first(repository, revision or None, files, local=False)
    if not file:
        raise _unavailable(name, f"{repository} on the hub has none of {', '.join(files)}, or does not give them")
    return file


def reachable(url: str) -> bool:
    """Test whether anything answers there, be it with an error."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE):
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False


@contextmanager
def offline(command: str) -> Iterator[None]:
    """Within it nothing is fetched: the cache alone is searched, and an error names what to run instead.

    Args:
        command: fetches the weights, where that is allowed.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    _commands.append(command)
    try:
        yield
    finally:
        _commands.pop()
        constants.HF_HUB_OFFLINE = before


def remedy() -> str:
    """The way to weights that are not in the cache."""
    copying = f"copy the weights into the cache, {constants.HF_HUB_CACHE}"
    if _commands:
        return f"get them with `{_commands[-1]}` on a machine with a network (or {copying})"
    return f"connect to the network once (or {copying})"


def refuse_url(name: str, url: str, cached: Path) -> None:
    """Refuse weights that another library would fetch from an address of its own, inside `offline`.

    Raises:
        ConfigError: if they are not in that library's cache.
    """
    if _commands and not cached.is_file():
        raise _unavailable(name, f"they are not in {cached.parent}, and nothing is fetched from {url} here")


def fetching(backbone: str, *overrides: str) -> str:
    """The command that fetches the weights of a backbone, by describing one built-in picture.

    Example:
        >>> fetching("dinov2_s")
        'seekloop extract backbone=dinov2_s collection.images=1'
    """
    return " ".join(["seekloop extract", f"backbone={backbone}", *overrides, "collection.images=1"])


def advice(backbone: str) -> str:
    """Advice for whoever searches with a network that is for first steps only; empty for any other backbone.

    Args:
        backbone: the choice of the config, such as `tiny`.
    """
    return ADVICE.format(name=backbone, command=fetching("dinov2_s")) if backbone in FIRST_STEPS else ""


@contextmanager
def without_waiting() -> Iterator[None]:
    """While another library asks the hub: where it cannot be reached, the cache alone is searched, without retries."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _first(repository: str, revision: str | None, files: tuple[str, ...], *, local: bool) -> Path | None:
    for file in files:
        try:
            return Path(hf_hub_download(repository, file, revision=revision, local_files_only=local))
        except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError):
            continue
    return None


def _unavailable(name: str, why: str) -> ConfigError:
    fix = f"Either {remedy()}, or give a file with backbone.checkpoint=<path>."
    return ConfigError("checkpoint", None, f"the weights of {name} are missing: {why}", fix)
