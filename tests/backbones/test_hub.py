import time
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from seekloop.backbones.weights import hub
from seekloop.contracts.errors import ConfigError

PUBLISHED = SimpleNamespace(hf_hub_id="timm/some_vit@v2", hf_hub_filename=None)


@pytest.fixture
def calls(monkeypatch):
    """An empty cache and no network; what was asked for is noted."""
    asked = []

    def download(repository, file, *, revision, local_files_only):
        asked.append((repository, file, revision, local_files_only))
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "reachable", lambda url: False)
    return asked


def test_without_network_and_cache_the_error_says_both_ways_out(calls):
    with pytest.raises(ConfigError, match="cannot be reached") as error:
        hub.fetch("some_vit", PUBLISHED)
    assert "connect to the network" in str(error.value)
    assert "checkpoint=<path>" in str(error.value)
    assert all(local for *_, local in calls), "the hub's own client would retry for a minute"


def test_offline_by_wish_never_tries_the_network(calls, monkeypatch):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "reachable", lambda url: pytest.fail(f"tried {url}"))
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set"):
        hub.fetch("some_vit", PUBLISHED)
    assert len(calls) == 2


def test_the_cache_comes_first(monkeypatch, tmp_path):
    def download(repository, file, *, revision, local_files_only):
        assert (repository, file, revision, local_files_only) == ("timm/some_vit", "model.safetensors", "v2", True)
        return str(tmp_path / "cached")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "reachable", lambda url: pytest.fail(f"tried {url}"))
    assert hub.fetch("some_vit", PUBLISHED) == tmp_path / "cached"


def test_with_network_it_downloads_whichever_file_there_is(monkeypatch, tmp_path):
    def download(_, file, *, local_files_only, **__):
        if local_files_only or file != "pytorch_model.bin":
            raise LocalEntryNotFoundError("not here")
        return str(tmp_path / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "reachable", lambda url: True)
    assert hub.fetch("some_vit", PUBLISHED) == tmp_path / "pytorch_model.bin"


@pytest.mark.parametrize(("there", "offline"), [(True, False), (False, True)])
def test_other_libraries_search_the_cache_alone_where_the_hub_cannot_be_reached(monkeypatch, there, offline):
    monkeypatch.setattr(hub, "reachable", lambda url: there)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    with hub.without_waiting():
        assert hub.constants.HF_HUB_OFFLINE is offline
    assert hub.constants.HF_HUB_OFFLINE is False


def test_a_model_without_published_weights():
    with pytest.raises(ConfigError, match="no weights are published"):
        hub.fetch("some_vit", SimpleNamespace(hf_hub_id=None, hf_hub_filename=None))


def test_a_dead_address_is_known_within_seconds():
    start = time.monotonic()
    assert not hub.reachable("http://127.0.0.1:9")  # the discard port: nobody listens
    assert time.monotonic() - start < hub.PATIENCE + 1
