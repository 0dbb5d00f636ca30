"""One store for all tests, an environment without W&B's own variables, and processes that can be killed."""

import pytest

from tests.commands.processes import Processes
from tests.commands.runs import SMALL, folder_of, places, seekloop, worked


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, stores):
    """A run that was never disturbed, told to W&B in its offline form: its folder, its command, what it said."""
    command = ("retrieve", *SMALL, "wandb.mode=offline", *places(tmp_path_factory.mktemp("runs"), stores))
    outcome = worked(seekloop(*command))
    return folder_of(outcome), command, outcome


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    """Processes of their own for command lines; the imports are paid for once."""
    with Processes(tmp_path_factory.mktemp("processes")) as started:
        yield started


@pytest.fixture(scope="session", autouse=True)
def no_account(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("API_KEY", "SWEEP_ID", "RUN_ID", "MODE", "BASE_URL", "PROJECT", "ENTITY"):
            patch.delenv(f"WANDB_{name}", raising=False)
        patch.setenv("NETRC", str(tmp_path_factory.mktemp("account") / "netrc"))
        yield
