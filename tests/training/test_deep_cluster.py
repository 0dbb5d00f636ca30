from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional as F

from seekloop.commands.configs import load_entry
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.learning import Dataset, ImageSet, Network, Pretrainer
from seekloop.contracts.randomness import generator
from seekloop.training.conv13 import Conv13
from seekloop.training.deep_cluster import Clustering, DeepCluster, measured
from seekloop.training.epochs import Epochs
from seekloop.training.pretraining import read_epochs

CONF = Path(__file__).parents[2] / "conf" / "pretraining"
SMALL = {"epochs": 3, "clusters": 4, "batch": 8, "view_batch": 16, "accelerator": "cpu", "precision": "32-true"}


class Small(Network):
    """One convolution, dropout, means; and a head that is never trained here."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.frozen, self.dim = False, 6
            self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3))
            self.head = nn.Linear(6, 2)

    def features(self, pixels):
        return F.normalize(self.body(pixels).mean(dim=(2, 3)), dim=1)


def dataset(count=40):
    """Two classes: red and blue noise."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 80, (count, 3, 8, 8), generator=rng)
    images[torch.arange(count), labels * 2] += 150
    some = ImageSet(images.to(torch.uint8), labels)
    return Dataset("noise", ("red", "blue"), some, some, (0.5,) * 3, (0.3,) * 3, 2, True)


def pretrainer(name="thesis", **keys):
    config = OmegaConf.merge(load_entry(CONF / f"{name}.yaml"), SMALL, {"horizon": None, "sobel": False}, keys)
    arguments = OmegaConf.to_container(config)
    assert arguments.pop("_target_") == "seekloop.training.deep_cluster.DeepCluster"
    return DeepCluster(**arguments)


def run(folder, network=None, seed=1, **keys):
    network = network or Small()
    return network, pretrainer(**keys)(network, dataset(), folder, seed)


@pytest.mark.parametrize("name", ["thesis", "released", "original"])
def test_every_config_pretrains_and_notes_every_epoch(tmp_path, name):
    network, path = run(tmp_path, name=name)
    assert isinstance(pretrainer(name), Pretrainer)
    weights = torch.load(path, weights_only=True)
    assert set(weights) == {key for key in network.state_dict() if not key.startswith("head.")}
    assert all(value.equal(network.state_dict()[key]) for key, value in weights.items())
    table = read_epochs(tmp_path)
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["nmi_previous"].isna().tolist() == [True, False, False]
    assert all(
        sum(sizes) == 40 and len(sizes) == count for sizes, count in zip(table["sizes"], table["clusters"], strict=True)
    )
    assert table["iterations"].tolist() == [5, 5, 5]


def test_the_head_of_the_network_and_what_is_global_stay_as_they_were(tmp_path):
    network = Small()
    before, state = network.head.weight.clone(), torch.get_rng_state()
    first = network.body[0].weight.clone()
    run(tmp_path, network)
    assert network.head.weight.equal(before)
    assert torch.get_rng_state().equal(state)
    assert not network.body[0].weight.equal(first)


def killed(monkeypatch, epoch):
    keep = Epochs.on_train_epoch_end

    def stop(self):
        if self.epoch == epoch:
            raise KeyboardInterrupt
        keep(self)

    monkeypatch.setattr(Epochs, "on_train_epoch_end", stop)


@pytest.mark.parametrize("keys", [{}, {"new_head": False, "sampling": "shuffle", "reseed": False, "horizon": 4}])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_killed_and_gone_on_is_the_same_as_never_killed(tmp_path, monkeypatch, epoch, keys):
    _, whole = run(tmp_path / "whole", **keys)
    with monkeypatch.context() as patch:
        killed(patch, epoch)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(tmp_path / "killed", **keys)
    assert len(read_epochs(tmp_path / "killed")) == epoch
    _, resumed = run(tmp_path / "killed", Small(seed=9) if epoch else None, **keys)
    first, second = (torch.load(path, weights_only=True) for path in (whole, resumed))
    assert all(value.equal(second[name]) for name, value in first.items())
    columns = ["epoch", "loss", "lr", "nmi_truth", "nmi_previous"]
    pandas = [read_epochs(tmp_path / folder)[columns] for folder in ("whole", "killed")]
    assert pandas[0].equals(pandas[1])


