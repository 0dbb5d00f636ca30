from dataclasses import replace

import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.descriptors.pooling import GeM
from seekloop.descriptors.roi import FromRegions
from seekloop.extraction.describe import ensure
from seekloop.extraction.whitening import (
    TAUGHT,
    Centred,
    Learner,
    Principal,
    Supervised,
    WhiteningStage,
    annotated,
    sampled,
)
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.regions.grid import Grid
from seekloop.store.reader import open_store
from tests.extraction.extractions import extract, staged
from tests.extraction.fakes import Noise, Patches

LEFT, RIGHT = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]


def quiet(_):
    pass


def boxed(images, boxes, **kwargs):
    """Pictures with objects of two classes: (image, class, box) of each."""
    collection = Noise(images, boxes=[(image, box) for image, _, box in boxes], **kwargs)
    label = torch.tensor([label for _, label, _ in boxes])
    collection.annotations = replace(collection.annotations, classes=("one", "other"), label=label)
    return collection


BOXES = ((3, 1, LEFT), (0, 0, LEFT), (3, 0, RIGHT), (4, 1, RIGHT), (2, 1, LEFT))  # image, class, box: out of order


def test_objects_and_their_classes_find_each_other(tmp_path):
    """Images 0 to 4 of which 1 has no box, and 2 cannot be read: regions of images 0, 1, 3, 3, 4 are left."""
    collection = boxed(5, BOXES, corrupt=(2,))
    stage = staged(tmp_path, collection, chosen={"regions": AnnotatedBoxes()})
    store = open_store(ensure(stage, quiet), None)
    taught = annotated(store, collection, by_region=True)
    assert taught.shown.int().tolist() == [[1, 0], [0, 0], [0, 1], [1, 0], [0, 1]]
    want = [store.read(torch.tensor([image]), True).local for image in (0, 1, 3, 4)]
    torch.testing.assert_close(taught.rows, torch.cat(want))
    whole = annotated(store, collection, by_region=False)
    assert whole.shown.int().tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]]
    assert len(whole.rows) == 4


@pytest.mark.parametrize("by_region", [True, False])
@pytest.mark.parametrize("learner", [Centred, Principal, Supervised])
def test_a_collection_teaches_what_its_descriptors_would(learner, by_region, tmp_path):
    searched, others = Noise(4), boxed(6, BOXES, salt=7)
    stage = WhiteningStage(learner(collection=others), staged(tmp_path, searched), by_region)
    assert isinstance(stage.learner, Learner)
    learnt, told = stage.ensure(quiet), []
    if learner is Supervised and by_region:
        described = staged(tmp_path, others, chosen={"regions": AnnotatedBoxes()})
        taught = annotated(open_store(ensure(described, told.append), None), others, True)
    else:
        store = open_store(ensure(staged(tmp_path, others), told.append), "2x2")
        taught = annotated(store, others, False) if learner is Supervised else None
        taught = taught or type("Taught", (), {"rows": sampled(store, by_region)})
    assert told == []  # described already
    torch.testing.assert_close(learnt.mean, torch.nn.functional.normalize(taught.rows.double(), dim=1).mean(dim=0))
    assert torch.equal(stage.ensure(quiet).mean, learnt.mean)
    assert all(folder.is_dir() for folder in stage.folders)


def test_what_changes_the_whitening_is_in_its_recipe(tmp_path):
    searched, others = Noise(4), boxed(6, BOXES, salt=7)
    described = staged(tmp_path, searched)

    def key(learner, by_region=True, extraction=described):
        return WhiteningStage(learner, extraction, by_region).recipe.key

    folder = extract(tmp_path, others)
    keys = [
        key(Centred(collection=others)),
        key(Centred(collection=others), by_region=False),
        key(Centred(teacher=folder)),
        key(Principal(collection=others)),
        key(Principal(collection=others, dims=3)),
        key(Supervised(collection=others)),
        key(Supervised(collection=others, parity=True)),
        key(Supervised(collection=others, ridge=0.1)),
        key(Supervised(collection=boxed(6, BOXES[:3], salt=7))),
        key(Supervised(collection=boxed(6, BOXES[:3], salt=7)), by_region=False),
        key(Supervised(collection=others), by_region=False),
        key(Centred(collection=others), extraction=staged(tmp_path, searched, chosen={"backbone": Patches(seed=1)})),
    ]
    assert len(set(keys)) == len(keys)
    assert key(Centred(collection=others)) == key(Centred(collection=others), extraction=staged(tmp_path, Noise(9)))


def test_without_other_images_nothing_is_learnt(tmp_path):
    for learner, fix in ((Principal(), "whitening.teacher="), (Supervised(), "collection@whitening.collection=")):
        with pytest.raises(ConfigError, match=fix) as error:
            _ = WhiteningStage(learner, staged(tmp_path, Noise(4)), True).recipe
        assert error.value.key == "collection"
    both = Principal(collection=Noise(3), teacher=tmp_path)
    with pytest.raises(ConfigError, match=r"whitening\.teacher="):
        _ = WhiteningStage(both, staged(tmp_path, Noise(4)), True).recipe


def test_a_collection_without_pairs_is_refused(tmp_path):
    alone = boxed(3, ((0, 0, LEFT), (1, 1, LEFT)))
    for by_region in (True, False):
        with pytest.raises(ConfigError, match="two rows that match"):
            WhiteningStage(Supervised(collection=alone), staged(tmp_path, Noise(4)), by_region).ensure(quiet)


def test_a_store_of_other_settings_teaches_nothing(tmp_path):
    described = staged(tmp_path, Noise(4))
    other = extract(tmp_path, Noise(5), chosen={"backbone": Patches(seed=3)})
    with pytest.raises(ConfigError, match="it has another backbone"):
        _ = WhiteningStage(Centred(teacher=other), described, True).recipe
    with pytest.raises(ConfigError, match="it is no store"):
        _ = WhiteningStage(Centred(teacher=tmp_path / "nothing"), described, True).recipe


def test_many_descriptors_teach_by_an_even_sample(tmp_path, monkeypatch):
    store = open_store(extract(tmp_path, Noise(8)), "2x2")
    monkeypatch.setattr("seekloop.extraction.whitening.TAUGHT", 8)
    assert TAUGHT == 2**16
    torch.testing.assert_close(sampled(store, True), store.read(torch.tensor([0, 4]), True).local)
    assert len(sampled(store, False)) == 8


def test_sums_of_regions_are_whitened_as_whole_images_teach(tmp_path):
    """One whitening for images and sums: other images are pooled over their whole maps, in one store for both."""
    others = boxed(6, BOXES, salt=7)

    def taught_by(encoding, regions):
        chosen = {"encoding": encoding, "regions": regions, "pooling": GeM()}
        extraction = staged(tmp_path, Noise(4), chosen=chosen)
        return WhiteningStage(Supervised(collection=others), extraction, by_region=False)

    sums = taught_by(FromRegions(global_="regions"), Grid("2x2", "2x2"))
    whole = taught_by(FromRegions(), Grid("1x1", "1x1"))
    assert sums.teacher.plan.key == whole.teacher.plan.key
    assert sums.recipe.key == whole.recipe.key
    assert sums.extraction.plan.key != whole.extraction.plan.key
