"""Rounds through a faiss index, from the command line and from Python."""

import json

import pandas as pd
import pytest

import seekloop as package
from seekloop.protocol.kinds import INDEXED
from tests.commands.runs import EXTRACTED, SMALL, folder_of, places, refused, seekloop, worked
from tests.logs.wandb_file import Logged

pytest.importorskip("faiss", reason="faiss is not installed")
LONG = ("store.faiss.candidates=20", "store.faiss.limit=1.0")


def asked_by(folder):
    return pd.read_parquet(folder / "asked.parquet")[["class_name", "query", "round", "image", "relevant"]]


def test_a_run_through_a_cluster_index_says_how_far_it_is_from_exact(tmp_path, stores, finished):
    command = ("retrieve", *SMALL, *places(tmp_path, stores), "store.index=ivf", "store.faiss.nlist=8", *LONG)
    outcome = worked(seekloop(*command, "wandb.mode=offline"))
    folder = folder_of(outcome)
    assert folder.name != finished[0].name
    rounds = pd.read_parquet(folder / "rounds.parquet")
    assert [name for name in INDEXED if name not in rounds] == []
    assert rounds["pick_recall"].between(0, 1).all()
    assert rounds["shortlist"].between(3, 40).all()
    pd.testing.assert_series_equal(rounds["ap_change"], rounds["ap"] - rounds["ap_exact"], check_names=False)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["pick_recall"] == pytest.approx(rounds["pick_recall"].mean())
    logged = Logged(folder).curve("pick_recall")
    assert logged[:4] == pytest.approx(rounds.groupby("round")["pick_recall"].mean().tolist())
    assert "already finished" in worked(seekloop(*command)).out
    assert len(list(stores.glob("*/index-*.faiss"))) >= 1


def test_a_run_through_an_exact_index_asks_what_a_run_without_one_asks(tmp_path, stores, finished):
    outcome = worked(seekloop("retrieve", *SMALL, *places(tmp_path, stores), "store.index=flat", *LONG))
    assert "building a flat index of 640 vectors x 192" in outcome.out
    rounds = pd.read_parquet(folder_of(outcome) / "rounds.parquet")
    assert (rounds["pick_recall"] == 1).all()
    assert (rounds["certified"] == 1).all()
    assert (rounds["scanned"] == 0).all()
    assert (rounds["shortlist"] < 40).any()
    assert rounds["ap_exact"].tolist() == pytest.approx(pd.read_parquet(finished[0] / "rounds.parquet")["ap"].tolist())
    pd.testing.assert_frame_equal(asked_by(folder_of(outcome)), asked_by(finished[0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("store.index=tree",), "store.index='tree' cannot work: it is unknown. Valid: null, flat"),
        (("store.index=flat", "criterion=core_set"), "Use criterion=uncertainty, top, pf_ma, pf_mmr or mixed"),
        (("store.index=flat", "classifier=nearest"), "classifier='NearestNeighbour' cannot work"),
        (("store.index=ivf", "store.faiss.limit=2"), "store.faiss.limit=2 cannot work"),
    ],
)
def test_what_no_index_can_serve_is_refused_before_any_image_is_described(tmp_path, changes, message):
    said = refused(seekloop("retrieve", *SMALL, *places(tmp_path / "runs", tmp_path / "stores"), *changes))
    assert message in said
    assert not list(tmp_path.glob("stores/*/whole-*.npy"))


def test_codes_that_do_not_fit_the_descriptors_are_refused(tmp_path, stores):
    changes = ("store.index=pq", "store.faiss.pq_m=7")
    assert "Choose 12, for instance" in refused(seekloop("retrieve", *SMALL, *places(tmp_path, stores), *changes))


def test_a_store_is_the_same_whatever_index_is_asked_for(stores):
    plain = package.extract(*EXTRACTED, f"store_dir={stores}")
    assert package.extract(*EXTRACTED, f"store_dir={stores}", "store.index=pq").folder == plain.folder


def test_a_person_searches_through_an_index(stores):
    store = package.extract(*EXTRACTED, f"store_dir={stores}")
    sessions = [
        package.session(store, 0, ["loop.budget=3", *changes], fractions=(0.1, 0.1, 0.6, 0.6))
        for changes in ((), ("store.index=flat", *LONG))
    ]
    for _ in range(2):
        plain, indexed = sessions
        assert [item.image for item in indexed.ask()] == [item.image for item in plain.ask()]
        assert bool(indexed.shortlisted.certified[0])
        assert plain.shortlisted is None
        replies = {image: image % 2 == 0 for image in (item.image for item in plain.ask())}
        for search in sessions:
            search.answer(replies)
    listed = indexed.scores.isfinite()
    assert int(listed.sum()) == int(indexed.shortlisted.length[0])
    assert indexed.scores[listed].tolist() == pytest.approx(plain.scores[listed].tolist(), abs=1e-5)
    assert indexed.ranking(3) == plain.ranking(3)
