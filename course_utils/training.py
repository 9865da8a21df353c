"""For trainings in a notebook: progress that is the same everywhere, memory, temporary files."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import shutil
import tempfile
from pathlib import Path

import tf_keras


@functools.cache
def temporary_folder() -> Path:
    """The folder of all of Python's temporary files from now on; removed at exit.

    ktrain leaves a copy of the weights there with each learner, and two with each `lr_find`. If
    the process is killed, they stay.
    """
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tempfile.tempdir = folder
    return Path(folder)


def release_memory() -> None:
    """Free the models that nobody uses any more, and give their memory back to the system.

    A Keras model is freed by the garbage collector alone, because its parts point at each other.
    And on Linux the C library keeps what was freed, until it is asked to trim its heap.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no glibc here
        ctypes.CDLL(None).malloc_trim(0)


class ShowProgress(tf_keras.callbacks.Callback):
    """Print a mark for every fortieth of the training's steps, at the time when it is done.

    Keras' own bar also shows the loss and the time, which differ from machine to machine, so a
    notebook that shows it can never be compared with its stored outputs.
    """

    MARKS = 40

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.done = self.shown = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.steps = self.params["steps"] * self.params["epochs"]
        self.done = self.shown = 0
        print(f"{self.steps} steps ", end="", flush=True)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.done += 1
        marks = self.MARKS * self.done // self.steps
        print("▪" * (marks - self.shown), end="", flush=True)
        self.shown = marks

    def on_train_end(self, logs: dict | None = None) -> None:
        print(" done" if self.done == self.steps else " stopped")
