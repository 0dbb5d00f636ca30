import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, InterpolationKeyError

from seekloop.commands.compose import choices, resolve
from seekloop.commands.configs import conf_dir
from seekloop.commands.groups import LINES, check_keys, groups_of, known_keys
from seekloop.logs.names import representation_name
from tests.commands.runs import refused, seekloop, worked


def raised(cause):
    error = ValueError("what Hydra says")
    error.__cause__ = cause
    return error


def missing(key):
    error = ConfigAttributeError("no such key")
    error.full_key = key
    return raised(error)


def test_the_likely_key_comes_first():
    told = known_keys("retrieve", ["loop.budgets=3"], missing("loop.budgets"))
    assert told == (
        "There is no loop.budgets. Did you mean loop.budget? "
        "Known below loop: budget, classes, negatives, queries, rounds, stop."
    )


def test_below_a_part_without_keys_its_constructor_tells(monkeypatch):
    assert known_keys("retrieve", ["criterion.belo=3"], missing("criterion.belo")) == (
        "There is no criterion.belo. Known below criterion: nothing."
    )
    monkeypatch.setattr("seekloop.criteria.scores.Uncertainty", lambda rows, below=0.5: (rows, below))
    assert known_keys("retrieve", ["criterion.belo=3"], missing("criterion.belo")) == (
        "There is no criterion.belo. Did you mean +criterion.below? Known below criterion: +criterion.below."
    )


def test_an_error_about_a_key_that_exists_gets_no_hint():
    """Such as one whose value refers to something that is not there."""
    assert known_keys("retrieve", [], missing("loop.budget")) is None


def test_errors_of_other_kinds_get_none():
    assert known_keys("retrieve", [], ValueError("other")) is None
    assert known_keys("retrieve", [], None) is None
    with pytest.raises(InterpolationKeyError) as broken:
        OmegaConf.to_container(OmegaConf.create({"seed": "${nowhere}"}), resolve=True)
    assert known_keys("retrieve", [], raised(broken.value)) is None


@pytest.mark.parametrize(
    ("command", "words", "told"),
    [
        ("retrieve", "representation=go local=all", "Type: representation/local=all."),
        ("retrieve", "local.renorm=true", "Type: representation.local.renorm=true."),
        ("learn", "pool=mnist", "pool is now dataset. Type: dataset=mnist."),
        ("learn", "pool.root=here", "Type: dataset.root=here."),
        ("search", "search.whitening=here", "Type: whitening=pca whitening.teacher=here."),
        ("search", "search.whitening_dims=9", "Type: whitening=pca whitening.dims=9, or whitening=centred."),
        ("learn", "method=pre_semi", "Type: pretraining=thesis semi=thesis."),
        (
            "retrieve",
            "dataset=mnist",
            "seekloop retrieve has no group dataset, and would read nothing of it. It belongs",
        ),
        (
            "retrieve",
            "pool=mnist",
            "pool='mnist' cannot work: it is now dataset, and seekloop retrieve has no group dataset",
        ),
        ("retrieve", "+dataset=mnist", "It belongs to seekloop learn. Groups here: collection, registers, backbone,"),
        ("extract", "criterion=top", "It belongs to seekloop retrieve and learn."),
        ("retrieve", "+seeds=3", "seeds=3 cannot work: nothing reads it. Did you mean seed? Known: backbone, cl"),
        ("retrieve", "+loop.budgets=3", "Did you mean loop.budget? Known below loop: budget, classes, negatives,"),
        ("retrieve", "+store.faiss.probes=3", "store.faiss.probes=3 cannot work: nothing reads it. "),
        (
            "learn",
            "+criterion.shortlists=3",
            "criterion.shortlists=3 cannot work: seekloop.criteria.scores.Random takes",
        ),
    ],
)
def test_what_nothing_would_read_is_refused_with_what_to_type(command, words, told, tmp_path):
    message = refused(seekloop(command, *words.split(), f"store_dir={tmp_path}"))
    assert told in message
    assert "+" not in message.partition("Type:")[2]


def test_what_is_handed_on_whole_may_have_more_keys():
    """To timm, or to the table of a paper's numbers."""
    added = ["+numbers.here=1", "++paper.table=2"]
    check_keys("retrieve", resolve("retrieve", added))
    check_keys("learn", resolve("learn", ["model=vit", "+model.options.drop_rate=0.1"]))


def test_an_experiment_that_spells_a_key_wrongly_is_refused(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nlop: {queries: 3}\n")
    outcome = seekloop("retrieve", "--config-dir", str(tmp_path), "experiment=mine")
    assert "lop={'queries': 3} cannot work: nothing reads it. Did you mean loop?" in refused(outcome)


def lines_of_help(command):
    told = worked(seekloop(command, "--help")).out.partition("Keys (")[0]
    return [line.strip().partition(":")[0] for line in told.splitlines() if line.startswith("  ") and line[2] != " "]


def test_the_help_shows_the_groups_of_the_command_in_the_order_of_the_data():
    assert lines_of_help("retrieve") == [
        "collection",
        "backbone",
        "text",
        "regions",
        "descriptor",
        "representation",
        "classifier",
        "criterion",
        "user",
        "reranker",
        "engine",
        "trainer",
        "store",
        "run",
        "experiment",
    ]
    assert lines_of_help("learn") == (
        ["dataset", "model", "backbone", "pretraining", "semi", "training", "criterion", "run", "experiment"]
    )
    told = worked(seekloop("detect", "--help")).out
    assert (
        "detector@regions.detector (below regions=claid, clusters, deep_spectral, egm, lost, maskcut, tokencut): claid,"
        in told
    )
    told = worked(seekloop("learn", "--help", "criterion=jlp")).out
    assert "learning_mnist" in told
    assert "table_1_voc" not in told  # an experiment of retrieve
    assert "neighbours: 50" in told.partition("Keys (")[2]  # of what was chosen


def test_every_group_has_its_line_in_the_help():
    shown = {group for groups in LINES.values() for group in groups}
    for command in ("extract", "check", "retrieve", "learn", "search", "detect", "finetune", "serve", "replay"):
        assert set(groups_of(command)) <= shown


@pytest.mark.parametrize("entry", sorted((conf_dir() / "representation").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_representation_is_named_after_what_it_holds(entry):
    chosen = yaml.safe_load(entry.read_text())["defaults"]
    assert representation_name(chosen[0]["local"], chosen[1]["fusion"]) == entry.stem


def test_runs_and_experiments_name_what_was_built():
    """LO-All, although the preset of GO was where it started: the paper's numbers of LO-All stand beside it."""
    words = ["experiment=table_2_voc", "representation=go", "representation/local=all", "grid=2x2"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("retrieve", words, return_hydra_config=True)
    hydra, before = HydraConfig.instance(), HydraConfig.instance().cfg
    try:
        hydra.set_config(composed)
        named = {group: choices()[group] for group in ("representation", "local", "fusion")}
        assert named == {"representation": "lo_all", "local": "all", "fusion": "none"}
        assert composed.paper == {"table": 2, "map_auc": 0.899, "coverage_auc": 0.642}
    finally:
        hydra.cfg = before
