"""The benchmarks' collections: real stores, the same for the same seed, with classes that boxes point at."""

import pytest
import torch

from benchmarks import facts
from benchmarks.searches import Stopwatch, composed, play
from benchmarks.synthetic import World, annotations, directions, make_store, open_world
from benchmarks.table import BEGIN, END, latest, replaced

WORLD = World(images=300, grid="4x4", dim=32, classes=3)


def test_cells_in_a_box_point_to_its_class(tmp_path):
    """By hand: objects' strengths have the mean 0.7, a cell the length sqrt(1 + 1 + 0.45^2), so 0.47 of a class's look.

    The means of cells inside and outside the boxes differ by that much of it; with rows and columns mixed up, by 0.2.
    """
    store, known = open_world(WORLD, tmp_path), annotations(WORLD)
    cells = store.read(torch.arange(WORLD.images), local=True).local.reshape(WORLD.images, 16, WORLD.dim)
    looks = directions(WORLD).looks.mean(dim=1)
    middles = (store.regions.boxes[:, :2] + store.regions.boxes[:, 2:]) / 2
    inside = ((middles > known.box[:, None, :2]) & (middles < known.box[:, None, 2:])).all(dim=2)
    for label, look in enumerate(looks):
        mine = known.label == label
        shown, hidden = (cells[known.image[mine]][where].mean(dim=0) for where in (inside[mine], ~inside[mine]))
        assert float((shown - hidden) @ look / look.norm() ** 2) == pytest.approx(0.47, abs=0.06)


def test_a_store_is_found_again_and_another_world_is_another_store(tmp_path):
    first = make_store(WORLD, tmp_path)
    written = (first / "COMPLETE").stat().st_mtime_ns
    assert make_store(WORLD, tmp_path) == first
    assert (first / "COMPLETE").stat().st_mtime_ns == written
    assert make_store(World(300, "4x4", 32, 3, seed=1), tmp_path) != first


def test_too_large_a_store_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(facts.TooLargeError, match="GiB of disk free"):
        make_store(World(10**9, "4x4", 768, 20), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_searches_are_played_with_every_part_timed(tmp_path):
    played = play(composed("lo_all", 2, 1, []), WORLD, tmp_path)
    assert sorted(played.rounds["round"].unique()) == [0, 1, 2]
    assert played.asked.shape == (3, 2, 10)
    assert {"fit", "score", "select", "metrics"} <= set(played.stopwatch.seconds)
    assert sum(played.stopwatch.seconds.values()) == pytest.approx(played.total)


def test_a_part_inside_itself_counts_once():
    stopwatch = Stopwatch()
    with stopwatch.part("score"), stopwatch.part("score"):
        pass
    assert len(stopwatch.laps["score"]) == 1


def test_the_last_measurement_of_a_setting_stands():
    lines = [
        {"benchmark": "round", "settings": {"n": n}, "machine": {}, "figures": {"run": run}}
        for n, run in ((1, 1), (2, 2), (1, 3))
    ]
    assert [line["figures"]["run"] for line in latest(lines)] == [2, 3]


def test_only_what_lies_between_the_marks_is_replaced():
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="no <!-- measured: begin"):
        replaced("a", "new")
