"""How the tests are shared out; and none leaves a trace in what their user has practised."""

import os

import pytest

os.environ["ATTENTION_COURSE_HISTORY"] = "off"
# Two tests run at a time: with a thread for each core each would wait for the other's. (The stored
# outputs were made with as many threads as there are cores, and must be the same with one.)
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file stay together, since they share what takes long to compute.

    Those of the notebooks share nothing, and each runs a notebook: they may go anywhere.
    """
    for item in items:
        if item.path.name != "test_notebooks.py":
            item.add_marker(pytest.mark.xdist_group(item.path.name))
