"""The site's pages agree with what they describe."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from hydra.utils import instantiate
from PIL import Image

import seekloop
from seekloop.commands.cli import COMPOSED, PLAIN
from seekloop.commands.compose import resolve
from seekloop.commands.composed import with_words
from seekloop.contracts.records import CandidateView

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "seekloop"
DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
COLOURS = ("red", "blue", "tan", "navy", "gold", "grey", "pink", "lime", "plum", "cyan")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def commands(page):
    """The name and the arguments of every command line of seekloop on a page, as parameters of a test."""
    for line in "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        words = [word for word in shlex.split(line, comments=True) if word != "PYTHONPATH=."]
        if words and words[0] == "seekloop":
            yield pytest.param(words[1], words[2:], id=" ".join(words[1:]))


def check_command(name, arguments):
    """Its overrides compose; of a sweep, the first run's. Configs of the reader's own are left out."""
    if name in PLAIN:
        return
    assert name in COMPOSED
    own, arguments = "--config-dir=conf" in arguments, with_words(arguments) if name == "search" else arguments
    arguments = [word for word in arguments if "=" in word] if name == "replay" else arguments  # the rest is a session
    overrides = [word for word in arguments if not word.startswith("-") and not (own and word.startswith("criterion="))]
    resolve(name, [word.split(",")[0] for word in overrides])


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_configs_say(reference):
    assert PAGES["reference.md"] == reference.render(), (
        "conf/ has changed: run `python docs/reference.py` and commit docs/reference.md"
    )


def test_a_key_with_its_name_default_and_comment_by_hand(reference, tmp_path, monkeypatch):
    """Four keys are explained; `a.none` belongs to the default of `a`, though it has a comment; `plain` has none."""
    monkeypatch.setattr(reference, "CONF", tmp_path)
    folder = tmp_path / "colour"
    folder.mkdir()
    text = (
        "# Some colour.\n# Twice said.\n_target_: seekloop.colours.Red\na:  # mapping\n  none: x  # inside\n  four: y\n"
        "plain: 1\nb: 1.5  # half | more\nc: null  # nothing\nd:\n  e: [1, 2]  # deep\n"
    )
    (folder / "red.yaml").write_text(text)
    found = reference.entry(folder / "red.yaml")
    assert (found.name, found.says, found.target) == ("red", "Some colour. Twice said.", "colours.Red")
    assert [(key.name, key.default, key.comment) for key in found.keys] == [
        ("colour.a", "{none: x, four: y}", "mapping"),
        ("colour.b", "1.5", "half | more"),
        ("colour.c", "null", "nothing"),
        ("colour.d.e", "[1, 2]", "deep"),
    ]
    assert reference.table(("h",), [("half | more <x>",)]).splitlines()[-1] == "| half \\| more &lt;x> |"


def test_the_reference_names_every_key_of_every_component(reference):
    """A law: whatever is set in a component's YAML can be looked up."""
    page = reference.render()
    for path in sorted((ROOT / "conf").glob("*/*.yaml")):
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if "_target_" in values:
            keys = [f"{path.parent.name}.{key}" for key in values if key[0] != "_" and key != "defaults"]
            assert [key for key in keys if f"| `{key}` |" not in page and f"| `{key}." not in page] == []


def test_every_page_is_in_the_navigation():
    def leaves(items):
        for item in items:
            for below in item.values():
                yield from leaves(below) if isinstance(below, list) else [below]

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(leaves(nav)) == sorted(PAGES)


def test_the_site_builds_without_a_warning(tmp_path):
    """Links, anchors and references in docstrings lead somewhere."""
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    for folder in ("docs", "src"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "api" / "criteria" / "index.html").is_file()


def test_every_picture_is_shown_and_all_are_small():
    shown = {
        (DOCS / page).parent.joinpath(target).resolve()
        for page, text in PAGES.items()
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    }
    kept = {path.resolve() for path in (DOCS / "images").rglob("*") if path.is_file()}
    assert shown == kept
    assert sum(path.stat().st_size for path in kept) < 1_000_000


@pytest.mark.parametrize(
    ("name", "arguments"), [call for page in PAGES if page != "reference.md" for call in commands(PAGES[page])]
)
def test_every_command_is_one(name, arguments):
    check_command(name, arguments)


def test_the_criterion_of_ones_own(tmp_path, monkeypatch):
    """Scores 3, 1, -1, -4: by hand, the likely ones nearest first (1, 3), then -1, at 100 - -1 = 101."""
    code = next(block for block in blocks(PAGES["extending.md"], "python") if "class NearestFirst" in block)
    (tmp_path / "nearest_first.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    criterion = instantiate(yaml.safe_load(blocks(PAGES["extending.md"], "yaml")[0]))
    scores = torch.tensor([[3.0, 1.0, -1.0, -4.0]])
    view = CandidateView(
        scores, torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, dtype=torch.int8), lambda: torch.eye(4), 0
    )
    assert criterion(view, 3, [torch.Generator()]).tolist() == [[1, 0, 2]]


def test_the_python_reference_has_a_page_for_each_folder_that_it_names():
    folders = set(re.findall(r"^\| \[`(\w+)`\]", PAGES["api/index.md"], re.MULTILINE))
    assert folders == {page[4:-3] for page in PAGES if page.startswith("api/")} - {"index"}
    assert [name for name in folders if f"::: seekloop.{name}\n" not in PAGES[f"api/{name}.md"]] == []
    assert [name for name in folders if not (SOURCE / name).is_dir()] == []


def test_the_architecture_page_knows_every_folder_and_the_order_of_imports():
    page = PAGES["architecture.md"]
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    table = page.partition("folder of `src/seekloop/`")[2]
    assert set(re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)) == folders
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert "\n".join(layers) in page


def test_the_python_page_runs(tmp_path, monkeypatch):
    """Its blocks, one after the other; the run that it makes says what `simulate` says of the same searches."""
    (tmp_path / "photos").mkdir()
    for name, colour in (
        ("beach", "wheat"),
        ("sea", "teal"),
        ("wood", "darkgreen"),
        *zip("abcdefghij", COLOURS, strict=True),
    ):
        Image.new("RGB", (160, 160), colour).save(tmp_path / "photos" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in blocks(PAGES["python.md"], "python"):
        exec(block, scope)
    assert len(scope["best"]) == 5
    assert len(scope["summary"]) == 1
    store = seekloop.extract("collection.images=60", "backbone=tiny")
    again = seekloop.simulate(store, store.collection.annotations, "loop.queries=1", "loop.rounds=2")
    pd.testing.assert_frame_equal(scope["curves"].drop(columns="run"), again, check_dtype=False)
