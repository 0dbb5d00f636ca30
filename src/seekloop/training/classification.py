"""Classification of labelled images, or of those and images with propagated labels."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from seekloop.contracts.learning import Network, Propagation, PseudoLabels
from seekloop.learning.batches import Batch, batches_of
from seekloop.learning.cycles import Row
from seekloop.learning.descent import Training
from seekloop.learning.schemes import Scheme
from seekloop.training.views import Pictures, features_of, view

Watch = Callable[[PseudoLabels, Int[Tensor, " n"]], Mapping[str, float]]


class Classification(nn.Module):
    r"""Cross-entropy on labels and pseudo-labels (`epochs.Objective`): mean over the batch of :math:`-w_i \log p_i`.

    Args:
        network: to be trained.
        pictures: the images.
        labels: the answers, -1 where nobody was asked.
        known: those, and labels of other origin.
        classes: how many there are.
        training: settings of the optimiser.
        scheme: how an epoch is put together.
        propagation: spreads the labels over the graph of features before every epoch; None: `known` stays.
        watch: measures pseudo-labels; its numbers are noted with the epoch.
    """

    def __init__(
        self,
        network: Network,
        pictures: Pictures,
        labels: Int[Tensor, " n"],
        known: PseudoLabels,
        classes: int,
        training: Training,
        scheme: Scheme,
        propagation: Propagation | None,
        watch: Watch,
    ) -> None:
        super().__init__()
        self.network, self.pictures, self.settings, self.scheme = network, pictures, training, scheme
        self.labels, self.known, self.classes = labels, known, classes
        self.propagation, self.watch = propagation, watch
        self.about: Row = {"stage": "supervised" if propagation is None else "semi"}
        self.features: Tensor | None = None

    def begin(self, draw: Callable[[str], Generator], epoch: int, optimiser: Optimizer) -> tuple[list[Batch], Row]:
        """Propagate labels by the network as it is now, if configured; draw the batches."""
        del optimiser
        settings, pictures, measures = self.settings, self.pictures, Row()
        if self.propagation is not None:
            if epoch == 0 and self.scheme.first == "pixels":
                features = pictures.images.flatten(1).float().cpu()
            else:
                moves = pictures.random_moves(draw("view")) if settings.augmented_views else None
                features = view(self.network, pictures, settings.view_batch, settings.precision, moves).features
            self.known = self.propagation(features, self.labels, self.classes)
            measures = dict(self.watch(self.known, self.labels))
        if self.network.frozen and self.features is None:  # they are taken once
            self.features = features_of(self.network, pictures, settings.view_batch, settings.precision)
        rng = draw("batches")
        plan = self.scheme.plan(self.labels, self.known, self.classes, settings.batch, settings.iterations, rng)
        return batches_of(plan[0], self.known, plan[1], pictures.shift, pictures.flips, rng), measures

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the batch of weighted cross-entropies."""
        if self.features is None:
            logits = self.network(self.pictures(batch, self.settings.channels_last))
        else:
            logits = self.network.head(self.features[batch.image])
        return (F.cross_entropy(logits, batch.target, reduction="none") * batch.weight).mean()

    def groups(self) -> list[dict[str, Any]]:
        """All parameters that learn, with Nesterov's momentum."""
        settings, momentum = self.settings, self.settings.momentum
        wanted = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        options = {"momentum": momentum, "weight_decay": settings.weight_decay, "nesterov": momentum > 0}
        return [{"params": wanted, **options}]

    def state(self) -> dict[str, Any]:
        """Nothing beside the network."""
        return {}
