"""A search for regions as a program of its own, as spawned processes import the main module again."""

import sys

import seekloop  # noqa: F401 - before Lightning, which imports torchvision
from tests.extraction.extractions import TRAINER
from tests.extraction.fakes import Noise
from tests.extraction.test_detect import detected

if __name__ == "__main__":
    folder, images, devices = sys.argv[1:]
    trainer = {**TRAINER, "devices": int(devices), "strategy": "ddp_spawn", "jobs": 2}
    detected(folder, trainer=trainer).found(Noise(int(images)), print)
