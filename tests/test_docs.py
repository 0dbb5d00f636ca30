"""The site's pages agree with what they describe."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "seekloop"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_configs_say(reference):
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == reference.render(), "conf/ has changed: run `python docs/reference.py` and commit docs/reference.md"


def test_a_key_with_its_name_default_and_comment_by_hand(reference, tmp_path):
    """Four keys are explained; `a.none` belongs to the default of `a`, though it has a comment; `plain` has none."""
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
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = {page for item in nav for page in item.values()}
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


def test_the_architecture_page_knows_every_folder_and_the_order_of_imports():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)) == folders
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert "\n".join(layers) in page
