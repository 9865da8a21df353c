"""How the tests are shared out; and none leaves a trace in what their user has practised."""

import gc
import os

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ["ATTENTION_COURSE_HISTORY"] = "off"
# Several tests run at a time: with a thread for each core, each would wait for the others'. (The
# stored outputs were made with more threads, and must be the same with one.)
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


class FilesTogether(LoadScopeScheduling):
    """The tests of a file stay in one process, since they share what takes long to compute.

    Those of test_notebooks.py share nothing: the tests of one notebook stay together.
    (The groups of pytest-xdist 3.8, --dist loadgroup, have no effect with pytest 9.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return test.partition("[")[2] or nodeid if file.endswith("test_notebooks.py") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FilesTogether:
    return FilesTogether(config, log)


def pytest_collection_finish() -> None:
    """What the modules hold stays until the end: a collection need not look at it each time."""
    gc.collect()
    gc.freeze()
