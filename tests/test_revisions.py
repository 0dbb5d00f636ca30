"""Results of every component, kept beside its revision: results that change without a new revision fail here.

A finished run is recognised by its recipe, in which a component of ours counts by name, settings and revision. So
whoever changes results on purpose raises `revision` in the class, and records the new results with

    python -m tests.test_revisions
"""

import json
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from seekloop.commands.configs import load_entry
from seekloop.contracts.recipe import settings
from seekloop.contracts.records import Tokens
from tests.classifiers.rows import problems
from tests.criteria.views import crowd, rngs

ROOT = Path(__file__).parents[1]
RECORDED = Path(__file__).with_name("revisions.json")
# A GPU's library; a collection before the rows; draws of scikit-learn, which may change with its version; a whitening.
NEEDS_MORE = {"svm_cuml", "diffusion", "svm_propagated", "logistic_smoothed", "random_forest", "rmac_whitened"}
TOLERANCE = 2e-3


def criterion(part):
    return part(crowd(3, 60, seed=11), 5, rngs(3)).tolist()


def classifier(part):
    images = torch.nn.functional.normalize(torch.randn(6, 24, generator=torch.Generator().manual_seed(9)), dim=1)
    return part.fit(problems([40, 17], dim=24), None).scores(images).tolist()


def pooling(part):
    rng = torch.Generator().manual_seed(3)
    patches = torch.rand(2, 4, 4, 5, generator=rng)
    return part(Tokens(torch.rand(2, 5, generator=rng), torch.rand(2, 0, 5), patches)).tolist()


def detector(part):
    """Two bright objects on a ground, with a little noise."""
    rng = torch.Generator().manual_seed(7)
    tokens = torch.zeros(12, 14, 8) + torch.tensor([1.0] + [0.1] * 7)
    tokens[2:6, 2:6] = torch.tensor([0.1, 1.0] + [0.1] * 6)
    tokens[7:11, 8:13] = torch.tensor([0.1, 0.1, 1.0] + [0.1] * 5)
    found = part(tokens + 0.05 * torch.randn(tokens.shape, generator=rng), torch.Generator().manual_seed(1))
    return found.masks.flatten(1).sum(dim=1).tolist()


MEASURED = {"criterion": criterion, "classifier": classifier, "pooling": pooling, "detector": detector}


def entries():
    found = [entry for group in MEASURED for entry in sorted((ROOT / "conf" / group).glob("*.yaml"))]
    return [entry for entry in found if entry.stem not in NEEDS_MORE]


def measured(entry):
    """Class, settings and results of one component with the defaults of its YAML."""
    part = instantiate(load_entry(entry))
    return {"settings": settings(part), "results": MEASURED[entry.parent.name](part)}


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.parent.name}-{entry.stem}")
def test_results_change_with_the_revision_only(entry):
    known = json.loads(RECORDED.read_text())[f"{entry.parent.name}/{entry.stem}"]
    found = measured(entry)
    assert found["settings"] == known["settings"], "record it: python -m tests.test_revisions"
    wanted, got = torch.tensor(known["results"]), torch.tensor(found["results"])
    assert wanted.shape == got.shape
    close = torch.allclose(got, wanted, atol=TOLERANCE) if got.is_floating_point() else torch.equal(got, wanted)
    assert close, (
        f"{found['settings']['class']} gives other results: raise its revision if that is meant, and record it"
    )


def test_every_recorded_component_is_there():
    assert set(json.loads(RECORDED.read_text())) == {f"{entry.parent.name}/{entry.stem}" for entry in entries()}


if __name__ == "__main__":
    known = {f"{entry.parent.name}/{entry.stem}": measured(entry) for entry in entries()}
    RECORDED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
