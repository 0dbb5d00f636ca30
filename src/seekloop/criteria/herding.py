"""Herding: a batch that stands for the whole uncertain region, not for one corner of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView
from seekloop.criteria.shortlist import require_factor, uncertain


@dataclass(frozen=True)
class Herding:
    """Kernel herding among the most uncertain candidates, on their global descriptors.

    Args:
        shortlist: candidates kept per image asked for, most uncertain first; 1 is the uncertainty criterion.
        bandwidth: deviation of the Gaussian kernel, as a distance between descriptors of unit length.
    """

    shortlist: int
    bandwidth: float

    def __post_init__(self) -> None:
        require_factor(self.shortlist)
        if self.bandwidth <= 0:
            raise ConfigError("criterion.bandwidth", self.bandwidth, "it is a distance", "Choose above 0, such as 0.5.")

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        shortlists = uncertain(view, budget, self.shortlist)
        return torch.stack([kept[herd(view.descriptors[kept], budget, self.bandwidth)] for kept in shortlists])


def herd(rows: Float[Tensor, "k d"], budget: int, bandwidth: float) -> Int[Tensor, " {budget}"]:
    r"""Greedily choose rows whose mean in the kernel's feature space follows the mean of all rows.

    .. math:: i_{t+1} = \arg\max_i \frac{1}{k} \sum_j K(x_i, x_j) - \frac{1}{t+1} \sum_{s=1}^{t} K(x_i, x_{i_s}),
              \qquad K(x, y) = \exp\Bigl(-\frac{\lVert x - y \rVert^2}{2 \sigma^2}\Bigr)

    No row is chosen twice; of equals the first is chosen.

    Args:
        rows: unit length.
        budget: how many, at most k.
        bandwidth: :math:`\sigma`.

    Returns:
        Positions into `rows`, in the order chosen.

    Reference:
        Chen, Welling & Smola, "Super-Samples from Kernel Herding", UAI 2010.
    """
    kernel = ((rows @ rows.T - 1) / bandwidth**2).exp()
    mean = kernel.mean(dim=1)
    spent = torch.zeros_like(mean)
    chosen: list[Tensor] = []
    for step in range(budget):
        value = mean - spent / (step + 1)
        if chosen:
            value[torch.stack(chosen)] = -torch.inf
        chosen.append(value.argmax())
        spent = spent + kernel[chosen[-1]]
    return torch.stack(chosen)
