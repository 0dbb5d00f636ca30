import math

import pytest
import timm
import torch

from seekloop.backbones.cnn import FeatureMap
from seekloop.backbones.tiny import Tiny
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.images.generated.scenes import Scenes
from seekloop.regions.mser import Levels
from seekloop.training.contrastive import Contrastive, contrastive, pooled
from seekloop.training.contrastive_fit import FineTuning, Pairs, trainable
from seekloop.training.contrastive_matching import CommonParts
from seekloop.training.pretraining import PretrainingFolder

MODEL = {"none": "test_resnet.r160_in1k"}
FAST = {"epochs": 3, "queries": 10, "pool": None, "negatives": 2, "lr": 3e-3, "accelerator": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def collection():
    return Scenes(images=24)


def backbone(checkpoint, **kwargs):
    return FeatureMap(MODEL, "own", False, "layer3", checkpoint, 64, None, **kwargs)


def stage(checkpoint, collection, folder, **changes):
    return FineTuning(Contrastive(**{**FAST, **changes}), backbone(checkpoint), collection, folder)


def quiet(_):
    pass


@pytest.mark.parametrize("changes", [{}, {"pooling": "max"}, {"loss": "triplet", "margin": 0.1}, {"matched": True}])
def test_the_loss_falls_and_the_file_is_a_checkpoint(changes, checkpoint, collection, tmp_path):
    told = []
    trained = stage(checkpoint, collection, tmp_path, **changes)
    weights = trained.ensure(told.append)
    rows = trained.epochs()
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["map"] > rows[0]["map"] - 0.05
    assert (rows[-1]["p"] != 3.0) == (changes.get("pooling") != "max")
    fresh = backbone(str(weights))
    pixels = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(fresh(pixels).patches, trained.backbone(pixels).patches)
    assert fresh.weights_hash != backbone(checkpoint).weights_hash
    untouched = torch.load(checkpoint)["layer4.0.conv1.weight"]
    assert torch.equal(torch.load(weights, weights_only=True)["layer4.0.conv1.weight"], untouched)
    again = stage(checkpoint, collection, tmp_path, **changes)
    assert again.ensure(told.append) == weights
    assert len(told) == 3


def test_training_goes_on_as_if_it_had_not_been_stopped(checkpoint, collection, tmp_path):
    class StopError(Exception):
        pass

    def stopping(text):
        if text.startswith("epoch 2/"):
            raise StopError

    with pytest.raises(StopError):
        stage(checkpoint, collection, tmp_path / "a").ensure(stopping)
    parted, whole = (stage(checkpoint, collection, tmp_path / name) for name in "ab")
    first, second = (torch.load(one.ensure(quiet), weights_only=True) for one in (parted, whole))
    assert [row["loss"] for row in parted.epochs()] == [row["loss"] for row in whole.epochs()]
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_a_step_is_the_sum_of_the_pairs_losses(checkpoint, collection, tmp_path):
    """Of one tuple: the query with its positive, and with each negative."""
    module = Pairs(stage(checkpoint, collection, tmp_path), {}, quiet, quiet)
    patches = torch.rand(4, 4, 4, 5, generator=torch.Generator().manual_seed(0))
    vectors = pooled(patches, None, "gem", torch.tensor(3.0))
    want = sum(
        float(contrastive(vectors[:1], vectors[at : at + 1], torch.tensor([at == 1]), 0.7)) for at in range(1, 4)
    )
    assert module.loss(patches).item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_where_nothing_matches_the_loss_is_the_plain_one(loss, checkpoint, collection, tmp_path):
    plain = Pairs(stage(checkpoint, collection, tmp_path, loss=loss), {}, quiet, quiet)
    matched = Pairs(stage(checkpoint, collection, tmp_path, loss=loss, matched=True), {}, quiet, quiet)
    matched.common = CommonParts(Levels(255.0, 100))
    patches = 0.5 + torch.rand(4, 4, 4, 5, generator=torch.Generator().manual_seed(0)) / 1e3  # no regions
    assert matched.loss(patches).item() == plain.loss(patches).item()


def test_what_cannot_be_trained_is_refused(checkpoint, collection, tmp_path):
    with pytest.raises(ConfigError, match="Choose a CNN") as error:
        trainable(Tiny())
    assert error.value.key == "backbone"
    with pytest.raises(ConfigError, match="no class is on two of its images"):
        stage(checkpoint, Scenes(images=1), tmp_path).ensure(quiet)
    with pytest.raises(ConfigError, match="the weights are lost"):
        stage(checkpoint, collection, tmp_path / "lost", lr=math.sqrt(1e38)).ensure(quiet)


def test_an_unreadable_image_is_named(checkpoint, tmp_path):
    class Broken(Scenes):
        broken = False

        def read(self, image):
            if self.broken:
                raise UnreadableImageError(self.paths[image], "it is cut short")
            return super().read(image)

    collection = Broken(images=6)
    trained = stage(checkpoint, collection, tmp_path)
    assert trained.recipe.kind == "weights"  # its images are there, and then no longer
    collection.broken = True
    with pytest.raises(UnreadableImageError, match="training needs every image"):
        trained.ensure(quiet)


def test_what_changes_the_weights_is_in_the_recipe(checkpoint, collection, tmp_path):
    plain = stage(checkpoint, collection, tmp_path)
    others = [
        stage(checkpoint, collection, tmp_path, matched=True),
        stage(checkpoint, collection, tmp_path, lr=1e-4),
        stage(checkpoint, Scenes(images=20), tmp_path),
        FineTuning(plain.settings, plain.backbone, collection, tmp_path, seed=1),
    ]
    keys = {one.recipe.key for one in (plain, *others)}
    assert len(keys) == 5
    assert stage(checkpoint, collection, tmp_path / "else", accelerator="auto").recipe.key == plain.recipe.key
    assert PretrainingFolder(plain.folder, plain.recipe.key).weights.name == "weights.pt"
