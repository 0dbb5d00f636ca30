"""What the teacher says about every photograph: projected maps of its last two stages.

Computed once. A training view is a crop, and takes its targets from the same crop of these maps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import seekloop  # noqa: F401  (first: it makes timm importable where torch and torchvision do not match)

# isort: split

import timm
import torch
from photographs import SIDE, read_squares
from safetensors.torch import load_file
from torch import Tensor, nn

DIMENSIONS = (128, 256)  # kept of the third stage's 1,024 and of the fourth's 2,048
BATCH = 16


@dataclass
class Projection:
    """Centring, rotation to the principal axes, and half of a whitening (division by the root of the deviation)."""

    mean: Tensor
    axes: Tensor

    def __call__(self, maps: Tensor) -> Tensor:
        """(x, h, w, d) to (x, h, w, k), float16."""
        return ((maps - self.mean) @ self.axes).half()


@dataclass
class TeacherMaps:
    """Targets: third stage (n, 16, 16, 128) and fourth stage (n, 8, 8, 256), float16."""

    third: Tensor
    fourth: Tensor


class Teacher(nn.Module):
    """ResNet-50 with the strides of the original publication, cut after its third and fourth stage."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.network = timm.create_model("resnet50", num_classes=0)
        for stage in (self.network.layer2, self.network.layer3, self.network.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        weights = {key: value.float() for key, value in load_file(checkpoint).items() if not key.startswith("fc.")}
        self.network.load_state_dict(weights)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.eval()

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (x, 3, H, W), uint8, to maps (x, H / 16, W / 16, 1024) and (x, H / 32, W / 32, 2048)."""
        net = self.network
        images = ((pixels / 255 - self.mean) / self.std).to(net.conv1.weight.dtype)
        stem = net.maxpool(net.act1(net.bn1(net.conv1(images))))
        third = net.layer3(net.layer2(net.layer1(stem)))
        return channels_last(third), channels_last(net.layer4(third))


def channels_last(maps: Tensor) -> Tensor:
    """(x, d, h, w) to (x, h, w, d), float32."""
    return maps.permute(0, 2, 3, 1).float()


def principal_projection(maps: Sequence[Tensor], kept: int) -> Projection:
    """Fit a projection on all positions of all maps."""
    rows = torch.cat([part.flatten(0, 2) for part in maps]).float()
    mean = rows.mean(0)
    variance, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    strongest = variance.argsort(descending=True)[:kept]
    return Projection(mean, axes[:, strongest] / variance[strongest] ** 0.25)


def described(teacher: Teacher, files: Sequence[Path]) -> Iterator[tuple[Tensor, Tensor]]:
    """Both maps of a few photographs at a time, float16."""
    for start in range(0, len(files), BATCH):
        third, fourth = teacher(read_squares(files[start : start + BATCH], SIDE))
        yield third.half(), fourth.half()
        print(f"teacher: {min(start + BATCH, len(files))} of {len(files)} photographs", flush=True)


def teacher_maps(checkpoint: Path, files: Sequence[Path]) -> TeacherMaps:
    """Run the teacher on all photographs, and project each stage on its principal axes."""
    stages = zip(*described(Teacher(checkpoint).bfloat16(), files), strict=True)
    projected = []
    for chunks, kept in zip(stages, DIMENSIONS, strict=True):
        projection = principal_projection(chunks, kept)
        projected.append(torch.cat([projection(chunk.float()) for chunk in chunks]))
    return TeacherMaps(*projected)


def cached_teacher_maps(cache: Path, checkpoint: Path, files: Sequence[Path]) -> TeacherMaps:
    """The maps from the cache file where it holds those of exactly these photographs, else computed and written."""
    names = [path.name for path in files]
    if cache.exists():
        stored = torch.load(cache)
        if stored["names"] == names:
            return TeacherMaps(stored["third"], stored["fourth"])
    maps = teacher_maps(checkpoint, files)
    cache.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"names": names, "third": maps.third, "fourth": maps.fourth}, cache)
    return maps
