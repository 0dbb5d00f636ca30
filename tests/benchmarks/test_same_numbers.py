"""Two sides that are the same but for one thing: each must be found, and nothing else."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.differences import compare_arrays, compare_items, compare_tables, report
from benchmarks.same_numbers import (
    ITEMS,
    MADE,
    MARK,
    Item,
    Maker,
    Respelling,
    UnclearError,
    compare,
    keep_arrays,
    keep_tables,
    note,
    respelled,
)

NAN = float("nan")
ROUNDS = pd.DataFrame(
    {
        "class_name": ["dog", "dog", "cat"],
        "round": [0, 1, 0],
        "seconds": [13.6, 31.6, 13.6],
        "ap": [0.5, 0.75, NAN],
        "relevant": pd.Series([True, None, False], dtype=object),
        "negatives": [[1, 2], [3, 4], []],
    }
)


def changed(column, row, value):
    table = ROUNDS.copy(deep=True)
    table.at[row, column] = value
    return table


def differences(a, b, name="rounds", **mapping):
    return [(d.column, d.what) for d in compare_tables("go", name, a, b, **mapping).different]


def test_equal_tables_have_no_difference():
    """NaN is NaN, an empty cell is one, and every value counts: three rows of six columns."""
    found = compare_tables("go", "rounds", ROUNDS, ROUNDS.copy(deep=True))
    assert found.different == ()
    assert (found.compared[0].rows, found.compared[0].values) == (3, 18)


def test_types_and_the_order_of_columns_are_no_difference():
    other = ROUNDS[ROUNDS.columns[::-1]].astype({"round": "int8"})
    assert differences(ROUNDS, other) == []


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("ap", 1, np.nextafter(0.75, 1)),
        ("ap", 2, 0.0),
        ("ap", 0, NAN),
        ("round", 2, 1),
        ("seconds", 0, 13.5),
        ("class_name", 2, "Cat"),
        ("class_name", 2, None),
        ("relevant", 1, False),
        ("negatives", 1, [3, 5]),
        ("negatives", 2, [0]),
    ],
)
def test_one_changed_value_is_found_in_its_column(column, row, value):
    """Also where it is the last bit, or where a number takes the place of NaN, and the other way round."""
    other = changed(column, row, value)
    for a, b in ((ROUNDS, other), (other, ROUNDS)):
        assert differences(a, b) == [(column, "1 of 3 values")]


def test_a_difference_tells_its_first_rows_and_the_largest_distance():
    """0.5 - 0.25 and 0.75 - 0.875; NaN has no distance to 1."""
    other = ROUNDS.assign(ap=[0.25, 0.875, 1.0])
    (found,) = compare_tables("go", "rounds", ROUNDS, other).different
    assert found.first == "row 0: 0.5, not 0.25; row 1: 0.75, not 0.875; row 2: nan, not 1.0"
    assert found.largest == 0.25


def test_of_many_rows_the_first_are_shown():
    many = pd.DataFrame({"image": range(10)})
    (found,) = compare_tables("go", "asked", many, many + 1).different
    assert found.first == "row 0: 0, not 1; row 1: 1, not 2; row 2: 2, not 3; ..."


def test_rows_that_are_missing_or_in_another_order_are_found():
    assert differences(ROUNDS, ROUNDS[:2]) == [("", "3 rows in A, 2 in B")]
    swapped = ROUNDS.iloc[[1, 0, 2]].reset_index(drop=True)
    assert ("round", "2 of 3 values") in differences(ROUNDS, swapped)


def test_a_renamed_column_is_two_missing_ones_until_it_is_listed():
    other = ROUNDS.rename(columns={"ap": "average_precision"})
    assert differences(ROUNDS, other) == [("ap", "missing in B"), ("average_precision", "missing in A")]
    for table in ("rounds", "*"):
        listed = {table: {"ap": "average_precision"}}
        assert differences(ROUNDS, other, renamed=listed) == []
        assert differences(other, other, renamed=listed) == []
    assert len(differences(ROUNDS, other, renamed={"asked": {"ap": "average_precision"}})) == 2
    wrong = other.assign(average_precision=0.0)
    assert differences(ROUNDS, wrong, renamed=listed) == [("average_precision", "3 of 3 values")]


def test_only_what_the_clock_says_is_left_out():
    """`seconds` of a cycle are measured, those of a round are the simulated user's."""
    slower = ROUNDS.assign(seconds=99.0)
    assert differences(ROUNDS, slower, "cycles") == []
    assert differences(ROUNDS, slower, "rounds") == [("seconds", "3 of 3 values")]


