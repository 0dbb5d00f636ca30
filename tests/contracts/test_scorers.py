"""Scorers in checkpoints: as names and tensors, from which nothing can be run."""

from dataclasses import dataclass, field

import pytest
import torch

from seekloop.artifacts.files import read_tensors, write_tensors
from seekloop.classifiers.diffusion import FieldScorer
from seekloop.classifiers.nearest import NearestScorer
from seekloop.contracts.errors import StoreError
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.scorers import LinearScorer, pack_scorer, unpack_scorer

ROWS = torch.arange(6.0).reshape(2, 3)
SCORERS = [
    LinearScorer(ROWS, torch.zeros(2)),
    LinearScorer(ROWS, torch.ones(2), duals=ROWS[:, :1], anchor=torch.tensor([0.5, 2.0])),
    NearestScorer(ROWS[:, None], torch.tensor([[1.0], [-1.0]])),
    NearestScorer(ROWS[:, None], torch.tensor([[1.0], [-1.0]]), 0.25),
    FieldScorer(ROWS),
]


@pytest.mark.parametrize("scorer", SCORERS)
def test_every_scorer_comes_back_from_a_file(tmp_path, scorer):
    write_tensors(tmp_path / "x.pt", {"scorer": pack_scorer(scorer)}, "runs_dir")
    back = unpack_scorer(read_tensors(tmp_path / "x.pt", "")["scorer"])
    assert type(back) is type(scorer)
    for name, value in vars(scorer).items():
        found = getattr(back, name)
        assert found.equal(value) if isinstance(value, torch.Tensor) else found == value


def test_none_stays_none():
    assert unpack_scorer(pack_scorer(None)) is None


MISCHIEF = [("os", "system"), ("builtins", "eval"), ("pathlib", "Path"), ("nowhere", "A"), ("os", "path.x")]


@pytest.mark.parametrize(("module", "name"), MISCHIEF)
def test_names_of_anything_else_are_refused(module, name):
    with pytest.raises(StoreError, match=f"the checkpoint is of {name}, which is no scorer here. force=true"):
        unpack_scorer({"module": module, "name": name, "parts": {}})


class Plain(Scorer):
    """A scorer that is no dataclass."""

    def scores(self, descriptors):
        return descriptors

    def select(self, queries):
        return self

    def join(self, others):
        return self


@dataclass(frozen=True)
class Remembering(Plain):
    rows: list = field(default_factory=list)


@pytest.mark.parametrize("scorer", [Plain(), Remembering([print])])
def test_a_scorer_that_cannot_be_kept_is_named_with_the_way_out(scorer):
    with pytest.raises(TypeError, match=f"{type(scorer).__name__} cannot be kept: make the scorer a dataclass of"):
        pack_scorer(scorer)
