"""Objects discovered in a collection: what recurs is found, the graph is kept, and everything is resumed and reused."""

from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional as F

from seekloop.backbones.cnn import MapTokens
from seekloop.backbones.preprocessing import Preprocessing
from seekloop.contracts.errors import ConfigError, StoreError, UnreadableImageError
from seekloop.descriptors.saliency import ObjectSaliency, feature_saliency
from seekloop.descriptors.whitening import Whitening, learn_whitening
from seekloop.extraction.detect import Detection
from seekloop.extraction.discover import Discovered, Discovery, Vertices, joined, region_vectors
from seekloop.extraction.salient import FeatureSalient
from seekloop.extraction.trainer import TrainerSettings
from seekloop.graphs.affinity import Graph
from seekloop.graphs.centrality import centrality
from seekloop.images.transforms import to_pixels
from seekloop.regions.egm import Egm
from seekloop.regions.lost import Lost
from seekloop.store.discovery import kept_edges, kept_graph
from seekloop.store.manifest import store_folder
from tests.extraction.extractions import TRAINER
from tests.extraction.fakes import Noise

HEIGHT, WIDTH, CHANNELS = 12, 16, 14


class Levels(nn.Module):
    """Each level of grey has a channel of its own; black has none. A cell is the mean of 8 x 8 pixels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        level = F.avg_pool2d(pixels[:, :1], 8) * (CHANNELS + 1)
        each = torch.arange(1, CHANNELS + 1, dtype=pixels.dtype).reshape(1, -1, 1, 1)
        return [F.relu(1 - (level - each).abs()) * self.weight]


class Spots(Noise):
    """Pictures of 128 x 96 pixels: on black, a square of the same grey in all, and one that no other picture has."""

    def __init__(self, images, dark=(), **changes):
        super().__init__(images, **changes)
        self.dark = dark

    def places(self, image):
        rng = torch.Generator().manual_seed(image)
        left, right = torch.randint(0, 3, (2,), generator=rng).tolist()
        return (16 + 8 * left, 24), (80 + 8 * right, 32)

    def read(self, image):
        if image in self.corrupt:
            raise UnreadableImageError(self.paths[image], "not an image")
        picture = Image.new("RGB", (128, 96))
        for (x, y), channel in zip(self.places(image), (1, 2 + image), strict=True):
            if image not in self.dark:
                grey = round(255 * channel / (CHANNELS + 1))
                ImageDraw.Draw(picture).rectangle((x, y, x + 31, y + 31), fill=(grey,) * 3)
        return picture


PLAIN = Preprocessing((32, 32), (0.0,) * 3, (1.0,) * 3, "bilinear")


def network():
    return MapTokens(Levels(), "levels", CHANNELS, (), PLAIN)


def discovery(folder, trainer=None, **changes):
    """At the size of the pictures, 16 x 12 cells."""
    chosen = {"shortest": HEIGHT, "longest": WIDTH, "detector": FeatureSalient(sigma=1.0), "backbone": network()}
    chosen |= {"graph": Graph(neighbours=5), "mixture": Egm(power=2.0, sigma=1.0)}
    return Discovery(Discovered(**{**chosen, **changes}), folder, TrainerSettings(**{**TRAINER, **(trainer or {})}))


def quiet(_):
    pass


def test_feature_saliency_is_that_of_any_detector(tmp_path):
    """With saliency=feature the stage is the detector's: the same folder, the same regions, no graph."""
    pictures, chosen = Spots(4), discovery(tmp_path, saliency="feature")
    found = chosen.found(pictures, quiet)
    plain = Detection(chosen.regions.detected(), tmp_path, chosen.trainer)
    assert plain.recipe(pictures).key == chosen.recipe(pictures).key
    assert plain.found(pictures, quiet).boxes.equal(found.boxes)
    assert not list(tmp_path.glob("*/discovery.json"))
    seen = found.image(2)
    assert seen.saliency.shape == (HEIGHT, WIDTH)
    masks = seen.masks.float()
    means = (masks * seen.saliency).sum(dim=(1, 2)) / masks.sum(dim=(1, 2))
    torch.testing.assert_close(seen.score, means)  # eq. 5.9


