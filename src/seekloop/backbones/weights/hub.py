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

FILES = ("model.safetensors", "pytorch_model.bin")
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
        raise _unavailable(name, "its weights are not in the cache and HF_HUB_OFFLINE is set")
    if not reachable(constants.ENDPOINT):
        raise _unavailable(name, f"its weights are not in the cache and {constants.ENDPOINT} cannot be reached")
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
    where = f"connect to the network once (or copy the weights into the cache, {constants.HF_HUB_CACHE})"
    fix = f"Either {where}, or give a file with checkpoint=<path>."
    return ConfigError("checkpoint", None, f"the weights of {name} are needed, and {why}", fix)
