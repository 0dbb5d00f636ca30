"""How much two divisions of the same images have to do with each other."""

from jaxtyping import Int
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor


def normalised_mutual_information(a: Int[Tensor, " n"], b: Int[Tensor, " n"]) -> float:
    r"""What one division says about the other, from 0 (nothing) to 1 (everything).

    .. math:: \mathrm{NMI}(A; B) = \frac{2\, I(A; B)}{H(A) + H(B)}

    The mean of the two entropies is the arithmetic one; names of the parts do not matter. Two divisions that both have
    a single part agree: 1.

    Args:
        a: part of each image, at least one image.
        b: likewise, by the other division.

    Reference:
        Caron et al., ECCV 2018, section 4.1, write it with the geometric mean; scikit-learn's default is taken here.

    Example:
        >>> import torch
        >>> round(normalised_mutual_information(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 5, 3, 3])), 6)
        1.0
    """
    return float(normalized_mutual_info_score(a.cpu().numpy(), b.cpu().numpy()))
