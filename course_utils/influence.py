"""Which input positions change which output positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def influence(fn: Callable, inputs: np.ndarray) -> np.ndarray:
    """Change one input token at a time and see which outputs change.

    fn: (batch, length, d_model) to (batch, length, width); inputs: (length, d_model).
    Returns (length, length): [i, j] is the largest change of output token i when token j changes.

    All variants go through fn as one batch, so a function that draws new weights in every call
    is measured with one and the same draw.
    """
    inputs = np.asarray(inputs)
    length, width = inputs.shape
    step = np.where(np.arange(width) % 2, -1.0, 1.0).astype(inputs.dtype)  # a norm keeps this
    changed = inputs[None] + np.eye(length, dtype=inputs.dtype)[:, :, None] * step
    outputs = np.asarray(fn(tf.constant(np.concatenate([inputs[None], changed]))))
    return abs(outputs[1:] - outputs[0]).max(axis=-1).T
