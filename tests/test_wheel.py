"""The built wheel is whole: unpacked far from the checkout, it finds its configs, its weights and its command."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def test_everything_that_is_not_python_travels(unpacked):
    configs = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert {path.relative_to(unpacked / "seekloop/conf") for path in unpacked.rglob("conf/**/*.yaml")} == configs
    weights = [unpacked / f"seekloop/backbones/{name}.safetensors" for name in ("tiny", "tiny_clip")]
    assert sum(file.stat().st_size for file in weights) < 20e6
    assert (unpacked / "seekloop/py.typed").exists()


def test_it_retrieves_from_an_empty_folder(unpacked, tmp_path):
    small = ["collection.images=40", "loop.queries=1", "loop.rounds=1", "loop.budget=3", "wandb.mode=disabled"]
    done = subprocess.run(
        [sys.executable, "-m", "seekloop", "retrieve", "collection=scenes", *small],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/default/*/COMPLETE"))) == 1
