import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Regions
from seekloop.loop.placement import Engine, Placed
from seekloop.store.arrays import ArrayDescriptors
from tests.worlds import grid_boxes

GOOD = {"memory": "auto", "device": "cpu", "precision": "float32", "together": True}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("memory", value) for value in (0, -1, float("nan"), float("inf"), "much", True)],
        *[("device", value) for value in ("meta", "mps", "tpu", "cuda:99", "")],
        ("precision", "float16"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(key, value):
    with pytest.raises(ConfigError, match=rf"^Engine: {key}=") as refused:
        Engine(**GOOD | {key: value})
    assert "\n" not in str(refused.value)


def test_half_of_what_is_free_or_what_was_said():
    assert Engine(**GOOD | {"memory": 0.5}).bytes() == 2**29
    assert Engine(**GOOD).bytes() > 2**20


class Streaming(ArrayDescriptors):
    """Descriptors that make products as a store of half precision does."""

    def streams(self, local):
        return True


@pytest.mark.parametrize(
    ("precision", "products", "order", "searches", "blocks"),
    [
        ("float32", True, range(8), 1, 1),  # 5 rows x 1 product x 4 bytes: 18 images in 360 bytes
        ("float32", False, range(8), 1, 4),  # 5 rows x (8 numbers and a product) x 4 bytes: 2 images
        ("float64", True, range(8), 1, 8),  # numbers of 8 bytes are copies
        ("float32", True, range(7, -1, -1), 1, 4),  # images out of order are gathered
        ("float32", True, range(8), 9, 8),  # many searches are served by copies: 5 x 17 x 4 bytes an image
    ],
)
def test_a_few_products_made_straight_from_files_come_in_one_block(precision, products, order, searches, blocks):
    regions = Regions(grid_boxes(2, 2), None)
    source = Streaming(torch.rand(8, 8), torch.rand(32, 8), regions)
    placed = Placed(source, Engine(**GOOD | {"precision": precision}), local=True, memory=8 * 360)
    assert len(list(placed.split(torch.tensor(list(order)), searches, products=products))) == blocks
    plain = ArrayDescriptors(source.global_, source.local, regions)
    placed = Placed(plain, Engine(**GOOD | {"precision": precision}), local=True, memory=8 * 360)
    assert len(list(placed.split(torch.arange(8), 1, products=products))) == (4 if precision == "float32" else 8)