def test_arrays_are_compared_byte_for_byte():
    """Of 2 x 3 values one; 0 and -0 are equal numbers of other bytes, and NaN is the same NaN."""
    a = np.array([[0.0, 1.0, NAN], [2.0, 3.0, 4.0]], dtype=np.float16)
    assert compare_arrays("tokens", "whole", a, a.copy()).different == ()
    b = a.copy()
    b[1, 0] = 2.5
    (found,) = compare_arrays("tokens", "whole", a, b).different
    assert (found.what, found.largest) == ("1 of 6 values", 0.5)
    assert found.first == "row (1, 0): 2.0, not 2.5"
    b = a.copy()
    b[0, 0] = -0.0
    assert [d.what for d in compare_arrays("tokens", "whole", a, b).different] == ["1 of 6 values"]


@pytest.mark.parametrize("other", [np.zeros((2, 2), np.float32), np.zeros((3, 2), np.float16), np.zeros(4, np.float16)])
def test_arrays_of_another_type_or_shape_are_found(other):
    (found,) = compare_arrays("tokens", "whole", np.zeros((2, 2), np.float16), other).different
    assert found.what == f"float16 (2, 2) in A, {other.dtype} {other.shape} in B"


def test_empty_tables_and_arrays_are_equal():
    assert compare_tables("go", "asked", ROUNDS[:0], ROUNDS[:0]).different == ()
    assert compare_arrays("claid", "local", np.zeros((0, 4)), np.zeros((0, 4))).different == ()


def side(folder, items, words=("grid=4x4",)):
    """What `make` writes: for each item tables or arrays by the names of their files."""
    for name, files in items.items():
        item = folder / "items" / name
        item.mkdir(parents=True)
        for file, content in files.items():
            np.save(item / file, content) if file.endswith(".npy") else content.to_parquet(item / file)
        (item / MARK).write_text(json.dumps({"command": "retrieve", "words": words, "seconds": 1.0}))
    (folder / MADE).write_text(json.dumps({"commit": folder.name, "threads": 1}))
    return folder


EVERYTHING = {
    "demo/go": {"rounds.parquet": ROUNDS, "asked.parquet": ROUNDS[["round"]]},
    "stores/tokens": {"whole.npy": np.ones((4, 2), np.float16)},
}


def test_two_folders_that_are_the_same(tmp_path, capsys):
    a, b = (side(tmp_path / name, EVERYTHING) for name in "ab")
    assert compare(a, b) == 0
    said = capsys.readouterr().out
    assert "2 items, 3 tables and arrays, 29 values were compared.\nNo difference." in said
    assert "Made on neither side: stores/crops" in said


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"demo/go": EVERYTHING["demo/go"]}, ("stores/tokens", "", "missing in B")),
        (EVERYTHING | {"demo/lo_all": EVERYTHING["demo/go"]}, ("demo/lo_all", "", "missing in A")),
        (EVERYTHING | {"demo/go": {"rounds.parquet": ROUNDS}}, ("demo/go", "asked", "missing in B")),
        (
            EVERYTHING | {"stores/tokens": {"whole.npy": np.zeros((4, 2), np.float16)}},
            ("stores/tokens", "whole", "8 of 8"),
        ),
    ],
)
def test_whatever_is_missing_or_other_on_one_side_is_found(tmp_path, capsys, other, what):
    a, b = side(tmp_path / "a", EVERYTHING), side(tmp_path / "b", other)
    assert compare(a, b) == 1
    item, table, words = what
    line = next(line for line in capsys.readouterr().out.splitlines() if words in line)
    assert [cell.strip() for cell in line.split("|")[1:3]] == [item, table]


def test_only_the_parts_asked_for_are_compared(tmp_path):
    a = side(tmp_path / "a", EVERYTHING)
    b = side(tmp_path / "b", {"demo/go": EVERYTHING["demo/go"]})
    assert compare(a, b, ["demo"]) == 0
    assert compare(a, b, ["learn"]) == 1  # nothing to compare is no proof


def test_items_that_were_asked_for_otherwise_are_no_match(tmp_path, capsys):
    a = side(tmp_path / "a", EVERYTHING)
    b = side(tmp_path / "b", EVERYTHING, words=("grid=2x2",))
    assert compare(a, b) == 1
    assert "grid=4x4, not grid=2x2" in capsys.readouterr().out


def test_the_report_names_what_differs(tmp_path):
    a = side(tmp_path / "a", EVERYTHING)
    b = side(tmp_path / "b", EVERYTHING | {"demo/go": {"rounds.parquet": changed("ap", 0, 0.5625)}})
    text = report(compare_items(a / "items", b / "items", EVERYTHING))
    assert "2 differences" in text
    assert "row 0: 0.5, not 0.5625" in text
    assert "0.0625" in text


