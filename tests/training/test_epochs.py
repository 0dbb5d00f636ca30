import pytest
import torch
from torch import nn

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import Network
from seekloop.learning.batches import Batch
from seekloop.learning.descent import Descent
from seekloop.training.epochs import Epochs, Objective, train, undisturbed


class Line(Network):
    """One weight."""

    def __init__(self, weight):
        super().__init__()
        self.frozen, self.dim, self.head = False, 1, nn.Identity()
        self.weight = nn.Parameter(torch.tensor(weight))

    def features(self, pixels):
        return pixels * self.weight


class Square(nn.Module):
    """Half the square of the weight, two batches in an epoch."""

    def __init__(self, weight=1.0, rate=0.1):
        super().__init__()
        self.network, self.settings = Line(weight), Descent(epochs=2, lr=rate, horizon=2, precision="32-true")
        self.about = {"stage": "square"}

    def begin(self, draw, epoch, optimiser):
        nothing = torch.zeros(1, dtype=torch.long)
        batch = Batch(nothing, nothing, nothing.float(), torch.zeros(1, 2, dtype=torch.long), nothing.bool())
        return [batch, batch], {"twice": 2 * epoch}

    def loss(self, batch):
        return self.network.weight.square() / 2

    def groups(self):
        return [{"params": list(self.network.parameters())}]

    def state(self):
        return {}


def run(objective, epochs, kept=None):
    states = []
    module = Epochs(objective, 0, (), states.append, kept or {})
    with undisturbed():
        train(module, epochs, "cpu", "32-true")
    return module.rows, states


def test_two_epochs_by_hand():
    """Gradient w, so each step is w (1 - rate). Rates 0.1 (1 + cos(pi e / 2)) / 2 at e = 0, 1/2, 1, 3/2 are 0.1,
    0.085355, 0.05 and 0.014645; w is 1, 0.9, 0.823180, 0.782021, then 0.770569. Losses: (1 + 0.81) / 4 = 0.4525 and
    (0.677625 + 0.611557) / 4 = 0.322296."""
    objective = Square()
    assert isinstance(objective, Objective)
    rows, states = run(objective, 2)
    assert objective.network.weight.item() == pytest.approx(0.770569, abs=1e-6)
    assert [row["loss"] for row in rows] == pytest.approx([0.4525, 0.322296], abs=1e-6)
    assert [row["lr"] for row in rows] == pytest.approx([0.085355, 0.014645], abs=1e-6)
    assert [(row["stage"], row["epoch"], row["iterations"], row["twice"]) for row in rows] == [
        ("square", 0, 2, 0),
        ("square", 1, 2, 2),
    ]
    assert [(state["epoch"], len(state["rows"])) for state in states] == [(1, 1), (2, 2)]


def test_it_goes_on_after_an_epoch_as_if_it_had_never_stopped():
    objective, rest = Square(), Square(weight=0.9 * (1 - 0.085355339))
    rows, _ = run(objective, 1)
    more, _ = run(rest, 2, {"epoch": 1, "rows": rows})
    assert rest.network.weight.item() == pytest.approx(0.770569, abs=1e-6)
    assert [row["epoch"] for row in more] == [0, 1]
    assert run(Square(), 2, {"epoch": 2, "rows": more}) == (more, [])


def test_a_loss_that_is_not_finite_names_the_rate():
    with pytest.raises(ConfigError, match=r"Descent: lr=0.1 .* the loss is inf in epoch 0 \(square\)"):
        run(Square(weight=1e30), 1)


def test_a_rate_that_would_end_before_the_epochs_is_refused():
    with pytest.raises(ConfigError, match=r"Descent: horizon=1 .* before the 2 epochs are over. Use horizon=2 or more"):
        Descent(epochs=2, lr=0.1, horizon=1)
