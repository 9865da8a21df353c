"""The learner's verbs: check, hint, solution, specimen, use, progress.

Importing this package costs next to nothing: TensorFlow is loaded only when a verb needs it.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module

# The one place where TensorFlow is configured. It must run before the first `import tensorflow`,
# so every notebook imports course_utils first.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no start-up messages in the notebooks
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the same numbers with and without a GPU
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same digits on every CPU
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # transformers' TensorFlow models need Keras 2


def _keep_freed_memory() -> None:
    """Have Linux' malloc keep what TensorFlow frees.

    Else every training step asks the system for its memory again, and clearing those pages takes
    a third of the step. training.release_memory gives it back when it is wanted elsewhere.
    """
    trim_threshold, mmap_threshold, top_pad = -1, -3, -2  # of glibc's malloc.h
    with suppress(OSError, AttributeError, TypeError):  # another system has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 32 << 20)
        mallopt(top_pad, 256 << 20)


_keep_freed_memory()

_VERBS = {
    "check": "checking",
    "hint": "checking",
    "solution": "checking",
    "specimen": "checking",
    "use": "checking",
    "progress": "notebooks",
}
__all__ = ["check", "hint", "progress", "solution", "specimen", "use"]


def __getattr__(name: str):
    if name not in _VERBS:
        raise AttributeError(f"module 'course_utils' has no attribute {name!r}")
    with _silent_start_of_tensorflow():
        return getattr(import_module(f"course_utils.{_VERBS[name]}"), name)


@contextmanager
def _silent_start_of_tensorflow() -> Iterator[None]:
    """Drop what TensorFlow's C++ side writes to stderr while it loads.

    It reports a missing GPU driver before any setting can silence it, with the time of day, and a
    notebook would keep that as output. What Python raises still comes through.
    """
    with nullcontext() if "tensorflow" in sys.modules else silent_stderr():
        yield


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Drop what is written to stderr, by C++ too, which Python's own redirection does not see."""
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def __dir__() -> list[str]:
    return __all__
