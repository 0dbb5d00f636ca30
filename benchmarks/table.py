"""The latest measurement of every setting and machine, as tables for benchmarks/README.md.

    python -m benchmarks.table [--write]

`--write` puts them between the two marks of the README; without it they are printed.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import facts
from benchmarks.searches import table_of

Line = dict[str, Any]
Cells = tuple[Any, ...]
PAGE = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def read(results: Path) -> list[Line]:
    """All measurements, in the order they were made."""
    text = results.read_text(encoding="utf-8") if results.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def latest(lines: Iterable[Line]) -> list[Line]:
    """Of measurements with equal settings on equal machines, the last one; with and without the alternative apart."""
    kept: dict[str, Line] = {}
    for line in lines:
        compared = "ratio" in line["figures"]
        key = json.dumps([line["benchmark"], line["settings"], line["machine"], compared], sort_keys=True)
        kept.pop(key, None)
        kept[key] = line
    return list(kept.values())


def said(machine: dict[str, Any]) -> str:
    """A machine in words."""
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    return f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']:.0f} GiB{gpu}"


def size(settings: dict[str, Any]) -> str:
    """A collection as n x m x d."""
    return f"{settings['images']:,} x {settings['m']} x {settings['dim']}"


def words(settings: dict[str, Any]) -> str:
    """Overrides of a measurement, for a table."""
    return " ".join(f"`{word}`" for word in settings["overrides"]) or "exact"


def lockstep_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    parts = [found["parts"].get(part, 0.0) for part in ("open", "clusters", "fit", "score", "select", "metrics")]
    searches = f"{found['queries']} x {settings['rounds']}, {settings['representation']}, {settings['engine']}"
    compared = [found.get(key, "") for key in ("obvious_seconds", "ratio", "lean_seconds", "lean_ratio", "same_picks")]
    return (size(settings), searches, found["seconds"], *parts, *compared, found["peak_gib"], found["own_gib"])


def ceiling_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    most, work, share = found["ceilings"], found["work"], found["shares"]
    fitted = [work["score_gflops"], most["float32_gflops"], share["of_float32_product"]]
    fitted += [most.get("tf32_gflops", ""), most.get("float16_gflops", "")]
    fitted += [work["score_gbs"], most["copy_gbs"], most.get("upload_pinned_gbs", ""), share["of_copy"]]
    return (f"{size(settings)}, {found['queries']} searches, {settings['engine']}", *fitted)


def round_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    if "skipped" in found:
        return (size(settings), words(settings), f"left out: {found['skipped']}", *[""] * 8)
    parts = [found["parts"][part]["median"] if part in found["parts"] else "" for part in ("fit", "score", "select")]
    obvious = found["obvious"]["round"]["median"] if "obvious" in found else ""
    seconds = [found["round"]["median"], found["round"]["p95"], *parts, obvious]
    return (size(settings), words(settings), *map(milliseconds, seconds), found["peak_gib"], found["ap"], listed(found))


def page_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    measured = [found[what][number] for what in ("next", "with_thumbnails") for number in ("median", "p95")]
    obvious = found["obvious"]["with_thumbnails"]["median"] if "obvious" in found else ""
    parts = [*measured, found["answer"]["median"], found["ranking"]["median"], obvious]
    return (size(settings), *map(milliseconds, parts), found.get("ratio", ""), found["peak_gib"])


def held_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    parts = [found["parts"][part]["median"] for part in ("fit", "score", "select")]
    seconds = [found["first_page"], found["round"]["median"], found["round"]["p95"], *parts]
    rates = [found["score_gbs"], found["bandwidth_gbs"], found["share"], found["gpu_gib"] or "", found["ap"]]
    return (f"{size(settings)}, {settings['device']}", *map(milliseconds, seconds), *rates)


def listed(found: dict[str, Any]) -> str:
    """What an index did."""
    if "index" not in found:
        return ""
    index = found["index"]
    length = index["images_scored"]["median"]
    shares = f"{index['certified']:.0%} certain, {index['scanned']:.0%} scanned, {index['pick_recall']:.3f} of picks"
    return f"{length:,.0f} images; {shares}, AP {index['ap_change']:+.4f}"


def milliseconds(seconds: float | str) -> str:
    return "" if isinstance(seconds, str) else f"{1e3 * seconds:.3g}"


def extract_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    speeds = [found["images_per_second"][name] for name in ("decode", "forward", "extract")]
    backbone = f"{settings['backbone']}, {settings['precision']}"
    return (backbone, settings["images"], *speeds, found["ratio"], found["core_ratio"])


def propagation_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    full, small = found["full"], found["spreading"]
    return (
        f"{settings['images']:,} x {settings['dim']}, k = {settings['neighbours']}, {settings['device']}",
        full["graph_seconds"],
        full["ours_seconds"],
        full["scipy_seconds"],
        full["speedup"],
        f"{settings['spread_images']:,}",
        small["ours_seconds"],
        small["knn_seconds"],
        small["rbf_seconds"],
        " / ".join(f"{small[f'{name}_accuracy']:.3f}" for name in ("ours", "knn", "rbf")),
    )


def diffusion_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    full, small = found["full"], found["dense"]
    keys = ("neighbours_seconds", "recall", "ours_seconds", "scipy_seconds", "ratio", "one_query_seconds")
    precision = " / ".join(f"{full['precision'][name]:.3f}" for name in ("similarity", "diffusion", "truncated"))
    return (
        f"{settings['images']:,} x {settings['dim']}, k = {settings['neighbours']}, {settings['index']}",
        *(full[key] for key in keys),
        full["truncated_seconds_per_query"],
        full["offline_seconds_per_column"],
        precision,
        f"{settings['dense_images']:,}",
        small["ours_seconds"],
        small["dense_seconds"],
    )


def regions_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    ways = found["ways"]
    first = next(iter(ways.values()))
    maps = f"{settings['images']} of {' x '.join(map(str, settings['shape']))}, {settings['tokens']}"
    seconds = [way["core_seconds"] for way in ways.values()]
    ratios = [ratio for name, ratio in found["ratios"].items() if name.startswith("normalised cut")]
    return (maps, first["affine"], first["cuts"], first["regions"], first["seconds"], *seconds, *ratios)


def reranking_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    size = f"{settings['candidates']} candidates, {settings['features']:,} features, {settings['channels']:,} channels"
    names = ("pairs", "seconds", "one_thread", "parity", "obvious", "usac", "ratio", "usac_ratio")
    inliers = f"{found['inliers_positive']:.1f} / {found['inliers_negative']:.1f}"
    return (size, settings["threads"], *(found[name] for name in names), inliers)


def scaling_row(settings: dict[str, Any], found: dict[str, Any]) -> Cells:
    shown = [
        ", ".join(f"{value:,}: {seconds['round']:.3g}" for value, seconds in found["points"][letter])
        + f" (exponent {found['exponents'][letter]:.2f})"
        for letter in ("n", "m", "q")
    ]
    return (f"d = {settings['dim']}, {settings['rounds']} rounds", *shown)


Row = Callable[[dict[str, Any], dict[str, Any]], Cells]
TABLES: dict[str, list[tuple[str, Row, Sequence[str]]]] = {
    "lockstep": [
        (
            "Lockstep: a whole benchmark, in seconds; one by one is scaled from a few of the same searches",
            lockstep_row,
            [
                "n x m x d",
                "searches x rounds",
                "seconds",
                "open",
                "clusters",
                "fit",
                "score",
                "select",
                "metrics",
                "one by one",
                "ratio",
                "one by one, lean product",
                "ratio to it",
                "same picks",
                "peak GiB",
                "without mapped files",
            ],
        ),
        (
            "Scoring against what the device can do",
            ceiling_row,
            [
                "run",
                "Gflop/s",
                "float32 product",
                "share",
                "tf32 product",
                "float16 product",
                "GB/s of the store",
                "copy",
                "upload",
                "share",
            ],
        ),
    ],
    "round": [
        (
            "A person's round, in milliseconds, page cache warm",
            round_row,
            [
                "n x m x d",
                "how",
                "median",
                "p95",
                "fit",
                "score",
                "select",
                "obvious",
                "peak GiB",
                "AP at the end",
                "index: scored in a round; against exact",
            ],
        )
    ],
    "page": [
        (
            "The page: from the last answer to the next ten photographs, in milliseconds",
            page_row,
            [
                "n x m x d",
                "next ten",
                "p95",
                "with thumbnails",
                "p95 with them",
                "an answer",
                "a page of the ranking",
                "obvious, with thumbnails",
                "ratio",
                "peak GiB",
            ],
        )
    ],
    "gpu": [
        (
            "A person's round over descriptors that the device holds in float32, in milliseconds",
            held_row,
            [
                "n x m x d",
                "first page",
                "median",
                "p95",
                "fit",
                "score",
                "select",
                "GB/s of scoring",
                "GB/s of copies, read and written",
                "share",
                "GPU GiB",
                "AP at the end",
            ],
        )
    ],
    "extract": [
        (
            "Extraction, in images/s, against decode + forward in one run",
            extract_row,
            ("backbone", "images", "decode", "forward", "extract", "extract / (decode + forward)", "core seconds"),
        )
    ],
    "propagation": [
        (
            "Label propagation, 10 classes, in seconds: against scipy's cg class by class, and LabelSpreading",
            propagation_row,
            [
                "n x d, k",
                "graph",
                "ours",
                "scipy",
                "ratio",
                "smaller n",
                "ours, graph and all",
                "LabelSpreading knn",
                "rbf",
                "accuracy",
            ],
        )
    ],
    "diffusion": [
        (
            "Diffusion of 70 queries, in seconds: against scipy's cg query by query, and a dense solution",
            diffusion_row,
            [
                "n x d, k",
                "neighbours",
                "recall",
                "ours",
                "scipy",
                "ratio",
                "one query",
                "one truncated to 1,000",
                "an offline column",
                "precision: similarity / diffusion / truncated",
                "smaller n",
                "ours there",
                "dense there",
            ],
        )
    ],
    "regions": [
        (
            "CLAID in one thread: core seconds an image, the network not counted",
            regions_row,
            [
                "maps",
                "pairs alike",
                "cuts",
                "regions",
                "on the clock",
                "k-sums",
                "k-sums, released",
                "normalised cut, lanczos",
                "normalised cut, dense",
                "lanczos / k-sums",
                "dense / k-sums",
            ],
        )
    ],
    "reranking": [
        (
            "Spatial re-ranking of one query, nine pairs of scales, in seconds",
            reranking_row,
            [
                "what",
                "threads",
                "pairs of features",
                "ours",
                "one thread",
                "as released",
                "loop in numpy",
                "USAC",
                "numpy / ours",
                "USAC / ours",
                "inliers shown / not",
            ],
        )
    ],
    "scaling": [("Seconds of a lockstep round as one size grows", scaling_row, ("held", "n", "m", "q"))],
}


def rendered(lines: Iterable[Line]) -> str:
    """All tables."""
    kept = latest(lines)
    pieces = []
    for benchmark, tables in TABLES.items():
        mine = [line for line in kept if line["benchmark"] == benchmark and line["settings"].get("part") != "equality"]
        for title, row, headers in tables if mine else []:
            rows = [(*row(line["settings"], line["figures"]), origin(line, kept)) for line in mine]
            pieces.append(f"### {title}\n\n{table_of(rows, [*headers, 'where, when, commit'])}")
    machines = [f"{letter}: {name}." for name, letter in letters(kept).items()]
    return "\n\n".join([*pieces, "Machines. " + " ".join(machines)])


def letters(lines: Iterable[Line]) -> dict[str, str]:
    """A letter for each machine."""
    names = list(dict.fromkeys(said(line["machine"]) for line in lines))
    return {name: chr(ord("A") + number) for number, name in enumerate(names)}


def origin(line: Line, lines: Iterable[Line]) -> str:
    return f"{letters(lines)[said(line['machine'])]}, {line['date'][:10]}, {line['commit']}"


def replaced(page: str, content: str) -> str:
    """The page with new content between its marks.

    Raises:
        ValueError: if a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} with {END} behind it: put both where the tables belong")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=facts.RESULTS)
    parser.add_argument("--write", action="store_true", help="into benchmarks/README.md")
    asked = parser.parse_args()
    content = rendered(read(asked.results))
    if asked.write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")
    print(content)


if __name__ == "__main__":
    main()
