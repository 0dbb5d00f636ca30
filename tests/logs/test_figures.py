import errno
import io
import math
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from PIL import Image
from sklearn.datasets import load_sample_images

from seekloop.learning.kind import LEARNING
from seekloop.logs import drawing, figures, pictures
from seekloop.protocol.kinds import SEARCHES
from seekloop.protocol.summary import per_class
from tests.logs.fakes import asked_of, fill, queries, rounds_of, run_folder

PHOTOS = [Image.fromarray(photo) for photo in load_sample_images().images]


def read(image):
    return PHOTOS[image % 2]


def left_half(_image, _region):
    return (0.0, 0.0, 0.5, 1.0)


def table(last=3):
    return pd.concat([rounds_of(number) for number in range(last + 1)], ignore_index=True).astype({"precision": float})


def sizes():
    return figures.lines_of_run(SEARCHES, SEARCHES.lines["sizes"], table())


def drawn(figure):
    """Curves of the first panel; seaborn leaves an empty one for each entry of a legend."""
    return [line for line in figure.axes[0].lines if len(line.get_xdata())]


def lines(figure):
    return [[line.get_xydata() for line in axes.lines] for axes in figure.axes]


def test_curves_stand_against_round_labels_and_seconds():
    """By hand: coverage is 0.1 + 0.1 t for all, labels 6 + 3 t, seconds 1.8 a label."""
    panels = lines(figures.lines_of_run(SEARCHES, SEARCHES.lines["curves"], table()))
    by_round, by_labels, by_seconds = (panel[0] for panel in panels[3:])
    assert by_round == pytest.approx(np.array([[0, 0.1], [1, 0.2], [2, 0.3], [3, 0.4]]))
    assert by_labels[:, 0].tolist() == [6, 9, 12, 15]
    assert by_seconds[:, 0] == pytest.approx(1.8 * by_labels[:, 0])


