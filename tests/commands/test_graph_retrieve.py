"""`seekloop retrieve` with classifiers and criteria that use the graph of the collection."""

import pandas as pd
import pytest

from tests.commands.runs import SMALL, folder_of, places, refused, results, seekloop, worked


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


def arguments(folder, stores, *words):
    return ("retrieve", *SMALL, *places(folder, stores), "representation=go", *words)


@pytest.mark.parametrize(
    "words",
    [
        ("classifier=diffusion", "criterion=jlp"),
        ("classifier=svm_propagated", "criterion=probcover"),
    ],
    ids=["diffusion-jlp", "svm-probcover"],
)
def test_it_runs(tmp_path, stores, words):
    folder = folder_of(worked(seekloop(*arguments(tmp_path, stores, *words))))
    rounds = pd.read_parquet(folder / "rounds.parquet")
    assert rounds["ap"].between(0, 1).all()
    assert len(rounds) == 2 * 4


def test_a_draw_is_the_same_in_the_same_run_elsewhere(tmp_path, stores):
    words = ("classifier=diffusion", "classifier.normalise=true", "criterion=kmeans_pp")
    first, again = (worked(seekloop(*arguments(tmp_path / name, stores, *words))) for name in ("a", "b"))
    assert results(folder_of(first)) == results(folder_of(again))


@pytest.mark.parametrize("name", ["entropy", "margin"])
def test_criteria_of_classification_are_refused_before_any_work(tmp_path, stores, name):
    said = refused(seekloop(*arguments(tmp_path, stores, f"criterion={name}")))
    assert f"criterion._target_='{name.title()}' cannot work (conf/criterion/{name}.yaml)" in said
    assert "seekloop learn" in said


def test_a_classifier_of_whole_images_is_refused_with_regions(tmp_path, stores):
    said = refused(seekloop(*arguments(tmp_path, stores, "representation=lo_all", "classifier=diffusion")))
    assert "representation=go" in said


def test_settings_that_cannot_work_are_refused_by_their_names(tmp_path, stores):
    said = refused(seekloop(*arguments(tmp_path, stores, "criterion=jlp", "criterion.alpha=1.0")))
    assert said.startswith("error: criterion.alpha=1.0 cannot work")
