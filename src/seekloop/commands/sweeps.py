"""Runs of a sweep: each is planned and noted, named in its messages, and keeps to its share of the processors."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib
from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seekloop.contracts.errors import ConfigError
from seekloop.logs.console import Console
from seekloop.logs.jobs import APART, JobBook, settings_key
from seekloop.logs.names import has_earlier_names

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Variables that libraries read when they are loaded, in this process and in those it starts."""


class PlanJobs(Callback):
    """Notes every job of a multirun before it starts, so that `status` knows what is missing, and announces each.

    Jobs are known beforehand by Hydra's own sweeper only: a search that goes by results has none.
    """

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's signature
        """Write the jobs down; what Hydra will refuse is left to Hydra to explain."""
        if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
            return
        books: dict[Path, dict[str, list[str]]] = {}
        try:
            self.jobs = jobs_of(config)
            for overrides in self.jobs:
                folder, key = composed_job(kwargs["config_name"], overrides)
                books.setdefault(folder, {})[key] = overrides
        except (HydraException, OmegaConfBaseException):
            return
        for folder, planned in books.items():
            JobBook(folder).plan(planned)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401 - Hydra's signature
        """Say which run of how many begins, and what tells it from the others; not where runs go side by side."""
        if config.hydra.mode is RunMode.MULTIRUN and share_of(config.hydra.launcher) is None:
            words = [str(word) for word in config.hydra.overrides.task]
            common = set.intersection(*map(set, self.jobs)) if len(self.jobs) > 1 else set()
            apart = " ".join(word for word in words if word not in common)
            of = f" of {len(self.jobs)}" if self.jobs else ""
            Console().say(f"run {config.hydra.job.num + 1}{of}: {apart}")


def jobs_of(config: DictConfig) -> list[list[str]]:
    """The overrides of every job of a multirun, expanded as Hydra's sweeper expands them."""
    sweeper = config.hydra.sweeper
    words = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(config.hydra.overrides.task)
    overrides = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(words)
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs


def composed_job(command: str, overrides: list[str]) -> tuple[Path, str]:
    """Folder of the sweep that a job belongs to, and the key of its settings."""
    config = compose(command, overrides, return_hydra_config=True)
    hydra, before = HydraConfig.instance(), HydraConfig.instance().cfg
    try:
        hydra.set_config(config)  # values may refer to Hydra's choices
        return sweep_folder(config), job_key(config)
    finally:
        hydra.cfg = before


def sweep_folder(config: DictConfig) -> Path:
    """Where the runs of one experiment lie."""
    return Path(config.runs_dir) / config.experiment_name


def job_key(config: DictConfig) -> str:
    """Name of a job's settings, the same before it is launched and while it runs."""
    keys = [str(key) for key in config if key != "hydra" and key not in APART]
    return settings_key({key: _resolved(config, key) for key in keys})


def _resolved(config: DictConfig, key: str) -> object:
    value = "???" if OmegaConf.is_missing(config, key) else config[key]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def failed(config: DictConfig, error: Exception) -> None:
    """Note what stopped a job: it may have been before it had a folder."""
    if "runs_dir" in config:
        JobBook(sweep_folder(config)).failed(job_key(config), error)


def enter(config: DictConfig, folder: Path, console: Console) -> None:
    """Note that a run has begun, or was found finished; beside others, its lines begin with its name.

    Raises:
        ConfigError: if the run, or a run of the same sweep, was begun by an earlier version and is not finished.
    """
    if not (config.force or (folder / "COMPLETE").exists()):
        earlier = {run.name for run in folder.parent.glob("*") if has_earlier_names(run)}
        if folder.name in earlier or (earlier and _in_a_sweep()):
            why = f"{folder.parent} holds runs of an earlier version, such as {min(earlier)}, which nothing continues"
            fix = f"`seekloop report {folder.parent}` reads them. Choose another experiment_name for new ones."
            raise ConfigError("experiment_name", config.experiment_name, why, fix)
    JobBook(folder.parent).started(job_key(config), folder.name)
    if share() is not None:
        console.name = folder.name


def share() -> int | None:
    """How many threads are this run's; None where it has the machine for itself."""
    return share_of(HydraConfig.get().launcher) if _in_a_sweep() else None


def share_of(launcher: DictConfig) -> int | None:
    """How many threads a launcher leaves to each run of this process; None for one run after the other."""
    settings = OmegaConf.to_container(launcher, resolve=False)
    cores = joblib.cpu_count()  # of this process, not of the machine
    return threads_of(settings if isinstance(settings, dict) else {}, cores)


def _in_a_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def threads_of(launcher: Mapping[Any, Any], cores: int) -> int | None:
    """Threads of each run under a launcher's settings; None for one run after the other.

    Args:
        launcher: settings of `hydra.launcher`.
        cores: of this machine.

    Example:
        >>> threads_of({"n_jobs": 4}, cores=16), threads_of({"n_jobs": -1}, cores=16)
        (4, 1)
        >>> threads_of({"cpus_per_task": 8}, cores=16), threads_of({"_target_": "BasicLauncher"}, cores=16)
        (8, None)
    """
    if "n_jobs" in launcher:
        side_by_side = int(launcher["n_jobs"])
        return max(1, cores // (side_by_side if side_by_side > 0 else max(1, cores + 1 + side_by_side)))
    if "ray" in launcher:
        return max(1, int(launcher["ray"].get("remote", {}).get("num_cpus") or 1))
    if "cpus_per_task" in launcher:
        return max(1, int(launcher["cpus_per_task"] or 1))
    return None


@contextlib.contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Let torch, numba and BLAS use so many threads; fewer where `OMP_NUM_THREADS` says so. None: as they like."""
    if threads is None:
        yield
        return
    before = {name: os.environ.get(name) for name in POOLS}
    asked = before["OMP_NUM_THREADS"] or ""
    threads = min(threads, int(asked)) if asked.isdigit() and int(asked) else threads
    os.environ.update(dict.fromkeys(POOLS, str(threads)))
    import numba  # these are loaded after the variables are set
    import scipy.linalg  # noqa: F401 - brings a BLAS of its own
    import torch
    from threadpoolctl import threadpool_limits

    torch_before, numba_before = torch.get_num_threads(), numba.get_num_threads()
    try:
        torch.set_num_threads(threads)
        numba.set_num_threads(min(threads, numba_before))
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(torch_before)
        numba.set_num_threads(numba_before)
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