def test_a_panel_without_values_is_left_out():
    """Two cycles of two epochs without pseudo-labels: one panel, with the loss against 1, 2, 3, 4."""
    rows = [{"cycle": n // 2, "epoch": n % 2, "loss": 2.0 - n, "lr": 0.1} for n in range(4)]
    table = pd.DataFrame(rows).reindex(columns=list(LEARNING.tables["epochs"]))
    figure = figures.lines_of_run(LEARNING, LEARNING.lines["epochs"], table)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss"]
    assert drawn(figure)[0].get_xydata().tolist() == [[1, 2.0], [2, 1.0], [3, 0.0], [4, -1.0]]


@pytest.mark.parametrize(("name", "panels"), [("curves", 6), ("sizes", 1)])
@pytest.mark.parametrize("rows", [0, 4])
def test_without_any_value_all_panels_are_there_and_empty(name, panels, rows):
    empty = table().head(rows).assign(**dict.fromkeys(("ap", "coverage", "ap_small", "ap_medium", "ap_large"), np.nan))
    figure = figures.lines_of_run(SEARCHES, SEARCHES.lines[name], empty)
    assert len(figure.axes) == panels
    assert not drawn(figure)
    figure.savefig(io.BytesIO())


def test_the_band_of_a_comparison_is_the_interval_of_the_mean_over_runs():
    """Two runs whose MAP differs by 0.02 everywhere: mean m in the middle; with one degree of freedom t = 12.706, and

    the half-width is 12.706 * (0.02 / sqrt(2)) / sqrt(2) = 0.12706, and 0.12706 / (m (1 - m)) in log-odds. One run has
    no band.
    """
    low = table()
    high = low.assign(ap=low["ap"] + 0.02)
    figure = figures.compare(SEARCHES, {"go": [low, high], "lo_all": [low]})
    own, other = (line.get_ydata() for line in drawn(figure))
    assert own == pytest.approx(other + 0.01)
    edges = figure.axes[0].collections[0].get_paths()[0].vertices
    at_first, m = edges[edges[:, 0] == 0][:, 1], own[0]
    odds = [math.log(m / (1 - m)) + sign * 0.12706 / (m * (1 - m)) for sign in (-1, 1)]
    assert [at_first.min(), at_first.max()] == pytest.approx([1 / (1 + math.exp(-x)) for x in odds], abs=1e-4)


def test_whiskers_are_the_interval_of_the_mean():
    groups = pd.DataFrame({"map_auc_mean": [0.5, 0.6], "map_auc_low": [0.42, None], "map_auc_high": [0.62, None]})
    figure = figures.bars_of_groups(SEARCHES, groups, ["go", "lo_all"])
    (whiskers,) = (item for item in figure.axes[0].collections if len(item.get_segments()) == 2)
    ends = sorted((float(segment[:, 0].min()), float(segment[:, 0].max())) for segment in whiskers.get_segments())
    assert ends == [pytest.approx((0.42, 0.62)), pytest.approx((0.6, 0.6))]


@pytest.mark.parametrize("count", [2, 14, 24, 30])
def test_every_label_of_a_comparison_can_be_read(count):
    """Nothing of the legend is cut, and it covers no curve; of very many, the highest curves are drawn."""
    runs = {
        f"gl_concat_all · 1x1+2x2+4x4 · uncertainty · setting {n:02}": [table().assign(ap=0.02 * n)]
        for n in range(count)
    }
    figure = figures.compare(SEARCHES, runs)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert len(words) == len(drawn(figure)) == min(count, figures.MANY)
    assert words[-1].endswith(f"setting {count - 1:02}")
    assert len(set(words)) == len(words)
    box, page = legend.get_window_extent(), figure.bbox
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= page.x1
    assert box.y1 <= page.y1
    assert all(axes.get_window_extent().x1 <= box.x0 for axes in figure.axes)
    if count > figures.MANY:
        assert "the 24 with the highest MAP of 30" in figure.get_suptitle()


def test_classes_stand_best_first():
    figure = figures.bars_of_classes(SEARCHES, per_class(table()))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog"]  # from below


def sheet_colours(relevant):
    """Colours of the frame of the only thumbnail of round 1, and of its caption."""
    asked = asked_of(1).iloc[:1].assign(relevant=relevant)
    figure = pictures.asked_of_query(SEARCHES, asked, queries().iloc[0], read, left_half)
    picture = figure.axes[0].images[0].get_array()
    left, top = pictures.LEFT, pictures.TILE + pictures.BELOW + pictures.GAP
    caption = next(text for text in figure.axes[0].texts if text.get_text() == "+0.30")
    return "#{:02x}{:02x}{:02x}".format(*picture[top + 1, left + 1]), caption.get_color()


@pytest.mark.parametrize(
    ("relevant", "colour"), [(True, drawing.RIGHT), (False, drawing.WRONG), (None, drawing.UNSURE)]
)
def test_right_wrong_and_unsure_have_their_colours(relevant, colour):
    assert sheet_colours(pd.array([relevant], dtype="boolean")) == (colour, colour)


def test_the_users_box_comes_before_the_best_region():
    relevant, irrelevant, _ = (row for _, row in asked_of(1).iloc[:3].iterrows())
    whole_image = irrelevant.copy()
    whole_image["region"] = -1
    assert pictures.shown_box(relevant, left_half) == (0.1, 0.2, 0.6, 0.9)
    assert pictures.shown_box(irrelevant, left_half) == (0.0, 0.0, 0.5, 1.0)
    assert pictures.shown_box(whole_image, left_half) is None
    assert pictures.shown_box(irrelevant, None) is None


def test_a_run_leaves_its_figures(tmp_path):
    folder = fill(run_folder(tmp_path / "run"), until=2)
    written = figures.write_figures(folder, per_class(folder.table("rounds")), read, left_half)
    assert [path.name for path in written] == [
        "curves.png",
        "sizes.png",
        "classes.png",
        "asked_cat.png",
        "asked_dog.png",
    ]
    for path in written:
        with Image.open(path) as picture:
            assert min(picture.size) > 150
    assert pyplot.get_fignums() == []


def test_a_run_of_one_round_and_a_query_that_asked_nothing_can_be_drawn(tmp_path):
    folder = fill(run_folder(tmp_path / "run"), until=0)
    assert len(figures.write_figures(folder, per_class(folder.table("rounds")), read, None)) == 5


LONG = ("语" * 30, "语" * 29 + "言", "a" * 260, "a" * 259 + "b", "é" * 100, "x" * 187 + "写")
ODD = (
    "a/b",
    "..",
    "../../up",
    "a\0b",
    "a\nb",
    ".hidden",
    "😀",
    "   ",
    "",
    "50%",
    "a%2Fb",
    "$x^$",
    "\udce9",
    "a+b",
    "CON",
    "x\\y",
)


def test_every_class_name_makes_a_file_name_and_distinct_ones_distinct_names():
    found = drawing.file_names("asked_", [*LONG, *ODD, "Cup", "cup"], ".png")
    assert len({name.lower() for name in found}) == len(LONG) + len(ODD) + 2
    for name in found:
        assert len(f"{name}.png".encode()) <= 200
        assert not set(name) & set("/\\\0\n")
        assert name.startswith("asked_")


def test_a_long_name_is_cut_between_two_characters_and_ends_in_a_hash():
    """A Chinese character takes nine bytes once quoted. 200 less asked_, .png, + and 16 digits are 173: 19 of them."""
    (name,) = drawing.file_names("asked_", ["语" * 30], ".png")
    kept, plus, digest = name.removeprefix("asked_").partition("+")
    assert kept == "%E8%AF%AD" * 19
    assert plus
    assert len(digest) == 16
    assert drawing.file_names("asked_", ["语" * 21], ".png") == ["asked_" + "%E8%AF%AD" * 21]  # 189 of 190 bytes


@given(st.lists(st.text(max_size=60), unique=True, max_size=6))
def test_names_of_files_are_distinct_and_can_be_written(names):
    found = drawing.file_names("asked_", names, ".png")
    assert len({name.lower() for name in found}) == len(names)
    assert all(len(name) <= 196 and name.isascii() for name in found)


def with_classes(folder, names):
    """A run of one class of each name, made of the cats of the made-up one."""

    def renamed(table):
        cats = table[table["class_name"] == "cat"]
        return pd.concat([cats.assign(class_name=name) for name in names], ignore_index=True)

    with folder.claim():
        folder.write_queries(renamed(queries()))
        for number in range(2):
            folder.add(
                number, {"rounds": renamed(rounds_of(number)), "asked": renamed(asked_of(1)).assign(round=number)}, None
            )
    return folder


@pytest.mark.parametrize("names", [LONG[:4], ODD[:4], ODD[4:8], ODD[8:12], ODD[13:]])
def test_classes_of_any_name_are_drawn(tmp_path, names):
    folder, said = with_classes(run_folder(tmp_path / "run"), names), []
    written = figures.write_figures(folder, per_class(folder.table("rounds")), read, left_half, said.append)
    assert said == []
    assert len([path for path in written if path.name.startswith("asked_")]) == len(names)
    assert sorted(path.name for path in (folder.path / "figures").iterdir()) == sorted(path.name for path in written)


def test_a_label_can_be_drawn_whatever_is_in_it():
    assert drawing.short("$x^$\n\0\udce9 é写") == r"\$x^\$\n\x00\udce9 é写"
    assert drawing.short("a" * 260) == "a" * 22 + "…" + "a" * 22


def test_a_figure_that_cannot_be_drawn_is_told_and_the_others_are_there(tmp_path):
    """The fourth image is gone: what was asked about dogs and cats in that round cannot be shown."""
    folder, said = fill(run_folder(tmp_path / "run"), until=2), []

    def gone(image):
        if image > 2:
            raise FileNotFoundError(2, "No such file or directory", "3.jpg")
        return read(image)

    written = figures.write_figures(folder, per_class(folder.table("rounds")), gone, left_half, said.append)
    assert [path.name for path in written] == ["curves.png", "sizes.png", "classes.png"]
    place = folder.path / "figures"
    assert said == [
        f"figure {place / name} is missing: No such file or directory. The numbers are whole without it"
        for name in ("asked_cat.png", "asked_dog.png")
    ]


def test_a_figure_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "figures").write_text("in the way")
    said = []
    assert (
        drawing.draw_all(
            tmp_path / "figures",
            {"a": sizes},
            said.append,
        )
        == []
    )
    assert said == [
        f"figure {tmp_path / 'figures' / 'a.png'} is missing: File exists. The numbers are whole without it"
    ]
    assert drawing.draw_all(
        tmp_path,
        {"b": lambda: 1 / 0, "c": sizes},
        said.append,
    )
    assert "b.png is missing: ZeroDivisionError: division by zero." in said[1]


def test_a_full_disk_costs_the_figures_alone(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder, said = fill(run_folder(tmp_path / "run")), []
    monkeypatch.setattr(os, "fsync", full)
    assert figures.write_figures(folder, per_class(folder.table("rounds")), read, None, said.append) == []
    assert len(said) == 5
    assert all("No space left on device" in line for line in said)


def test_sizes_say_how_many_images_and_where_chance_lies():
    counted = {"ap_small": {"images": 1214, "chance": 0.05}, "ap_large": {"images": 3, "chance": 0.125}}
    figure = figures.lines_of_run(SEARCHES, SEARCHES.lines["sizes"], table(), counted)
    (axes,) = figure.axes
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["small objects: 1,214 images", "medium objects", "large objects: 3 images"]
    thin = {line.get_ydata()[0]: line.get_color() for line in axes.lines if line.get_linewidth() < 1}
    assert thin == {0.05: drawing.COLOURS[0], 0.125: drawing.COLOURS[2]}
    assert "chance" in axes.get_title()


def test_series_of_a_comparison_differ_in_marker_and_dashes_not_in_colour_alone():
    """Of nine, the first and the last share colour and marker, and differ in their dashes."""
    figure = figures.compare(SEARCHES, {f"setting {n}": [table()] for n in range(9)})
    looks = [(line.get_marker(), str(line._dash_pattern)) for line in drawn(figure)]
    assert len(set(looks)) == 9


def test_the_axis_of_a_comparison_fits_its_curves_whatever_the_band():
    """Curves from 0.5 to 0.95: an interval over two runs reaches from 0 to 1 and is cut; rounds are whole numbers."""
    low = table()
    figure = figures.compare(SEARCHES, {"go": [low, low.assign(ap=low["ap"] + 0.2)]})
    heights = np.concatenate([line.get_ydata() for line in drawn(figure)])
    room = (heights.max() - heights.min()) / 2
    bottom, top = figure.axes[0].get_ylim()
    assert (bottom, top) == pytest.approx((heights.min() - room, heights.max() + room))
    assert all(tick == int(tick) for tick in figure.axes[0].get_xticks())


@pytest.mark.parametrize(("high", "end"), [(None, 0.2), (0.25, 0.25), (0.9, 0.3)])
def test_bars_end_where_the_longest_does_with_its_whisker_unless_that_is_very_long(high, end):
    groups = pd.DataFrame({"map_auc_mean": [0.1, 0.2], "map_auc_low": [0.1, 0.15], "map_auc_high": [0.1, high]})
    axes = figures.bars_of_groups(SEARCHES, groups, ["go", "lo_all"]).axes[0]
    assert axes.get_xlim() == pytest.approx((0, 1.06 * end))
