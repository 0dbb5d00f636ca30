"""`seekloop serve`: what it says when it cannot start, and who may reach it when it does."""

import os
import signal
import socket
import sys

import httpx
import pytest

from tests.commands.processes import until
from tests.commands.runs import seekloop

SMALL = ("collection.images=12", "serve.open=false", "wandb.mode=disabled", "trainer.workers=0")


def places(folder):
    return (
        f"store_dir={folder}/stores",
        f"sessions={folder}/sessions.sqlite",
        f"runs_dir={folder}/runs",
        f"exports_dir={folder}/exports",
    )


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        outcome = seekloop("serve", *SMALL, *places(tmp_path), f"serve.port={port}")
    assert outcome.code != 0
    assert f"serve.port='127.0.0.1:{port}' cannot work" in outcome.err
    assert "Choose another with serve.port=..., 0 for a free one" in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["fastapi", "uvicorn"])
def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    outcome = seekloop("serve", *SMALL, *places(tmp_path), "serve.port=0")
    assert outcome.code != 0
    assert f"{module} is not installed. Install it with: pip install 'seekloop[app]'" in outcome.err
    assert "Traceback" not in outcome.err


def test_missing_weights_are_never_fetched_and_the_command_that_does_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    outcome = seekloop("serve", *SMALL, *places(tmp_path), "serve.port=0", "backbone=dinov2_s")
    assert outcome.code != 0
    assert "seekloop extract" in outcome.err
    assert "backbone=dinov2_s" in outcome.err
    assert asked == []


@pytest.mark.parametrize("setting", ["serve.port=70000", "serve.port=-1", "loop.negatives=-1", "loop.budget=0"])
def test_settings_out_of_their_range_are_refused_by_name(tmp_path, setting):
    outcome = seekloop("serve", *SMALL, *places(tmp_path), setting)
    assert outcome.code != 0
    assert setting.partition("=")[0] in outcome.err


@pytest.mark.slow
def test_where_others_can_reach_it_a_token_is_printed_and_needed(tmp_path, processes):
    """And Ctrl-C ends it at once, though a window listens for news."""
    process = processes.start("serve", *SMALL, *places(tmp_path), "serve.port=0", "serve.host=0.0.0.0")
    process.until_said("(Ctrl-C ends it")
    address = next(word for word in process.said().split() if word.startswith("http://"))
    bare, token = address.split("?token=")
    assert len(token) >= 24

    def status(url, **more):
        return httpx.get(url, **more).status_code

    assert status(f"{bare}api/status") == 401
    assert status(bare) == 401
    assert status(f"{bare}api/status?token=x{token}") == 401
    assert status(f"{bare}api/status?token={token}") == 200
    assert status(f"{bare}api/status", headers={"Authorization": f"Bearer {token}"}) == 200
    with httpx.Client(base_url=bare) as browser:
        assert browser.get(address).status_code == 303
        until(lambda: browser.get("/api/status").json()["collection"]["indexed"] == 12, process.said)
        with browser.stream("GET", "/api/events", headers={"Authorization": f"Bearer {token}"}):
            os.kill(process.pid, signal.SIGINT)
            assert process.wait() in (0, 130)
    assert "Traceback" not in process.said()
