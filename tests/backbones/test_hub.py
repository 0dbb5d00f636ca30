import socket
import time
from functools import partial
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from seekloop.backbones.openclip import OpenClip
from seekloop.backbones.vit import NamedTransformer
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


COMMAND = "seekloop extract backbone=dinov2_s collection.images=1"


@pytest.fixture
def no_socket(monkeypatch, tmp_path):
    """An empty cache, and a machine on which every connection, and every question for an address, is an error."""

    def refuse(*arguments):
        pytest.fail(f"tried to connect: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("no_socket")
def test_offline_opens_no_socket_and_names_the_command_that_fetches(monkeypatch):
    monkeypatch.setattr(hub, "hf_hub_download", partial(hub.hf_hub_download, cache_dir=hub.constants.HF_HUB_CACHE))
    with hub.offline(COMMAND), pytest.raises(ConfigError) as error:
        NamedTransformer(model="vit_small_patch14_dinov2.lvd142m", registers="own")
    assert f"`{COMMAND}`" in str(error.value)
    assert "nothing is fetched here" in str(error.value)
    assert "checkpoint=<path>" in str(error.value)
    assert not hub.constants.HF_HUB_OFFLINE


@pytest.mark.usefixtures("no_socket")
@pytest.mark.parametrize("tag", ["laion2b_s34b_b79k", "yfcc15m"])
def test_offline_holds_for_open_clip_whose_weights_are_on_the_hub_or_at_an_address(tag, monkeypatch):
    """RN50's yfcc15m would come from an address of its own if it were not on the hub, too."""
    clip = pytest.importorskip("open_clip")
    model = "ViT-B-32" if tag.startswith("laion") else "RN50"
    known = clip.get_pretrained_cfg(model, tag)
    if tag == "yfcc15m":
        known = {**known, "hf_hub": "", "url": "https://example.invalid/rn50.pt"}
        monkeypatch.setattr(clip, "get_pretrained_cfg", lambda *_: known)
    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", cached_only)
    with hub.offline(COMMAND), pytest.raises(ConfigError) as error:
        OpenClip(model=model, pretrained=tag)
    assert f"`{COMMAND}`" in str(error.value)


def cached_only(**words):
    """The hub's own function with an empty cache."""
    return hub.hf_hub_download(**{**words, "cache_dir": hub.constants.HF_HUB_CACHE})


def test_the_innermost_command_is_named_and_the_switch_goes_back():
    with hub.offline("outer"):
        with hub.offline("inner"):
            assert "`inner`" in hub.remedy()
        assert "`outer`" in hub.remedy()
        assert hub.constants.HF_HUB_OFFLINE
    assert "connect to the network once" in hub.remedy()


def test_advice_is_given_for_the_built_in_networks_only():
    for name in hub.FIRST_STEPS:
        assert name in hub.advice(name)
        assert "seekloop extract backbone=dinov2_s" in hub.advice(name)
        assert "backbone.checkpoint=" in hub.advice(name)
    assert hub.advice("dinov2_s") == ""
