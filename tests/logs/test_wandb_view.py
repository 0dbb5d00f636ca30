"""The view of a project that docs/dashboards.md describes, built and read back without a server."""

import importlib.util
import re
from pathlib import Path

import pytest

from seekloop.logs.wandb_log import rows_of
from tests.logs.fakes import SUMMARY, fill, run_folder

workspaces = pytest.importorskip("wandb_workspaces.workspaces")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def view():
    """As W&B would keep it, and give it back."""
    spec = importlib.util.spec_from_file_location("wandb_view", DOCS / "wandb_view.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return workspaces.Workspace._from_model(module.view("me", "seekloop")._to_model())


def test_every_panel_shows_a_key_that_a_run_sends(view, tmp_path):
    rows = rows_of(fill(run_folder(tmp_path / "run")))
    sent = {key for row in rows for key in row} | SUMMARY.keys() | {"asked"}
    for panel in (panel for section in view.sections for panel in section.panels):
        about = vars(panel)
        given = [about.get(name) or [] for name in ("x", "y", "metrics", "media_keys")]
        keys = [key for one in given for key in (one if isinstance(one, list) else [one])]
        names = {getattr(key, "name", key) for key in keys}
        assert names <= sent, panel
        pattern = about.get("metric_regex")
        assert names or pattern
        assert not pattern or any(re.fullmatch(pattern, key) for key in sent)


def test_the_page_describes_its_sections(view):
    page = (DOCS / "dashboards.md").read_text().partition("### A view of the project")[2]
    assert [row[1] for row in re.finditer(r"^\| ([A-Z][\w' ]+) \| (?!panels)", page, re.MULTILINE)][
        : len(view.sections)
    ] == [section.name for section in view.sections]
    assert "choices.representation" in page
    assert [one.name for one in view.runset_settings.groupby] == ["choices.representation"]
