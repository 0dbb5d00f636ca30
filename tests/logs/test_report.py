import pytest
import yaml

from seekloop.commands.kinds import KINDS
from seekloop.logs.finished import differing_keys, experiments, finished_runs, look_up, value_of
from seekloop.logs.report import report, tabulate
from seekloop.logs.run_folder import RunFolder
from seekloop.logs.status import status_table
from tests.logs.fakes import SUMMARY, asked_of, queries, rounds_of, run_folder


def finished(path, config, **summary):
    folder = run_folder(path)
    with folder.claim():
        folder.write_config(yaml.safe_dump(config))
        folder.write_queries(queries())
        folder.add(0, {"rounds": rounds_of(0), "asked": asked_of(0)}, None)
        folder.finish({**SUMMARY, **summary})
    return folder


def config(local, seed, budget=10, **more):
    return {
        "seed": seed,
        "loop": {"budget": budget},
        "local": {"cells": len(local)},
        "choices": {"local": local},
        **more,
    }


@pytest.fixture
def runs(tmp_path):
    """Two seeds of GO with 0.5 and 0.7, one run of LO-All with 0.9; the paper names a number for GO only."""
    paper = {"table": "1", "map_auc": 0.829, "coverage_auc": 0.652}
    finished(tmp_path / "a", config("none", 0, paper=paper), map_auc=0.5)
    finished(tmp_path / "b", config("none", 1, paper=paper), map_auc=0.7)
    finished(tmp_path / "c", config("all", 0, paper=None), map_auc=0.9)
    return tmp_path


def test_mean_deviation_and_interval_by_hand(runs):
    """0.5 and 0.7: mean 0.6; deviation over n - 1: sqrt(2 * 0.01) = 0.1414 (over n it would be 0.1).

    Half-width with one degree of freedom: t = 12.706, times 0.1414 / sqrt(2) = 1.2706. As shares: log-odds 0.4055 of
    0.6, plus and minus 1.2706 / (0.6 * 0.4) = 5.2942, which are 0.0075 and 0.9967.
    """
    table = tabulate(finished_runs(runs, KINDS)[0], ("local",)).table.set_index("local")
    assert table.loc["none", "runs"] == 2
    assert table.loc["none", "map_auc_mean"] == pytest.approx(0.6)
    assert table.loc["none", "map_auc_std"] == pytest.approx(0.02**0.5)
    assert table.loc["none", ["map_auc_low", "map_auc_high"]].tolist() == pytest.approx([0.0075, 0.9967], abs=1e-4)
    assert table.loc["all", "map_auc_mean"] == 0.9
    assert table["map_auc_std"].isna().tolist() == [True, False]  # one run has no deviation


def test_the_papers_numbers_stand_beside_ours(runs):
    table = tabulate(finished_runs(runs, KINDS)[0], ("local",)).table.set_index("local")
    assert table.loc["none", ["paper_table", "paper_map_auc", "paper_coverage_auc"]].tolist() == ["1", 0.829, 0.652]
    assert table.loc["all", ["paper_map_auc"]].isna().all()


@pytest.mark.parametrize(("kind", "said"), [("retrieve", {"backbone", "collection"}), ("learn", {"model", "dataset"})])
def test_beside_the_papers_numbers_stands_what_the_runs_kind_works_on(tmp_path, kind, said):
    """Every run has a backbone in its choices, and learns without it where the model is another."""
    choices = {"collection": "scenes", "backbone": "tiny", "dataset": "mnist", "model": "conv13", "local": "none"}
    folder = finished(tmp_path / "run", config("none", 0))
    run = RunFolder(folder.path, KINDS[kind])
    run.config = {"choices": choices, "paper": {"map_auc": 0.8}}
    row = tabulate([run], ("local",)).table.iloc[0]
    assert {key for key in ("collection", "backbone", "dataset", "model") if key in row} == said


