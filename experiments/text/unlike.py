"""Three thirds of VOC's photographs, and the second one in two other looks: for feedback carried to images unlike it.

    python experiments/text/unlike.py <VOCdevkit> <folder>

leaves the folders `queries`, `answers` and `ranked` of photographs, dealt out in turn, and of those of `answers` two
more: `drawn`, their dark outlines, and `cut_out`, their annotated boxes alone, on white. Each has VOC's layout.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image, ImageFilter

THIRDS = ("queries", "answers", "ranked")


def drawn(picture: Image.Image) -> Image.Image:
    """Outlines of a picture, dark on white."""
    return picture.convert("L").filter(ImageFilter.GaussianBlur(1)).filter(ImageFilter.CONTOUR).convert("RGB")


def cut_out(picture: Image.Image, annotation: Path) -> Image.Image:
    """A picture's annotated boxes on white."""
    ground = Image.new("RGB", picture.size, "white")
    for box in ElementTree.parse(annotation).iter("bndbox"):
        left, top, right, bottom = (int(float(box.findtext(side, ""))) for side in ("xmin", "ymin", "xmax", "ymax"))
        corners = (max(0, left - 1), max(0, top - 1), right, bottom)
        ground.paste(picture.crop(corners), corners[:2])
    return ground


def main(devkit: str, folder: str) -> None:
    """Write the five folders."""
    source = Path(devkit) / "VOC2012"
    names = (source / "ImageSets/Main/trainval.txt").read_text().split()
    for number, third in enumerate(THIRDS):
        some = names[number::3]
        for look in (third, "drawn", "cut_out") if third == "answers" else (third,):
            root = Path(folder) / look / "VOC2012"
            for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
                (root / part).mkdir(parents=True, exist_ok=True)
            (root / "ImageSets/Main/trainval.txt").write_text("\n".join(some) + "\n")
            for name in some:
                photograph, annotation = source / f"JPEGImages/{name}.jpg", source / f"Annotations/{name}.xml"
                (root / f"Annotations/{name}.xml").write_bytes(annotation.read_bytes())
                image = root / f"JPEGImages/{name}.jpg"
                with Image.open(photograph) as picture:
                    if look == third:
                        image.write_bytes(photograph.read_bytes())
                    else:
                        changed = drawn(picture) if look == "drawn" else cut_out(picture.convert("RGB"), annotation)
                        changed.save(image, quality=95)


if __name__ == "__main__":
    main(*sys.argv[1:])
