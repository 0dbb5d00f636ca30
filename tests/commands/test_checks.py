"""What is refused before any image is described, and what keeps results and annotations together."""

import pytest

from tests.commands.runs import SMALL, folder_of, photograph, places, refused, seekloop, worked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("classifier=svm_cuml", "pip install 'seekloop[cuml]'"),
        ("classifier.cost=-1", "classifier.cost=-1 cannot work"),
        ("user.label_noise=1.5", "user.label_noise=1.5 cannot work"),
        ("wandb.mode=loud", "wandb.mode='loud' cannot work: it is unknown. Valid: auto"),
        ("metrics.clusters=0", "metrics.clusters=0 cannot work"),
        ("engine.memory=-1", "engine.memory=-1 cannot work"),
        ("loop.classes=3", "loop.classes=3 cannot work: it is no list"),
        ("loop.rounds=99", "rounds x budget = "),
        ("representation/local=box", "Use representation=box"),
        ("regions=boxes", "Use representation=box, the upper bound, or regions=grid"),
        ("prior=similarity classifier=nearest", "a prior is blended with a hyperplane, and this classifier has none"),
    ],
)
def test_a_mistake_is_refused_before_any_image_is_described(tmp_path, change, message):
    said = refused(seekloop("retrieve", *SMALL, *places(tmp_path / "runs", tmp_path / "stores"), *change.split()))
    assert message in said
    assert not list(tmp_path.glob("stores/*/whole-*.npy"))


def test_digits_name_classes(tmp_path, stores):
    told = worked(seekloop("retrieve", *SMALL, *places(tmp_path / "runs", stores), "loop.classes=[1]", "loop.rounds=0"))
    assert "1 search (1 class)" in told.out


def test_other_annotations_make_another_run(tmp_path):
    """The pictures stay as they are, so the store is shared; the answers would not be the same."""
    where = places(tmp_path / "runs", tmp_path / "stores")
    kept = [word for word in SMALL if not word.startswith(("collection", "loop.classes"))]
    photographs = tmp_path / "photographs"
    for number in range(24):
        photograph(photographs / f"{number:02d}.png", number)
    found = []
    for rows in ("cup", "dog"):
        (photographs / "boxes.csv").write_text(
            "image,class,x0,y0,x1,y1\n" + "".join(f"{i:02d}.png,{rows},4,4,20,14\n" for i in range(0, 24, 3))
        )
        boxes = [f"collection.root={photographs}", "collection.boxes=boxes.csv", "collection=folder"]
        found.append(folder_of(worked(seekloop("retrieve", *kept, *boxes, *where))))
    assert found[0] != found[1]
    assert len(list(tmp_path.glob("stores/*/COMPLETE"))) == 1
