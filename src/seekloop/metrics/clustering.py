"""Agreement of two clusterings of the same images."""

from jaxtyping import Int
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor


def normalised_mutual_information(a: Int[Tensor, " n"], b: Int[Tensor, " n"]) -> float:
    r"""Normalised mutual information of two clusterings, from 0 (independent) to 1 (the same).

    .. math:: \mathrm{NMI}(A; B) = \frac{2\, I(A; B)}{H(A) + H(B)}

    The mean of the two entropies is the arithmetic one; numbers of the clusters do not matter. Two clusterings that
    both have a single cluster agree: 1.

    Args:
        a: cluster of each image, at least one image.
        b: likewise, by the other clustering.

    Reference:
        Caron et al., ECCV 2018, section 4.1, write it with the geometric mean; scikit-learn's default is taken here.

    Example:
        >>> import torch
        >>> round(normalised_mutual_information(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 5, 3, 3])), 6)
        1.0
    """
    return float(normalized_mutual_info_score(a.cpu().numpy(), b.cpu().numpy()))
