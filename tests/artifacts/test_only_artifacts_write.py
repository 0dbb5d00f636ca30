"""What lasts is written in one place, so that all of it is whole or absent, and every refusal has the same words."""

import ast
import sys
from pathlib import Path

SOURCE = Path(sys.modules["seekloop"].__file__).parent
MODULES = {"filelock", "fcntl", "tempfile", "sqlite3"}
CALLS = {"fsync", "write_text", "write_bytes", "mkdir", "makedirs", "mkstemp", "rename", "replace_file", "touch"}
CALLS |= {"save", "savez", "savez_compressed", "savefig", "to_parquet", "to_csv", "write_table", "write_index", "dump"}
EXCEPTIONS = {
    ("images/download.py", "tempfile"): "a download, which is renamed when it is complete",
    ("images/download.py", "open"): "the same",
    ("images/datasets.py", "tempfile"): "a dataset's files, which torchvision unpacks and reads there",
    ("images/generated/pasted.py", "mkdir"): "an export that a person asks for",
    ("images/generated/pasted.py", "save"): "the same",
    ("images/generated/pasted.py", "open"): "the same",
    ("images/generated/pasted.py", "write_text"): "the same",
    ("app/export.py", "open"): "a copy of a photograph, to where no file is",
    **{(f"app/{name}.py", "save"): "into memory" for name in ("uploads", "heatmap", "thumbnails")},
    ("loop/sessions.py", "sqlite3"): "sessions, whose events are transactions: the library keeps them whole",
    ("training/pretraining.py", "to_parquet"): "into the draft that the writer hands out",
    ("logs/files.py", "write_table"): "into memory",
    ("logs/drawing.py", "savefig"): "into memory",
    ("store/found.py", "savez_compressed"): "into memory",
    ("store/index.py", "write_index"): "into the draft that the writer hands out",
}
OURS = {"write_bytes", "save", "rename"}
OWNERS = {"files", "drawing", "kept", "sessions", "searches"}
"""Names that functions of ours share with those of pathlib and NumPy: counted only as methods of something else."""


def written_in(path: Path) -> set[str]:
    """Modules for locks and temporary files that a file imports, and calls in it that write files or make folders."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            found |= MODULES & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Call):
            found |= _call(node)
    return found


def _call(node: ast.Call) -> set[str]:
    method = isinstance(node.func, ast.Attribute)
    name = node.func.attr if method else getattr(node.func, "id", "")
    if name in ("open", "fdopen"):
        modes = [*(node.args if method else node.args[1:]), *(word.value for word in node.keywords)]
        writes = any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax+") for mode in modes)
        return {"open"} if writes else set()
    if name == "to_csv" and not any(isinstance(word, ast.expr) for word in node.args):
        return set()  # returns text
    if name == "rename" and any(word.arg == "columns" for word in node.keywords):
        return set()  # of a table
    ours = name in OURS and (not method or _owner(node.func.value) in OWNERS)
    return {name} if name in CALLS and not ours else set()


def _owner(value: ast.expr) -> str:
    """Last word of what a method is called of."""
    return str(getattr(value, "id", getattr(value, "attr", "")))


def test_only_artifacts_write():
    found = {
        (str(path.relative_to(SOURCE)), what)
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "artifacts"
        for what in written_in(path)
    }
    assert found == set(EXCEPTIONS)


def test_the_search_for_writers_finds_them(tmp_path):
    """Each of these lines, and none of those that read."""
    lines = ["import filelock", "os.fsync(3)", "p.write_text('a')", "p.open('wb')", "np.save(p, a)"]
    (tmp_path / "writes.py").write_text("\n".join(lines))
    assert written_in(tmp_path / "writes.py") == {"filelock", "fsync", "write_text", "open", "save"}
    (tmp_path / "reads.py").write_text(
        "p.open('rb')\nopen('x')\nfiles.write_bytes(p, b, 'k')\nt.to_csv(index=False)\nt.rename(columns=f)"
    )
    assert written_in(tmp_path / "reads.py") == set()


def test_artifacts_write():
    """The test above is on: the one writer is found by it."""
    assert {"fsync", "mkdir", "filelock"} <= {
        what for path in SOURCE.glob("artifacts/*.py") for what in written_in(path)
    }
