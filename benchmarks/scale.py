"""What a hundred million images need, from what was measured per item.

    python -m benchmarks.scale [--write]

Costs are taken from the latest measurements in benchmarks/results.jsonl; nothing else enters but sizes that are chosen
and the bytes of formats. What was not measured yet is said to be so. `--write` puts it into docs/scale.md.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import facts
from benchmarks.searches import table_of
from benchmarks.table import Line, latest, read, replaced, said, size

PAGE = facts.ROOT / "docs" / "scale.md"
IMAGES = 100_000_000
CHOICES = [(384, 1), (384, 16), (768, 1), (768, 16)]  # d, m
PQ_BYTES = (16, 64)  # codes of a region
ID_BYTES = 8  # of an entry of an inverted file
HALF = 2
MACHINE_GIB = (64, 512)  # memory of a machine that one may choose
HOURS = 3600
NOT_MEASURED = "not measured yet"


def scans(lines: Iterable[Line]) -> list[tuple[Line, float]]:
    """Exact rounds of one person, each with its seconds of scoring per number of the store."""
    exact = [
        line
        for line in lines
        if line["benchmark"] == "round" and "skipped" not in line["figures"] and not line["settings"]["overrides"]
    ]
    return [(line, line["figures"]["parts"]["score"]["median"] / numbers(line["settings"])) for line in exact]


def numbers(settings: dict[str, Any]) -> int:
    """How many numbers of the store an exact round reads."""
    return int(settings["images"]) * int(settings["m"]) * int(settings["dim"])


def largest(found: Sequence[tuple[Line, float]]) -> dict[str, tuple[Line, float]]:
    """For each machine, the measurement over most numbers."""
    kept: dict[str, tuple[Line, float]] = {}
    for line, cost in sorted(found, key=lambda pair: numbers(pair[0]["settings"])):
        kept[said(line["machine"])] = (line, cost)
    return kept


def costs(lines: Sequence[Line]) -> str:
    """What one item costs, each with where it was measured."""
    rows: list[tuple[Any, ...]] = []
    for line, cost in largest(scans(lines)).values():
        what = f"scan, one search ({size(line['settings'])})"
        rows.append((what, f"{1e12 * cost:.3g} ps per number of the store", *measured(line)))
        fit = line["figures"]["parts"]["fit"]["median"]
        rows.append(("fit, one search, median round", f"{1e3 * fit:.3g} ms", *measured(line)))
    for line in lines:
        found, settings = line["figures"], line["settings"]
        if line["benchmark"] == "lockstep" and settings["size"] != "tiny":
            per = found["parts"]["score"] / (settings["rounds"] + 1) / found["queries"] / numbers(settings)
            what = f"scan, {found['queries']} searches ({size(settings)}), {settings['engine']}"
            rows.append((what, f"{1e12 * per:.3g} ps per search and number", *measured(line)))
        if line["benchmark"] == "extract":
            speed = found["images_per_second"]["extract"]
            what = f"extraction, {settings['backbone']}, {settings['precision']}"
            rows.append((what, f"{1e3 / speed:.3g} ms per image ({speed:.3g} images/s)", *measured(line)))
    return table_of(
        rows or [("scan, fit, extraction", NOT_MEASURED, "", "")], ["what", "cost", "machine", "when, commit"]
    )


def measured(line: Line) -> tuple[str, str]:
    return said(line["machine"]), f"{line['date'][:10]}, {line['commit']}"


def bytes_per_image(dim: int, regions: int) -> dict[str, int]:
    """What an image takes: in the store, and in an index of its regions."""
    found = {"store": (1 + regions) * dim * HALF}
    return found | {f"PQ{code}": regions * (code + ID_BYTES) for code in PQ_BYTES}


def sizes() -> str:
    """Bytes per image and terabytes in all, and how many machines hold them in memory."""
    rows = []
    for dim, regions in CHOICES:
        for name, taken in bytes_per_image(dim, regions).items():
            total = IMAGES * taken
            machines = [-(-total // (memory * facts.GIB)) for memory in MACHINE_GIB]
            rows.append((f"d = {dim}, m = {regions}", name, f"{taken:,}", f"{total / 1e12:.2f}", *machines))
    headers = ["descriptors", "kept as", "bytes per image", "TB", *[f"machines of {gib} GiB" for gib in MACHINE_GIB]]
    return table_of(rows, headers)


def latencies(lines: Sequence[Line]) -> str:
    """An exact scan of everything, from the largest scan of each machine."""
    rows = []
    for name, (_, cost) in largest(scans(lines)).items():
        for dim, regions in CHOICES:
            seconds = IMAGES * regions * dim * cost
            rows.append((name, f"d = {dim}, m = {regions}", seconds, -(-seconds // 1)))
    headers = ["machine, as measured", "descriptors", "seconds on one", "machines for 1 s"]
    return table_of(rows or [(NOT_MEASURED, "", "", "")], headers)


def extraction(lines: Sequence[Line]) -> str:
    """Hours on one machine."""
    rows = [
        (
            f"{line['settings']['backbone']}, {line['settings']['precision']}",
            said(line["machine"]),
            IMAGES / line["figures"]["images_per_second"]["extract"] / HOURS,
        )
        for line in lines
        if line["benchmark"] == "extract"
    ]
    return table_of(rows or [(NOT_MEASURED, "", "")], ["backbone", "machine", "hours on one"])


def building(lines: Sequence[Line]) -> str:
    """Hours to build an index on one machine."""
    rows = []
    for line in lines:
        seconds = line["figures"].get("index", {}).get("build_seconds") if line["benchmark"] == "round" else None
        if seconds is not None:
            rows_of_all = line["settings"]["images"] * line["settings"]["m"]
            per = seconds / rows_of_all
            words = " ".join(line["settings"]["overrides"])
            hours = [IMAGES * regions * per / HOURS for regions in (1, 16)]
            rows.append((words, size(line["settings"]), f"{1e6 * per:.3g} us", *hours, said(line["machine"])))
    headers = ["index", "measured at", "per region", "hours, m = 1", "hours, m = 16", "machine"]
    return table_of(rows or [(NOT_MEASURED, *[""] * 5)], headers)


def indexed(lines: Sequence[Line]) -> str:
    """Rounds through an index."""
    rows = []
    for line in lines:
        index = line["figures"].get("index") if line["benchmark"] == "round" else None
        if index is not None:
            found = line["figures"]["round"]
            speeds = [1e3 * found["median"], 1e3 * found["p95"], index["images_scored"]["median"]]
            shares = [f"{index['certified']:.0%}", f"{index['scanned']:.0%}"]
            rows.append((" ".join(line["settings"]["overrides"]), size(line["settings"]), *speeds, *shares))
    headers = ["index", "measured at", "median ms", "p95 ms", "images scored", "certain", "scanned"]
    return table_of(rows or [(NOT_MEASURED, *[""] * 6)], headers)


def rendered(lines: Iterable[Line]) -> str:
    """The whole section."""
    kept = latest(lines)
    parts = {
        "What an item costs": costs(kept),
        "Bytes and machines": sizes(),
        "An exact scan": latencies(kept),
        "Through an index": indexed(kept),
        "Building an index": building(kept),
        "Extraction": extraction(kept),
    }
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=facts.RESULTS)
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    asked = parser.parse_args()
    content = rendered(read(asked.results))
    if asked.write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")
    print(content)


if __name__ == "__main__":
    main()
