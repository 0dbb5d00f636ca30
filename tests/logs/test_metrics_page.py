"""The page that documents the columns and keys names all of them."""

from pathlib import Path

import pytest

from seekloop.logs.comparison import against_the_best
from seekloop.logs.evaluation_folder import DetectFolder, SearchFolder
from seekloop.logs.files import ASKED, ROUNDS
from seekloop.logs.learn_folder import LearnFolder
from seekloop.logs.wandb_evaluation import OF_RECALL, OF_SEARCH
from seekloop.logs.wandb_learn import OF_CYCLE, OF_EPOCH
from seekloop.logs.wandb_log import AXES, CURVES
from seekloop.protocol.summary import per_class
from tests.logs.fakes import SUMMARY, rounds_of

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
KEYS = {*ROUNDS.names, *ASKED.names, *CURVES, *AXES, *SUMMARY, *per_class(rounds_of(0)).columns}


KEYS |= {name for schema in LearnFolder.TABLES.values() for name in schema.names}
KEYS |= {name for kind in (SearchFolder, DetectFolder) for schema in kind.TABLES.values() for name in schema.names}
KEYS |= {*OF_RECALL, *OF_SEARCH, *SearchFolder.AREAS, *DetectFolder.AREAS}
KEYS |= {*OF_CYCLE, *(f"epoch/{name}" for name in OF_EPOCH), *LearnFolder.AREAS, "accuracy_<labels>", "labels_final"}
REPORTED = {*against_the_best({}).columns, "paper_setup", "paper_table", "runs", "report", "differences"}
KEYS |= {key if "_" not in key or "paper" in key else f"<area>_{key.split('_')[-1]}" for key in REPORTED}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_column_is_documented(key):
    assert f"`{key}`" in PAGE