def test_tables_are_found_wherever_a_run_left_them(tmp_path):
    """Names of runs are no part of what is kept; a summary becomes a table of one row."""
    run, kept = tmp_path / "runs" / "default" / "all-none-4x4-b1d8", tmp_path / "kept"
    for folder in (run, kept):
        folder.mkdir(parents=True)
    ROUNDS.to_parquet(run / "rounds.parquet")
    (run / "summary.json").write_text('{"map_auc": 0.5, "size_shares": {"small": 1.0}, "seconds_to_10": null}')
    keep_tables(tmp_path / "runs", kept)
    assert sorted(path.name for path in kept.iterdir()) == ["rounds.parquet", "summary.parquet"]
    assert pd.read_parquet(kept / "summary.parquet")["size_shares.small"].tolist() == [1.0]
    ROUNDS.to_parquet(run.parent / "rounds.parquet")
    with pytest.raises(UnclearError, match="not those of one run"):
        keep_tables(tmp_path / "runs", kept)


def test_what_is_done_is_not_run_again_and_what_failed_is(tmp_path, monkeypatch):
    """First the command fails, then it leaves no table, then it works; after that it is not called any more."""
    item = Item("demo/go", "retrieve", ("representation=go",), "demo")
    maker = Maker(tmp_path / "tree", "98bf428", tmp_path, {}, threads=1)
    codes, runs = [1, 0, 0], maker.out / "work" / "runs" / "demo" / "go"

    def run(_maker, _item, log):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("what went wrong")
        if len(codes) == 1:
            runs.mkdir(parents=True)
            ROUNDS.to_parquet(runs / "rounds.parquet")
            (runs / "summary.json").write_text('{"map_auc": 0.5}')
        return codes.pop(0)

    monkeypatch.setattr(Maker, "_run", run)
    outcomes = [maker.ensure(item) for _ in range(4)]
    assert outcomes[0].startswith("failed, see")
    assert outcomes[0].endswith("what went wrong")
    assert outcomes[1].startswith("failed: ")
    assert outcomes[2].endswith(" s")
    assert outcomes[3] == "was done before"
    assert (codes, pd.read_parquet(tmp_path / "items" / "demo" / "go" / "rounds.parquet").shape) == ([], (3, 6))


def test_a_folder_begun_with_another_commit_is_not_gone_on_with(tmp_path):
    note(tmp_path, {"commit": "a", "threads": 1})
    note(tmp_path, {"commit": "a", "threads": 1})
    with pytest.raises(SystemExit, match="begun with another threads: choose another folder"):
        note(tmp_path, {"commit": "a", "threads": 2})


def test_a_store_in_many_files_is_the_same_as_in_few(tmp_path):
    """Ten rows in shards of four, and in shards of one: as many files, the tenth of which has the longest name."""
    rows = np.arange(20, dtype=np.float16).reshape(10, 2)
    for step, digits in ((4, 5), (1, 1)):
        store, kept = tmp_path / f"stores{step}" / "scenes-tiny-f7af", tmp_path / f"kept{step}"
        for folder in (store, kept):
            folder.mkdir(parents=True)
        for number, first in enumerate(range(0, 10, step), 1):
            np.save(store / f"whole-{number:0{digits}}.npy", rows[first : first + step])
        np.save(store / "readable.npy", np.ones(10, bool))
        keep_arrays(store.parent, kept)
        assert sorted(path.name for path in kept.iterdir()) == ["readable.npy", "whole.npy"]
        assert np.array_equal(np.load(kept / "whole.npy"), rows)
    np.save(tmp_path / "stores1" / "whole-1.npy", rows)
    with pytest.raises(UnclearError, match="2 stores"):
        keep_arrays(tmp_path / "stores1", kept)


def test_overrides_are_said_as_a_commit_spells_them():
    """By key, by key and value, and one after the other; what has no new spelling is left out."""
    changes = (
        Respelling("1", "encoding", "descriptor/encoding"),
        Respelling("2", "descriptor/encoding=tokens", "descriptor=tokens"),
        Respelling("3", "grid", None),
    )
    words = ["-m", "encoding=tokens", "encoding.inside=mask", "grid=4x4", "encoding=roi"]
    assert respelled(words, changes) == ["-m", "descriptor=tokens", "encoding.inside=mask", "descriptor/encoding=roi"]
    assert respelled(words, ()) == words


def test_items_have_names_of_their_own():
    names = [item.name for item in ITEMS]
    assert len(set(names)) == len(names)
    assert all(name.count("/") == 1 for name in names)
