"""Maps of tokens that are written as letters, planted objects, and maps at which a method could break."""

from pathlib import Path

import torch
from hydra.utils import get_object
from hypothesis import strategies as st

from seekloop.commands.configs import load_entry
from seekloop.regions.segments import components

CONF = Path(__file__).parents[2] / "conf" / "detector"
DIRECTION = {
    "b": [1.0, 0.0, 0.0, 0.0],  # background
    "p": [0.0, 1.0, 0.0, 0.0],  # objects
    "r": [0.0, 0.0, 1.0, 0.0],
    "s": [0.0, 0.0, 0.0, 1.0],
    "q": [1.0, 1.0, 0.0, 0.0],  # like b and like p: a cosine of 0.71 with both
    "0": [0.0, 0.0, 0.0, 0.0],
}


def configured(name, **changed):
    """The detector of `conf/detector/<name>.yaml`, some settings changed."""
    given = load_entry(CONF / f"{name}.yaml")
    return get_object(given.pop("_target_"))(**(given | changed))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def spelt(*rows):
    """A map of tokens, one letter each."""
    return torch.tensor([[DIRECTION[letter] for letter in row] for row in rows])


def drawn(found):
    """Each mask as rows of `#` and `.`."""
    return [["".join(".#"[inside] for inside in row) for row in mask.int().tolist()] for mask in found.masks]


def planted(h, w, y, x, seed, noise=0.2):
    """An object in rows and columns from first to before end, on a background orthogonal to it, and noise."""
    tokens = torch.eye(32)[0].repeat(h, w, 1)
    tokens[slice(*y), slice(*x)] = torch.eye(32)[1]
    inside = torch.zeros(h, w, dtype=torch.bool)
    inside[slice(*y), slice(*x)] = True
    return tokens + noise / 32**0.5 * torch.randn(h, w, 32, generator=rng(seed)), inside


@st.composite
def maps(draw, smallest=1):
    """Patches of a few directions with noise, of many shapes."""
    h, w, d = draw(st.integers(smallest, 10)), draw(st.integers(smallest, 10)), draw(st.integers(1, 6))
    made = rng(draw(st.integers(0, 2**31)))
    seeds = torch.rand(4, 2, generator=made) * torch.tensor([h, w])
    cells = torch.cartesian_prod(torch.arange(h), torch.arange(w)).float()
    owner = torch.cdist(cells, seeds).argmin(dim=1)
    noise = draw(st.sampled_from([0.0, 0.3, 1.0])) * torch.randn(h * w, d, generator=made)
    return (torch.randn(4, d, generator=made)[owner] + noise).reshape(h, w, d)


ODD = {
    "all equal": torch.full((12, 12, 4), 0.7),
    "all zero": torch.zeros(12, 12, 4),
    "one token": torch.ones(1, 1, 4),
    "two alike": torch.ones(1, 2, 4),
    "two unlike": torch.tensor([[[1.0, 0.0], [-1.0, 0.5]]]),
    "three": torch.randn(3, 1, 4, generator=rng()),
    "one row": torch.randn(1, 80, 4, generator=rng()),
    "ten to one": torch.randn(6, 60, 4, generator=rng()),
    "one token of length 0": torch.ones(5, 5, 4) * (torch.arange(25).reshape(5, 5, 1) != 12),
    "one token that is not": torch.ones(5, 5, 4) * (torch.arange(25).reshape(5, 5, 1) == 12),
    "many of length 0": torch.randn(12, 12, 4, generator=rng()) * (torch.arange(12) > 5)[:, None, None],
    "all opposed": torch.ones(6, 6, 3) * (1 - 2 * (torch.arange(36).reshape(6, 6, 1) % 2)),
    "all orthogonal": torch.eye(16).reshape(4, 4, 16),
    "huge": 1e37 * torch.randn(10, 10, 4, generator=rng()),
    "minute": 1e-37 * torch.randn(10, 10, 4, generator=rng()),
    "half precision": torch.randn(10, 10, 4, generator=rng()).half(),
    "one dimension": torch.randn(10, 10, 1, generator=rng()),
}


def check_odd(detector, name, connectivity=4):
    """What every method has to hold on an odd map: no error, no empty mask, finite scores, pieces in one piece."""
    tokens = ODD[name]
    found = detector(tokens, rng())
    assert found.masks.shape[1:] == tokens.shape[:2]
    assert found.boxes.isfinite().all()
    assert found.score.isfinite().all()
    assert found.level.tolist() == [0] * len(found.masks)
    assert found.affine is None or 0 <= found.affine <= 1
    assert all(len(components(mask.numpy(), connectivity, 1)) == 1 for mask in found.masks)
    return found


def same(one, other):
    return one.affine == other.affine and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("masks", "level", "score")
    )