def test_the_papers_numbers_cannot_pass_for_ours(tmp_path):
    """Beside them stand what the paper used and what we did."""
    said = {"paper": {"table": 1, "map_auc": 0.829}, "paper_setup": "DINOv2, VOC2012"}
    ours = config("none", 0, **said)
    ours["choices"] |= {"backbone": "resnet50_v1", "collection": "voc2012"}
    finished(tmp_path / "a", ours, map_auc=0.9, images=928)
    report(tmp_path, ["local"], [], KINDS)
    page = (tmp_path / "report_local.md").read_text()
    header, _, row = (line for line in page.splitlines() if line.startswith("|"))
    cells = dict(zip(*([cell.strip() for cell in line.split("|")] for line in (header, row)), strict=True))
    assert cells["map_auc"] == "0.900"
    assert cells["map_auc in the paper"] == "0.829"
    assert cells["the paper used"] == "Table 1: DINOv2, VOC2012"
    assert (cells["backbone"], cells["collection"], cells["images"]) == ("resnet50_v1", "voc2012", "928")
    assert "replicated only where a row's images, their number and the network are the same" in page


def test_the_report_is_written_and_printed(runs, capsys):
    report(runs, None, [], KINDS)
    page = (runs / "report.md").read_text()
    assert "0.600 ± 0.141 [0.007, 0.997] | 0.829" in page
    assert (runs / "report.csv").read_text().startswith("local,runs,map_auc_mean,map_auc_std,map_auc_low,map_auc_high,")
    assert "95 % interval of the mean, by Student's t; of shares" in page
    assert "over the runs of a row (its seeds)" in page
    for name in ("report_curves", "report_bars"):
        assert (runs / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (runs / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    said = capsys.readouterr().out
    assert "0.600 ± 0.141 [0.007, 0.997]" in said
    assert f"figures: {runs / 'report_curves.png'}, {runs / 'report_bars.png'}" in said


def test_what_else_was_averaged_over_is_said(runs):
    finished(runs / "d", config("none", 0, budget=20), map_auc=0.6)
    found = report(runs, ["local"], [], KINDS)
    assert found.averaged == ("loop.budget",)
    assert (
        "which differ not only in their seeds. They also differ in: `loop.budget`"
        in (runs / "report_local.md").read_text()
    )


def test_groups_are_the_keys_that_differ_but_for_the_seed():
    configs = [config("none", 0), config("all", 1), config("all", 2, budget=5)]
    assert differing_keys(configs) == ("local", "loop.budget")  # not seed; local.cells follows from local


def test_keys_that_say_the_same_are_named_once():
    configs = [{"grid": grid, "regions": {"grid": grid}, "wandb": {"tags": [grid]}} for grid in ("2x2", "4x4")]
    assert differing_keys(configs) == ("grid",)


def recorded(seed=0, budget=10, threads=1, precision="32-true", images="aaaa", engine="cpu"):
    """A config with its recipe, which says nothing of threads."""
    descriptors = {"kind": "descriptors", "settings": {"collection": images, "precision": precision}, "inputs": []}
    settings = {"simulation": {"seed": seed, "budget": budget}, "engine": {"device": engine}}
    return {
        "seed": seed,
        "loop": {"budget": budget},
        "classifier": {"threads": threads},
        "choices": {"engine": engine, "classifier": "svm"},
        "recipe": {"kind": "run", "settings": settings, "inputs": [descriptors]},
    }


def test_runs_of_one_recipe_but_for_seeds_and_accidents_are_one_experiment():
    runs = [recorded(), recorded(seed=1), recorded(threads=2), recorded(precision="bf16-true"), recorded(engine="gpu")]
    assert len({str(one) for one in experiments(runs)}) == 1
    assert differing_keys(runs) == ()
    assert len({str(one) for one in experiments([recorded(), recorded(budget=20)])}) == 2


def test_keys_that_differ_within_an_experiment_tell_none_apart():
    """Threads would divide the runs as the budget does, but for the third."""
    assert differing_keys([recorded(), recorded(budget=20, threads=2)]) == ("loop.budget",)
    assert differing_keys([recorded(), recorded(budget=20, threads=2), recorded(seed=1, threads=2)]) == ("loop.budget",)


def test_two_experiments_of_one_config_are_two_rows(tmp_path):
    """Other images under the same name: 0.5 and 0.7 are not averaged."""
    for name, images, area in (("a", "aaaa", 0.5), ("b", "bbbb", 0.7)):
        finished(tmp_path / name, recorded(images=images), map_auc=area)
    found = report(tmp_path, None, [], KINDS)
    assert found.keys == ("recipe",)
    assert sorted(found.table["map_auc_mean"]) == [0.5, 0.7]
    assert report(tmp_path, ["loop.budget"], [], KINDS).averaged == ("recipe",)


def test_numbers_are_ordered_by_size(tmp_path):
    folders = [finished(tmp_path / str(b), config("none", 0, budget=b)) for b in (100, 20, 3)]
    found = tabulate(folders, ("loop.budget",))
    assert found.table["loop.budget"].tolist() == ["3", "20", "100"]


def test_a_choice_comes_before_a_key_and_a_dot_goes_deeper():
    known = {"choices": {"local": "all"}, "local": {"cells": 4}, "loop": {"budget": 10}}
    assert [look_up(known, key) for key in ("local", "local.cells", "loop.budget", "loop.none", "grid")] == [
        "all",
        4,
        10,
        None,
        None,
    ]


def test_an_unknown_key_lists_those_that_differ(runs):
    with pytest.raises(ValueError, match=r"by='lokal' is in no run's config.*the runs: local"):
        report(runs, ["lokal"], [], KINDS)


def test_nothing_finished_is_said(tmp_path):
    with pytest.raises(ValueError, match="no finished run below"):
        report(tmp_path, None, [], KINDS)


def unrecorded(**settings):
    """The config of a run that was made before recipes were recorded."""
    return {key: value for key, value in recorded(**settings).items() if key != "recipe"}


def test_runs_with_and_without_a_recipe_are_one_experiment_where_their_configs_are(tmp_path):
    """0.5, 0.6 and 0.7 over three seeds: one row with their mean."""
    for seed, config in enumerate((recorded(seed=0), unrecorded(seed=1), recorded(seed=2))):
        finished(tmp_path / str(seed), config, map_auc=0.5 + seed / 10)
    found = report(tmp_path, None, [], KINDS)
    assert (found.keys, found.averaged) == ((), ())
    assert found.table["map_auc_mean"].tolist() == pytest.approx([0.6])
    by_recipe = report(tmp_path, ["recipe"], [], KINDS)
    assert by_recipe.table["runs"].tolist() == [3]
    (name,) = by_recipe.table["recipe"]
    assert [value_of(run, "recipe", [run]) == name for run in finished_runs(tmp_path, KINDS)[0]] == [False, True, False]


def test_among_runs_without_a_recipe_two_experiments_of_one_config_are_averaged_and_said(tmp_path):
    for seed, config in enumerate((recorded(images="aaaa"), recorded(seed=1, images="bbbb"), unrecorded(seed=2))):
        finished(tmp_path / str(seed), config)
    found = report(tmp_path, None, [], KINDS)
    assert (found.keys, found.averaged, found.table["runs"].tolist()) == ((), ("recipe",), [3])


def test_runs_of_an_unknown_command_are_refused_by_name(tmp_path):
    finished(tmp_path / "a", {"command": "rank", "seed": 0})
    finished(tmp_path / "b", config("none", 0))
    with pytest.raises(ValueError, match=r"unknown commands have no report: .*/a of `rank`\. Report the folders of"):
        report(tmp_path, None, [], KINDS)
    assert not (tmp_path / "report.md").exists()
    assert status_table(tmp_path, KINDS)["state"].tolist() == ["done", "done"]
