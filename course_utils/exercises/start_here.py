"""00: softmax."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from course_utils.exercise import Call, Case, Exercise, Mistake, Probe
from course_utils.inputs import normal


def softmax(scores: tf.Tensor) -> tf.Tensor:
    """Turn scores into weights: all positive, and each row sums to 1.

    scores: (..., n), any number of axes before the last; a row is the last axis.
    Returns the weights, same shape and dtype. Scores of 1000 must not give NaN.
    """
    shifted = scores - tf.reduce_max(scores, axis=-1, keepdims=True)
    exponentials = tf.exp(shifted)
    return exponentials / tf.reduce_sum(exponentials, axis=-1, keepdims=True)


_SHIFT = " - tf.reduce_max(scores, axis=-1, keepdims=True)"
_TOTAL = "tf.reduce_sum(exponentials, axis=-1, keepdims=True)"

SOFTMAX_MISTAKES = (
    Mistake(
        "unstable_softmax",
        "Large scores give NaN: e^1000 is infinite in float32, and infinity / infinity is NaN. "
        "Subtract the largest score of each row first; the weights stay the same.",
        {_SHIFT: ""},
    ),
    Mistake(
        "shift_by_global_max",
        "A row far below the others gives NaN. With the largest score of the whole tensor "
        "subtracted, that row becomes e^(-2000) = 0 everywhere, and 0 / 0 is NaN. Subtract the "
        "maximum of each row.",
        {"tf.reduce_max(scores, axis=-1, keepdims=True)": "tf.reduce_max(scores)"},
    ),
    Mistake(
        "shift_by_mean",
        "A row with a very large score gives NaN: less the mean of the row, that score is still "
        "huge and exp overflows. Subtract the maximum: then no exponent is above 0.",
        {"tf.reduce_max(scores, axis=-1, keepdims=True)":
         "tf.reduce_mean(scores, axis=-1, keepdims=True)"},
    ),
    Mistake(
        "softmax_over_wrong_axis",
        "The weights sum to 1 along the first axis, not along the last. A row is the last axis.",
        {_SHIFT: " - tf.reduce_max(scores, axis=0, keepdims=True)",
         _TOTAL: "tf.reduce_sum(exponentials, axis=0, keepdims=True)"},
    ),
    Mistake(
        "softmax_over_everything",
        "All weights of the whole tensor sum to 1, not those of each row: the sum needs `axis=-1` "
        "(and `keepdims=True`).",
        {_TOTAL: "tf.reduce_sum(exponentials)"},
    ),
    Mistake(
        "not_normalised",
        "The rows do not sum to 1: these are the exponentials alone. Divide them by their sum.",
        {f"exponentials / {_TOTAL}": "exponentials"},
    ),
    Mistake(
        "divided_by_count",
        "The rows do not sum to 1: the exponentials are divided by the number of scores. "
        "Divide them by their sum.",
        {_TOTAL: "tf.cast(tf.shape(scores)[-1], scores.dtype)"},
    ),
    Mistake(
        "sigmoid_for_softmax",
        "Each weight depends on its own score alone, as a sigmoid does. In a softmax the scores "
        "of a row share one total: if one weight rises, the others fall.",
        {f"exponentials / {_TOTAL}": "tf.sigmoid(scores)"},
    ),
    Mistake(
        "softmin",
        "The smallest score gets the largest weight, as with a minus sign in the exponent. Look "
        "for a minus too many, or a subtraction the wrong way round.",
        {"tf.exp(shifted)": "tf.exp(tf.reduce_min(scores, axis=-1, keepdims=True) - scores)"},
    ),
    Mistake(
        "base_two",
        "The rows sum to 1 but are too flat: these are powers of 2. Softmax raises e (tf.exp).",
        {"tf.exp(shifted)": "2.0 ** shifted"},
    ),
    Mistake(
        "log_softmax",
        "These are the logarithms of the weights (log-softmax). Take exp of them, or do not take "
        "the logarithm.",
        {f"exponentials / {_TOTAL}": f"shifted - tf.math.log({_TOTAL})"},
    ),
    Mistake(
        "hard_maximum",
        "Each row has a single 1 and zeros elsewhere (a hard maximum). The other scores must "
        "keep a share, or no gradient reaches them.",
        {f"exponentials / {_TOTAL}": "tf.one_hot(tf.argmax(scores, -1), tf.shape(scores)[-1])"},
    ),
    Mistake(
        "no_exponential",
        "The scores themselves are divided by their sum, so weights may be negative or above 1: "
        "`exp` is missing.",
        {"exponentials = tf.exp(shifted)": "exponentials = scores"},
    ),
    Mistake(
        "softmax_twice",
        "The rows sum to 1 but are too flat, as if softmax had been applied to its own result. "
        "Apply it once.",
        {f"return exponentials / {_TOTAL}":
         "return tf.nn.softmax(tf.nn.softmax(scores, axis=-1), axis=-1)"},
    ),
)  # fmt: skip


SOFTMAX_CASES = (
    Case("three axes", Call(normal(2, 3, 5, seed=0))),
    Case("one row", Call(normal(4, seed=1))),
    Case("one score", Call(normal(3, 1, seed=2))),
    Case("large scores", Call(1000 * normal(3, 4, seed=3))),
    Case("rows far apart", Call(np.float32([[1000, 999, 998], [-1000, -1001, -999]]))),
    Case("equal scores", Call(np.zeros((2, 6), np.float32))),
)


def _rows(softmax, scores=SOFTMAX_CASES[0].run.args[0]) -> np.ndarray:
    return np.asarray(softmax(tf.constant(scores)))


EXERCISES = (
    Exercise(
        softmax,
        SOFTMAX_MISTAKES,
        hints=(
            "What makes any number positive, and keeps the order of the scores?",
            "Divide the exponentials by their sum, row by row. Along which axis, and what does "
            "`keepdims=True` do for the division?",
            "e^1000 is too large for float32. Softmax does not change if you subtract the same "
            "number from every score of a row: subtract the largest.",
            "shifted = scores - tf.reduce_max(scores, axis=-1, keepdims=True); then tf.exp, then "
            "divide by tf.reduce_sum(..., axis=-1, keepdims=True).",
        ),
        cases=SOFTMAX_CASES,
        compare_with="tf.nn.softmax(scores) gives the same, and solution('softmax') is ours.",
        returns=("weights",),
        symptoms=(
            Probe(
                "the rows do not sum to 1.",
                lambda f: (abs(_rows(f).sum(-1) - 1) > 1e-3).any(),
            ),
            Probe("there are negative weights.", lambda f: (_rows(f) < 0).any()),
            Probe(
                "adding 1 to every score changes the weights; it must not.",
                lambda f: abs(_rows(f) - _rows(f, 1 + SOFTMAX_CASES[0].run.args[0])).max() > 1e-3,
            ),
        ),
    ),
)