def test_what_recurs_is_salient_and_what_is_alone_is_not(tmp_path):
    """One of two squares is in every picture: object saliency lies on it, more than feature saliency."""
    pictures = Spots(12)
    shares = {}
    for saliency in ("feature", "object"):
        found = discovery(tmp_path, saliency=saliency).found(pictures, quiet)
        inside = []
        for image in range(12):
            (x, y), _ = pictures.places(image)
            values = found.image(image).saliency
            inside.append(float(values[y // 8 : y // 8 + 4, x // 8 : x // 8 + 4].sum() / values.sum()))
        shares[saliency] = sum(inside) / 12
    assert shares["object"] > 0.75
    assert shares["object"] > shares["feature"] + 0.2


def test_the_graph_holds_the_first_regions_of_all_images(tmp_path):
    pictures, chosen = Spots(6), discovery(tmp_path)
    graph = chosen.discovered(pictures, quiet)
    (first,) = chosen.first
    found = first.found(pictures, quiet)
    assert graph.box.equal(found.boxes)
    assert graph.saliency.equal(found.score)
    assert graph.image.tolist() == torch.arange(6).repeat_interleave(found.offsets.diff()).tolist()
    weights = kept_edges(chosen.folder_of_graph(pictures))
    assert (weights != chosen.regions.graph.weights(graph.vectors)).nnz == 0
    torch.testing.assert_close(graph.centrality, centrality(weights, "katz"))
    assert graph.vectors.norm(dim=1).allclose(torch.ones(len(graph.vectors)))


def test_vectors_are_pooled_in_the_regions_cell_by_cell():
    rng = torch.Generator().manual_seed(0)
    tokens, masks = torch.randn(4, 5, 3, generator=rng), torch.rand(2, 4, 5, generator=rng) > 0.5
    for row, mask in zip(region_vectors(tokens, masks, 3.0), masks, strict=True):
        cells = tokens[mask].clamp(min=0)
        torch.testing.assert_close(row, (cells**3).mean(dim=0) ** (1 / 3))


def test_several_scales_give_vertices_each(tmp_path):
    pictures, chosen = Spots(5), discovery(tmp_path, scales=(1.0, 0.5))
    graph = chosen.discovered(pictures, quiet)
    counts = [len(look.found(pictures, quiet).boxes) for look in chosen.first]
    assert [look.regions.longest for look in chosen.first] == [WIDTH, WIDTH // 2]
    assert len(graph.vectors) == sum(counts)
    assert min(counts) > 0


def test_a_second_run_reads_everything_from_disk(tmp_path, monkeypatch):
    pictures = Spots(5)
    before = discovery(tmp_path).found(pictures, quiet)
    monkeypatch.setattr(Spots, "read", lambda *_: pytest.fail("it was read again"))
    after = discovery(tmp_path).found(pictures, quiet)
    assert after.boxes.equal(before.boxes)
    assert after.image(3).saliency.equal(before.image(3).saliency)


@pytest.mark.parametrize(("keep", "jobs"), [((), 1), (("tokens",), 2)])
def test_regions_do_not_depend_on_what_is_kept_nor_on_jobs(tmp_path, keep, jobs):
    pictures = Spots(5)
    wanted = discovery(tmp_path / "one").found(pictures, quiet)
    other = discovery(tmp_path / "other", keep=keep, trainer={"jobs": jobs}).found(pictures, quiet)
    assert other.boxes.equal(wanted.boxes)
    assert other.score.equal(wanted.score)


def test_another_image_changes_the_recipe_and_nothing_is_taken_over(tmp_path):
    """The first regions of the same pictures may be taken over; those that depend on all images are not."""
    chosen = discovery(tmp_path)
    assert chosen.recipe(Spots(5)).without("collection").key != chosen.recipe(Spots(6)).without("collection").key
    (first,) = chosen.first
    assert first.recipe(Spots(5)).without("collection").key == first.recipe(Spots(6)).without("collection").key
    graph = chosen.recipe_of_graph(Spots(5)).key
    assert graph in [one.key for one in chosen.recipe(Spots(5)).inputs]


@pytest.mark.parametrize(
    "changes",
    [
        {"centrality": "degree"},
        {"learn": "pca", "dims": 3},
        {"learn": "pca"},
        {"same_image": False},
        {"graph": Graph(neighbours=4)},
        {"objects": ObjectSaliency(nearest=3)},
        {"mixture": Egm(power=3.0)},
        {"scales": (1.0, 0.5)},
        {"detector": FeatureSalient(sigma=2.0)},
        {"whitening": Whitening(torch.zeros(CHANNELS), None)},
    ],
)
def test_every_choice_is_in_the_recipe(tmp_path, changes):
    assert discovery(tmp_path).recipe(Spots(5)).key != discovery(tmp_path, **changes).recipe(Spots(5)).key


def test_a_new_image_needs_the_graph_alone(tmp_path):
    """Its saliency and regions are those it would have as an image of the collection; its own regions may be barred."""
    pictures, chosen = Spots(6), discovery(tmp_path)
    found = chosen.found(pictures, quiet)
    with torch.inference_mode():
        tokens = chosen.maps(_pixels(pictures, 2))["tokens"][0].half().float()
    detector = chosen.detector(pictures)
    torch.testing.assert_close(detector.saliency(tokens), found.image(2).saliency)
    assert detector(tokens, torch.Generator()).boxes.equal(found.image(2).boxes)
    barred = replace(detector, objects=ObjectSaliency(own=False, nearest=2, normalisation="none")).of_image(2)
    free = replace(barred, objects=ObjectSaliency(nearest=2, normalisation="none"))
    (_, alone) = pictures.places(2)
    middle = alone[1] // 8 + 1, alone[0] // 8 + 1
    assert barred.saliency(tokens)[middle] < 0.2 * free.saliency(tokens)[middle]


def _pixels(pictures, image):
    maps = network()
    return to_pixels(pictures.read(image), (96, 128), maps.mean, maps.std, maps.interpolation)[None]


def test_dark_and_unreadable_images_stand_for_themselves_and_are_counted(tmp_path):
    said = []
    pictures, chosen = Spots(6, dark=(1,), corrupt=(4,)), discovery(tmp_path)
    found = chosen.found(pictures, said.append)
    counts = found.offsets.diff()
    assert (int(counts[1]), int(counts[4])) == (0, 0)
    assert found.readable.tolist() == [True] * 4 + [False, True]
    assert found.image(1).saliency.equal(torch.zeros(HEIGHT, WIDTH))
    assert chosen.located(found).of(1).tolist() == [[0, 0, 1, 1]]
    assert any("1 images have no region" in line for line in said)
    assert any("could not be read" in line for line in said)


@pytest.mark.parametrize("pictures", [Spots(1), Spots(3, dark=(0, 1, 2)), Spots(2, corrupt=(0, 1))])
def test_one_image_and_none_with_regions(tmp_path, pictures):
    found = discovery(tmp_path).found(pictures, quiet)
    assert len(found.readable) == len(pictures.paths)
    assert len(kept_graph(discovery(tmp_path).folder_of_graph(pictures)).vectors) == len(
        discovery(tmp_path).first[0].found(pictures, quiet).boxes
    )


def test_identical_images_have_identical_regions(tmp_path):
    class Same(Spots):
        def read(self, image):
            return super().read(0)

    found = discovery(tmp_path).found(Same(4), quiet)
    assert all(found.image(image).boxes.equal(found.image(0).boxes) for image in range(4))
    assert len(found.boxes) > 0


def test_a_given_whitening_is_used_and_one_is_learnt_otherwise():
    rng = torch.Generator().manual_seed(2)
    columns = torch.rand(20, generator=rng), torch.zeros(20, dtype=torch.long), torch.rand(20, 4, generator=rng)
    regions = Vertices(torch.rand(20, 5, generator=rng), *columns)
    how = Discovered(FeatureSalient(), network(), learn="pca", dims=3)
    unit = F.normalize(regions.pooled, dim=1)
    learnt, _ = joined(regions, how)
    torch.testing.assert_close(learnt.vectors, learn_whitening(unit, 3).unit(unit))
    given = Whitening(torch.zeros(5, dtype=torch.float64), None)
    for plain in (replace(how, whitening=given), replace(how, learn="none")):
        graph, _ = joined(regions, plain)
        torch.testing.assert_close(graph.vectors, unit)


def test_a_whitening_learnt_on_few_regions_has_few_dimensions():
    """The law that bounds them: whitened in as many dimensions as there are regions, no two are alike."""
    rng = torch.Generator().manual_seed(2)
    columns = torch.rand(20, generator=rng), torch.zeros(20, dtype=torch.long), torch.rand(20, 4, generator=rng)
    regions = Vertices(torch.rand(20, 30, generator=rng), *columns)
    how = Discovered(FeatureSalient(), network(), learn="pca")
    assert joined(regions, how)[0].vectors.shape == (20, 2)  # 20 // 8
    everything, weights = joined(regions, replace(how, dims=30))
    products = everything.vectors @ everything.vectors.T
    assert float((products - torch.eye(20)).max()) < 1e-3
    assert weights.sum() < 1e-6


def test_a_graph_without_edges_is_told(tmp_path):
    told = []
    discovery(tmp_path, graph=Graph(neighbours=1, power=3), same_image=False).discovered(Spots(1), told.append)
    assert any(line.startswith("warning: most regions have no neighbour") for line in told)


def test_a_graph_without_its_files_says_what_to_do(tmp_path):
    pictures, chosen = Spots(2), discovery(tmp_path)
    chosen.discovered(pictures, quiet)
    folder = chosen.folder_of_graph(pictures)
    kept_graph.cache_clear()
    (folder / "vectors.npy").write_bytes(b"no array")
    with pytest.raises(StoreError, match=r"vectors.npy is missing or damaged. Delete .*COMPLETE"):
        kept_graph(folder)
    store_folder(folder).marker.unlink()
    assert len(discovery(tmp_path).discovered(pictures, quiet).vectors) > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"detector": Lost()}, "detector='Lost' .*no feature saliency.*egm"),
        ({"scales": ()}, "scales=.*no regions"),
        ({"shape": "backbone", "scales": (1.0, 0.5)}, "scales=.*one size"),
        ({"shortest": 70}, "shortest=70"),
        ({"centrality": "fame"}, "centrality='fame'"),
    ],
)
def test_choices_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Discovered(**{"detector": FeatureSalient(), "backbone": network(), **wrong})


def test_feature_saliency_of_the_detector_is_that_of_the_module():
    tokens = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert FeatureSalient().saliency(tokens).equal(feature_saliency(tokens))
    area = FeatureSalient(normalisation="area").saliency(tokens)
    torch.testing.assert_close(area, feature_saliency(tokens) * 20**0.25)
