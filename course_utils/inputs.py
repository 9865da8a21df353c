"""Seeded, asymmetric inputs for the cases.

Batch, lengths, widths, heads, key_size and value_size all differ, and scores have a standard
deviation near 1: equal sizes and saturated scores are why many a checker accepts wrong answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from course_utils.exercise import Call
from course_utils.weights import AttentionWeights, BlockWeights, Linear, NormWeights

BATCH, LENGTH, D_MODEL, NUM_HEADS, KEY_SIZE, VALUE_SIZE, D_FF = 2, 5, 14, 3, 6, 4, 11
SIZES = (KEY_SIZE, VALUE_SIZE, NUM_HEADS)


def normal(*shape: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """Normally distributed float32 numbers of standard deviation `scale`."""
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def linear_layer(size_in: int, size_out: int, seed: int, bias: bool = True) -> Linear:
    """A layer that keeps the standard deviation near 1, with a bias that can be seen."""
    kernel = normal(size_in, size_out, seed=seed, scale=size_in**-0.5)
    return Linear(kernel, normal(size_out, seed=seed + 1, scale=0.5) if bias else None)


def attention_weights(seed: int, bias: bool = True) -> AttentionWeights:
    return AttentionWeights(
        query=linear_layer(D_MODEL, NUM_HEADS * KEY_SIZE, seed, bias),
        key=linear_layer(D_MODEL, NUM_HEADS * KEY_SIZE, seed + 2, bias),
        value=linear_layer(D_MODEL, NUM_HEADS * VALUE_SIZE, seed + 4, bias),
        output=linear_layer(NUM_HEADS * VALUE_SIZE, D_MODEL, seed + 6, bias),
    )


def norm_weights(seed: int, epsilon: float = 0.1, width: int = D_MODEL) -> NormWeights:
    """A large epsilon, so that where it stands can be seen; scale away from 1, offset from 0."""
    return NormWeights(
        1.5 + normal(width, seed=seed, scale=0.4), normal(width, seed=seed + 1), epsilon
    )


def block_weights(seed: int) -> BlockWeights:
    return BlockWeights(
        attention=attention_weights(seed),
        attention_norm=norm_weights(seed + 10),
        feed_forward_in=linear_layer(D_MODEL, D_FF, seed + 20),
        feed_forward_out=linear_layer(D_FF, D_MODEL, seed + 30),
        feed_forward_norm=norm_weights(seed + 40),
    )


def padding(lengths: tuple[int, ...], length: int) -> np.ndarray:
    """Padding mask (batch, 1, 1, length), True = may look."""
    return (np.arange(length) < np.array(lengths)[:, None])[:, None, None, :]


def causal(query_len: int, key_len: int) -> np.ndarray:
    """Causal mask (query_len, key_len), True = may look."""
    return np.tril(np.ones((query_len, key_len), bool))


class Twice(Call):
    """Call twice; look at shape, finiteness, and whether both calls give the same numbers.

    For what is random: fresh weights, and dropout where it must not act.
    """

    returns = ("the output's shape", "“all numbers are finite”", "“both calls give the same”")

    def __call__(self, attempt: Any) -> tuple:
        first, second = (np.asarray(super(Twice, self).__call__(attempt)) for _ in range(2))
        return (
            np.array(first.shape),
            np.array(np.isfinite(first).all()),
            np.array(first.shape == second.shape and (first == second).all()),
        )


DROPOUT_FACTS = (
    "“about the given share of weights is 0”",
    "“about 1 − the given share of weights is 0”",
    "“the others are divided by 1 − rate”",
    "“the others are unchanged”",
    "“weights are dropped, not outputs”",
    "“both calls give the same”",
)


def dropout_facts(without: np.ndarray, first: np.ndarray, second: np.ndarray, rate: float) -> tuple:
    """What dropout did to attention weights that can be read off the output.

    The values are the identity matrix twice, side by side, so that the left and the right half of
    the last axis are both the weights, as long as weights are dropped and not outputs.
    """
    half = without.shape[-1] // 2
    seen = abs(without[..., :half]) > 1e-6
    ratio = (first[..., :half] / np.where(seen, without[..., :half], 1.0))[seen]
    kept = ratio[ratio != 0]
    facts = (
        abs((ratio == 0).mean() - rate) < 0.1,
        abs((ratio == 0).mean() - (1 - rate)) < 0.1,
        kept.size and (abs(kept - 1 / (1 - rate)) < 1e-3).all(),
        kept.size and (abs(kept - 1) < 1e-3).all(),
        abs(first[..., :half] - first[..., half:]).max() < 1e-6,
        (first == second).all(),
    )
    return tuple(np.array(bool(fact)) for fact in facts)


def in_float16(call: Call) -> Call:
    """The same call with every float array in half precision."""

    def halved(leaf: Any) -> Any:
        is_float = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
        return leaf.astype(np.float16) if is_float else leaf

    args, kwargs = tf.nest.map_structure(halved, (call.args, call.kwargs))
    return Call(*args, **kwargs)


def breaks_in_float16(call: Call) -> Any:
    """A test for a Probe: does the attempt raise or give NaN when everything is float16?"""

    def holds(attempt: Any) -> bool:
        try:
            outputs = tf.nest.flatten(in_float16(call)(attempt))
            return not all(np.isfinite(np.asarray(output)).all() for output in outputs)
        except Exception:
            return True

    return holds