def test_a_finished_one_is_found_and_one_of_other_settings_refused(tmp_path, monkeypatch):
    _, path = run(tmp_path / "done")
    stamp = path.stat().st_mtime_ns
    run(tmp_path / "done")
    assert path.stat().st_mtime_ns == stamp
    with monkeypatch.context() as patch:
        killed(patch, 1)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(tmp_path / "killed")
    with pytest.raises(StoreError, match="other settings"):
        run(tmp_path / "killed", lr=0.5)


def test_the_seed_seeds(tmp_path):
    paths = [run(tmp_path / str(number), seed=seed)[1] for number, seed in enumerate((1, 2))]
    first, other = (torch.load(path, weights_only=True) for path in paths)
    assert not first["body.0.weight"].equal(other["body.0.weight"])


def test_it_brings_the_classes_out(tmp_path):
    """Colours decide: clusters say at last nearly all about them.

    Nothing is asked of the loss: the numbers of clusters are drawn anew every epoch, and the head is not.
    """
    run(tmp_path, epochs=8, clusters=2, pca=None, lr=0.1, new_head=False, scale=1.0)
    table = read_epochs(tmp_path)
    assert table["nmi_truth"].iloc[-1] > 0.9
    assert table["loss"].gt(0).all()


def test_heads_depend_on_the_epoch():
    settings = pretrainer(new_head=True)
    module = Clustering(Small(), dataset(), settings, 4, 1, {})
    optimiser = torch.optim.SGD(module.head.parameters(), lr=1.0)
    first = module.head.weight.clone()
    module.begin(lambda word: generator(1, 1, word), 1, optimiser)
    assert not module.head.weight.equal(first)
    module.begin(lambda word: generator(1, 0, word), 0, optimiser)
    assert module.head.weight.equal(first)
    assert float(first.detach().std()) == pytest.approx(0.01, rel=0.5)
    assert not module.head.bias.any()


def test_what_is_noted_of_clusters_by_hand():
    """Clusters 0, 0, 1, 1 are the truth's parts; before, all four images were together, which says nothing."""
    now, truth = torch.tensor([0, 0, 3, 3]), torch.tensor([1, 1, 0, 0])
    assert measured(now, torch.zeros(4, dtype=torch.long), truth) == {
        "nmi_previous": 0.0,
        "nmi_truth": 1.0,
        "clusters": 2,
        "sizes": [2, 2],
    }


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epochs": 0}, "DeepCluster: epochs=0"),
        ({"sampling": "all"}, "DeepCluster: sampling='all' .*uniform, shuffle"),
        ({"pca": 0}, "DeepCluster: pca=0"),
        ({"horizon": 2}, "DeepCluster: horizon=2 .*3 epochs"),
        ({"momentum": 0.0, "nesterov": True}, "DeepCluster: nesterov=True"),
        ({"clusters": 41}, "DeepCluster: clusters=41 .*41 clusters cannot be made of 40 images"),
        ({"clusters": None, "clusters_per_class": 21}, "DeepCluster: clusters_per_class=21 .*42 clusters"),
        ({"sobel": True}, "DeepCluster: sobel=True .*model.sobel=true"),
        ({"lr": 1e30}, r"DeepCluster: lr=1e\+30 .*epoch 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, keys, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, **keys)


def test_clusters_are_counted_per_class_and_sobel_is_found():
    settings = pretrainer(clusters=None)
    assert settings.number_of_clusters(Small(), dataset()) == 10
    assert pretrainer(sobel=True).number_of_clusters(Conv13(16, 0.5, True).build(2, 0), dataset()) == 4


def test_frozen_networks_are_refused():
    network = Small()
    network.frozen = True
    with pytest.raises(ConfigError, match=r"pretraining='DeepCluster' .*model=frozen"):
        pretrainer().number_of_clusters(network, dataset())
