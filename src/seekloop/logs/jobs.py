"""The runs that a sweep was asked for, kept beside the runs, so that one that never started is not forgotten.

`<sweep>/.jobs/` holds one small file per job, named after the job's settings. Sweeps into the same folder add to it, in
any number and at any time, without waiting for each other; a job asked for twice is one job.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from seekloop.artifacts.files import ABANDONED, make_folder, remove_drafts, write_json
from seekloop.logs.run_folder import RunFolder, RunState

JOBS = ".jobs"
APART = ("runs_dir", "store_dir", "experiment_name", "force", "wandb")
"""Keys that say where a job's run goes and who is told, by which one job is asked for again in other words."""


@dataclass(frozen=True)
class Job:
    """One run that a sweep was asked for.

    Attributes:
        overrides: what was asked for, as on the command line.
        run: id of the run that it became, which ends in the key of its recipe; None while it has not come so far.
        error: last line of what stopped it before it had a folder, or after.
    """

    overrides: tuple[str, ...]
    run: str | None
    error: str | None


class JobBook:
    """The jobs of the sweeps into one folder.

    Args:
        folder: of the sweep, in which each run has its own folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / JOBS

    def plan(self, jobs: Mapping[str, Sequence[str]]) -> None:
        """Add jobs, overrides by `settings_key`; one that is known already keeps what is known of it.

        The same overrides may come to mean other settings, when a default changes: the earlier job is then replaced.
        """
        remove_drafts(self.place, ABANDONED)
        renewed = {tuple(overrides): key for key, overrides in jobs.items()}
        for key, job in self.jobs().items():
            if renewed.get(job.overrides, key) != key:
                self._file(key).unlink(missing_ok=True)
        for key, overrides in jobs.items():
            if not self._file(key).exists():
                self._write(key, Job(tuple(overrides), None, None))

    def started(self, key: str, run: str) -> None:
        """Note the run that a job has become; nothing where no sweep has asked for it."""
        job = self._read(key)
        if job is not None and (job.run, job.error) != (run, None):
            self._write(key, Job(job.overrides, run, None))

    def failed(self, key: str, error: Exception) -> None:
        """Note what stopped a job; nothing where no sweep has asked for it."""
        job = self._read(key)
        if job is not None:
            self._write(key, replace(job, error=f"{type(error).__name__}: {' '.join(str(error).split())}"))

    def jobs(self) -> dict[str, Job]:
        """All of them by their keys, in the order of their overrides."""
        jobs = {path.stem: self._read(path.stem) for path in self.place.glob("*.json")}
        known = [(key, job) for key, job in jobs.items() if job is not None]
        return dict(sorted(known, key=lambda entry: entry[1].overrides))

    def waiting(self) -> list[tuple[str, str, Job]]:
        """Jobs without a folder of their own: key, the overrides that tell it from the other jobs, job."""
        jobs = self.jobs()
        common = set.intersection(*(set(job.overrides) for job in jobs.values())) if len(jobs) > 1 else set()
        waiting = [(key, job) for key, job in jobs.items() if not self.has_begun(job)]
        return [(key, " ".join(word for word in job.overrides if word not in common), job) for key, job in waiting]

    def has_begun(self, job: Job) -> bool:
        """Whether a job has a folder that says how far it is."""
        return job.run is not None and RunFolder(self.folder / job.run).state() is not RunState.MISSING

    def _file(self, key: str) -> Path:
        return self.place / f"{key}.json"

    def _read(self, key: str) -> Job | None:
        try:
            values = json.loads(self._file(key).read_text())
        except OSError:  # absent; or the folder cannot be used, which whoever writes there will explain
            return None
        return Job(tuple(values["overrides"]), values["run"], values["error"])

    def _write(self, key: str, job: Job) -> None:
        make_folder(self.place, "runs_dir")
        write_json(self._file(key), asdict(job), "runs_dir")


def settings_key(config: Mapping[str, object]) -> str:
    """A short name of everything in a resolved config that may make a run another run.

    It is finer than a run's id, which needs the images and the weights: keys that leave the results alone (`engine`,
    `trainer.accelerator`) count too. Two jobs may thus become one run, but never one job two.

    Example:
        >>> settings_key({"seed": 0, "runs_dir": "here"}) == settings_key({"runs_dir": "there", "seed": 0})
        True
    """
    settings = {key: value for key, value in config.items() if key not in APART}
    return hashlib.blake2b(json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def find_books(folder: Path) -> list[JobBook]:
    """The books of every sweep at or below a folder."""
    return [JobBook(Path(place)) for place, inside, _ in sorted(os.walk(folder)) if JOBS in inside]
