"""Write the benchmark of this folder: objects cut from photographs of VOC2012, pasted on others.

    python experiments/matching/benchmark.py <VOCdevkit> <folder>

Photographs are split by a seed. From 628 of them come the pictures that are searched (`<folder>/search`, 50 objects
on 6 pictures each, and 100 photographs without any); from the other 300 those that teach a whitening
(`<folder>/teach`, 40 objects on 10 pictures each). So no photograph is in both. Each folder has boxes.csv, and
maps.json with the affine map of every object. `<folder>/VOC2012` has the lists `search`, `teach`, and `loop`, 400
photographs of the first.
"""

import random
import sys
from pathlib import Path

from seekloop.images.generated.pasted import Pasted
from seekloop.images.voc import Voc2012

SEARCHED, LOOP = 628, 400


def main(voc: Path, folder: Path) -> None:
    """Write both folders."""
    inner = voc / "VOC2012" if (voc / "VOC2012").is_dir() else voc
    lines = (inner / "ImageSets/Main/trainval.txt").read_text().splitlines()
    mixed = sorted(line.split()[0] for line in lines if line.strip())
    random.Random(0).shuffle(mixed)
    parts = {"search": sorted(mixed[:SEARCHED]), "teach": sorted(mixed[SEARCHED:]), "loop": sorted(mixed[:LOOP])}
    linked = folder / "VOC2012"
    (linked / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    for one in ("JPEGImages", "Annotations"):
        if not (linked / one).exists():
            (linked / one).symlink_to((inner / one).resolve())
    sizes = {"search": (50, 6, 100), "teach": (40, 10, 0)}
    for part, listed in parts.items():
        (linked / f"ImageSets/Main/{part}.txt").write_text("\n".join(listed) + "\n")
        if part not in sizes:
            continue
        source = Voc2012(root=folder, image_set=part)
        instances, copies, distractors = sizes[part]
        pasted = Pasted(source, instances=instances, copies=copies, distractors=distractors)
        pasted.export(folder / part)
        print(f"{len(pasted.paths)} pictures in {folder / part}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
