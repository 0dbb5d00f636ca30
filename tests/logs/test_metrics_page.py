"""The page that documents the columns and keys names all of them."""

from pathlib import Path

import pytest

from seekloop.logs.files import ASKED, ROUNDS
from seekloop.logs.wandb_log import AXES, CURVES
from seekloop.loop.summary import per_class
from tests.logs.fakes import SUMMARY, rounds_of

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
KEYS = {*ROUNDS.names, *ASKED.names, *CURVES, *AXES, *SUMMARY, *per_class(rounds_of(0)).columns}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_column_is_documented(key):
    assert f"`{key}`" in PAGE
