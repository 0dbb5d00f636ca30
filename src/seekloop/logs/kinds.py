"""Which command a run is of, told from the first line of its config."""

from pathlib import Path

from seekloop.logs.evaluation_folder import DetectFolder, SearchFolder
from seekloop.logs.learn_folder import LearnFolder
from seekloop.logs.run_folder import RunFolder

KINDS: dict[str, type[RunFolder]] = {"learn": LearnFolder, "search": SearchFolder, "detect": DetectFolder}
"""By the command that the first line names; runs of `retrieve` name none."""


def open_run(path: Path | str) -> RunFolder:
    """A run's folder as what its config says it is."""
    config = Path(path) / "config.yaml"
    if not config.exists():
        return RunFolder(path)
    with config.open() as file:
        key, _, command = file.readline().partition(": ")
    return KINDS.get(command.strip(), RunFolder)(path) if key == "command" else RunFolder(path)


def command_of(kind: type[RunFolder]) -> str:
    """The command that leaves such folders."""
    return next((command for command, known in KINDS.items() if known is kind), "retrieve")
