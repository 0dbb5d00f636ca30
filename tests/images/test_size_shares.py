from pathlib import Path

import pytest
import torch

from seekloop.images.objects import RawObject, annotate
from seekloop.images.size_shares import size_shares
from seekloop.images.voc import Voc2012

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_size_shares_by_hand():
    """Areas 0.04, 0.05 (small, below 0.0625), 0.0625 (medium), 0.25 (large)."""
    boxes = [(0, 0, 0.2, 0.2), (0, 0, 0.1, 0.5), (0.5, 0.5, 0.75, 0.75), (0, 0, 0.5, 0.5)]
    annotations, _ = annotate([RawObject("", 0, "c", tuple(map(float, box))) for box in boxes], ())
    assert size_shares(annotations) == {"small": 0.5, "medium": 0.25, "large": 0.25}
    assert size_shares(annotations.keep(torch.zeros(4, dtype=torch.bool))) == {"small": 0, "medium": 0, "large": 0}


@pytest.mark.skipif(not (SHARED / "VOCdevkit").is_dir(), reason="the VOC photographs are not here")
def test_the_voc_photographs():
    shares = size_shares(Voc2012(str(SHARED / "VOCdevkit"), "trainval", True, 0.1, False, None).annotations)
    assert {name: round(share, 3) for name, share in shares.items()} == {
        "small": 0.375,
        "medium": 0.308,
        "large": 0.316,
    }
