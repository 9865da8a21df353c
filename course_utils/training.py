"""Show that a training goes on, in a text that is the same on every machine."""

from __future__ import annotations

import tf_keras


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
