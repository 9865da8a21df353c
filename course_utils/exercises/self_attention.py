"""01: scaled dot-product attention, and the masks that tell it where to look."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from course_utils.exercise import Call, Case, Exercise, Mistake, Probe
from course_utils.inputs import (
    DROPOUT_FACTS,
    breaks_in_float16,
    causal,
    dropout_facts,
    normal,
    padding,
)


def scaled_dot_product_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor | None = None,
    dropout_rate: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """For each query, average the values, weighted by how well its key matches the query.

    softmax(query · keyᵀ / √key_size) · value ("Attention Is All You Need", equation 1).

    query: (batch, num_heads, query_len, key_size)
    key:   (batch, num_heads, key_len, key_size)
    value: (batch, num_heads, key_len, value_size)
    mask:  boolean, broadcastable to (batch, num_heads, query_len, key_len); True = may look.
           A query that may look nowhere gets weights and output of zeros.
    dropout_rate: share of weights set to 0, the others divided by (1 - rate); 0 = no dropout.
    Returns output (batch, num_heads, query_len, value_size)
        and weights (batch, num_heads, query_len, key_len), before or after dropout.
    """
    key_size = key.shape[-1]
    scores = tf.matmul(query / key_size**0.5, key, transpose_b=True)
    if mask is not None:
        scores = tf.where(mask, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores, axis=-1)
    if mask is not None:  # a row of nothing but hidden keys came out uniform
        weights = weights * tf.cast(mask, weights.dtype)
    kept = tf.nn.dropout(weights, dropout_rate) if dropout_rate else weights
    return tf.matmul(kept, value), weights


def attention_mask(lengths: tf.Tensor | None, length: int, causal: bool = False) -> tf.Tensor:
    """Which key may each query look at? True = may look.

    lengths: (batch,) whole numbers, how many real tokens each sequence has; the rest is padding
             on the right. None: nothing is padding.
    length:  tokens in each sequence, padding included (query_len = key_len = length).
    causal:  if True, a token sees itself and what is before it, never what comes after it.
    Returns a boolean mask that broadcasts to (batch, num_heads, length, length):
        for example (batch, 1, 1, length) for padding alone.
    """
    positions = tf.range(length)
    mask = tf.ones((1, 1, length, length), tf.bool)
    if causal:
        mask = mask & (positions[None, :] <= positions[:, None])
    if lengths is not None:
        mask = mask & (positions < tf.reshape(lengths, (-1, 1, 1, 1)))
    return mask


_DROPOUT = "tf.nn.dropout(weights, dropout_rate) if dropout_rate else weights"

ATTENTION_MISTAKES = (
    Mistake(
        "no_scale",
        "The scores are q·k without the division by √key_size. With unit-variance entries q·k has "
        "variance key_size, so for wide heads the softmax puts all weight on one key.",
        {" / key_size**0.5": ""},
    ),
    Mistake(
        "scale_by_key_size",
        "The scores are divided by key_size; divide by its square root. The standard deviation of "
        "q·k grows as √key_size.",
        {"/ key_size**0.5": "/ key_size"},
    ),
    Mistake(
        "scale_by_value_size",
        "The scores are divided by √value_size. What was added up in q·k is key_size long: use the "
        "last axis of the keys, not of the values.",
        {"key.shape[-1]": "value.shape[-1]"},
    ),
    Mistake(
        "scale_by_length",
        "The scores are divided by √key_len, the number of keys. Use the width of a key, its last "
        "axis.",
        {"key.shape[-1]": "key.shape[-2]"},
    ),
    Mistake(
        "scale_by_all_heads",
        "The scores are divided by √(num_heads · key_size), the width of all heads together. One "
        "head's q·k adds up key_size products: divide by √key_size, the last axis of the keys.",
        {"key_size**0.5": "(key_size * key.shape[1]) ** 0.5"},
    ),
    Mistake(
        "scale_multiplied",
        "The scores are multiplied by √key_size; divide by it.",
        {"/ key_size**0.5": "* key_size**0.5"},
    ),
    Mistake(
        "scale_after_softmax",
        "√key_size divides the weights, so the rows sum to 1/√key_size. It belongs to the scores, "
        "before the softmax.",
        {" / key_size**0.5": "",
         "    if mask is not None:  #": "    weights = weights / key_size**0.5\n"
         "    if mask is not None:  #"},
    ),
    Mistake(
        "softmax_over_queries",
        "The columns of the weights sum to 1, the rows do not: the softmax ran over the queries. "
        "Each query shares its attention among the keys, the last axis.",
        {"tf.nn.softmax(scores, axis=-1)": "tf.nn.softmax(scores, axis=-2)"},
    ),
    Mistake(
        "softmax_over_heads",
        "The softmax ran over the heads (axis 1), so heads compete. It belongs over the keys, "
        "the last axis.",
        {"tf.nn.softmax(scores, axis=-1)": "tf.nn.softmax(scores, axis=1)"},
    ),
    Mistake(
        "no_softmax",
        "The values are added up with the raw scores: rows do not sum to 1, and weights may be "
        "negative. Put a softmax between scores and values.",
        {"tf.nn.softmax(scores, axis=-1)": "scores"},
    ),
    Mistake(
        "sigmoid_for_softmax",
        "Each weight depends on its own score alone (a sigmoid). In a softmax the keys of a row "
        "share a total of 1.",
        {"tf.nn.softmax(scores, axis=-1)": "tf.sigmoid(scores)"},
    ),
    Mistake(
        "uniform_weights",
        "Every key gets the same weight, so the output is a plain average and ignores the query. "
        "The weights must come from the scores, query · keyᵀ.",
        {"tf.nn.softmax(scores, axis=-1)":
         "tf.ones_like(scores) / tf.cast(tf.shape(scores)[-1], scores.dtype)"},
    ),
    Mistake(
        "cosine_scores",
        "The lengths of queries and keys do not count: these scores are cosines. The paper's "
        "scores are plain dot products; do not scale the vectors to length 1.",
        {"tf.matmul(query": "tf.matmul(tf.math.l2_normalize(query, -1)",
         " key, transpose_b": " tf.math.l2_normalize(key, -1), transpose_b"},
    ),
    *(
        Mistake(
            "unstable_softmax",
            "With large scores exp overflows and infinity / infinity is NaN. Subtract the largest "
            "score of each row first, or use tf.nn.softmax.",
            {"tf.nn.softmax(scores, axis=-1)": softmax},
        )
        # The two differ for a query that may look nowhere.
        for softmax in (
            "tf.exp(scores) / tf.reduce_sum(tf.exp(scores), axis=-1, keepdims=True)",
            "tf.math.divide_no_nan(tf.exp(scores), tf.reduce_sum(tf.exp(scores), -1, True))",
        )
    ),
    Mistake(
        "mask_ignored",
        "The mask has no effect. Put a very negative number where it is False, before the softmax. "
        "(−1e-9 will not do: that is −0.000000001. −1e9 is minus a billion.)",
        {"scores.dtype.min": "scores", " * tf.cast(mask, weights.dtype)": ""},
    ),
    Mistake(
        "mask_after_softmax",
        "Hidden weights are set to 0 after the softmax, so what is left of a row sums to less than "
        "1. Hide the scores before the softmax.",
        {"scores.dtype.min": "scores",
         "tf.cast(mask, weights.dtype)": "tf.cast(mask, scores.dtype)"},
    ),
    Mistake(
        "mask_inverted",
        "The keys to hide are the only ones used. Here True means “may look”, so hide where the "
        "mask is False (PyTorch's nn.MultiheadAttention has it the other way round).",
        {"scores = tf.where(mask,": "scores = tf.where(~mask,",
         "tf.cast(mask, weights.dtype)": "tf.cast(~mask, weights.dtype)"},
    ),
    Mistake(
        "mask_near_zero",
        "Hidden scores became about 0, and e^0 = 1 is a good share of attention. They must become "
        "very negative: multiplying by the mask or filling with −1e-9 hides nothing.",
        {"scores.dtype.min": "-1e-9", " * tf.cast(mask, weights.dtype)": ""},
    ),
    Mistake(
        "mask_added",
        "The mask was added to the scores as 0 and 1. Hidden scores must become very negative.",
        {"tf.where(mask, scores, scores.dtype.min)": "scores + tf.cast(mask, scores.dtype)",
         " * tf.cast(mask, weights.dtype)": ""},
    ),
    Mistake(
        "row_of_nothing_uniform",
        "A query that may look nowhere averages all the values it must not see: when every score "
        "is equally hidden, the softmax is uniform. The contract asks for zeros: after the "
        "softmax, set hidden weights to 0.",
        {" * tf.cast(mask, weights.dtype)": ""},
    ),
    Mistake(
        "row_of_nothing_unmasked",
        "A query that may look nowhere gets the weights it would have without a mask: the same "
        "number was added to all its scores, and a softmax does not see that. The contract asks "
        "for zeros there.",
        {"scores.dtype.min": "scores - 1e4", " * tf.cast(mask, weights.dtype)": ""},
    ),
    Mistake(
        "row_of_nothing_nan",
        "A query that may look nowhere gives NaN. Somewhere 0 is divided by 0: the softmax of "
        "nothing but −∞ does that. The contract asks for zeros there (tf.where, after the "
        "division).",
        {"scores.dtype.min": "-float('inf')", " * tf.cast(mask, weights.dtype)": ""},
    ),
    Mistake(
        "key_for_value",
        "The output is an average of the keys. The weights must average the values.",
        {"kept, value": "kept, key"},
    ),
    Mistake(
        "returns_swapped",
        "The two results are in the wrong order: return output first, then weights.",
        {"return tf.matmul(kept, value), weights": "return weights, tf.matmul(kept, value)"},
    ),
    Mistake(
        "returns_scores",
        "The second result is the scores, from before the softmax; return the weights.",
        {"), weights": "), scores"},
    ),
    Mistake(
        "dropout_ignored",
        "dropout_rate has no effect. That share of the weights must become 0: "
        "tf.nn.dropout(weights, dropout_rate).",
        {_DROPOUT: "weights"},
    ),
    Mistake(
        "dropout_not_rescaled",
        "Dropout sets weights to 0 but leaves the others as they are. Divide those by 1 − rate, so "
        "that the expected sum stays 1 (tf.nn.dropout does).",
        {_DROPOUT: f"({_DROPOUT}) * (1.0 - dropout_rate)"},
    ),
    Mistake(
        "dropout_keeps_rate",
        "The share that is kept and the share that is dropped are mixed up: dropout_rate is the "
        "share that becomes 0.",
        {_DROPOUT: _DROPOUT.replace(", dropout_rate", ", 1.0 - dropout_rate")},
    ),
    Mistake(
        "dropout_before_softmax",
        "With dropout all weights change, but none becomes 0. Usually dropout acts on the scores, "
        "where 0 is not “no attention” (e^0 = 1). Drop weights, after the softmax.",
        {_DROPOUT: "weights",
         "    weights = tf.nn.softmax": "    scores = tf.nn.dropout(scores, dropout_rate)\n"
         "    weights = tf.nn.softmax"},
    ),
    Mistake(
        "dropout_on_output",
        "Numbers of the output are dropped (or of the values), not attention weights. Call dropout "
        "on the weights, before they meet the values.",
        {_DROPOUT: "weights",
         "tf.matmul(kept, value)": "tf.nn.dropout(tf.matmul(kept, value), dropout_rate)"},
    ),
)  # fmt: skip

_QUERY = normal(2, 3, 4, 6, seed=1)
_KEY = normal(2, 3, 5, 6, seed=2)
_VALUE = normal(2, 3, 5, 7, seed=3)
_ONE_HEAD_MASK = np.random.default_rng(4).random((2, 3, 4, 5)) < 0.7
_ONE_HEAD_MASK[..., 0] = True  # no empty row: that is a case of its own
_EMPTY_ROW_MASK = np.ones((2, 1, 4, 5), bool)
_EMPTY_ROW_MASK[0, 0, 1] = False
_EMPTY_ROW_MASK[1, 0, 2, 3:] = False


class _Dropout(Call):
    """Attention with dropout, seen through values that are the identity matrix twice."""

    returns = DROPOUT_FACTS

    def __call__(self, attend):
        without, first, second = (
            np.asarray(Call(*self.args, dropout_rate=rate)(attend)[0]) for rate in (0.0, 0.25, 0.25)
        )
        return dropout_facts(without, first, second, rate=0.25)


ATTENTION_CASES = (
    Case("no mask", Call(_QUERY, _KEY, _VALUE)),
    Case("padding mask", Call(_QUERY, _KEY, _VALUE, mask=padding((3, 5), 5))),
    Case("causal mask", Call(_QUERY, _KEY, _VALUE, mask=causal(4, 5))),
    Case("another mask in each head", Call(_QUERY, _KEY, _VALUE, mask=_ONE_HEAD_MASK)),
    Case("a row that may look nowhere", Call(_QUERY, _KEY, _VALUE, mask=_EMPTY_ROW_MASK)),
    Case("one query, one key", Call(*(normal(1, 2, 1, size, seed=5) for size in (3, 3, 4)))),
    Case("large scores", Call(40 * _QUERY, 40 * _KEY, _VALUE)),
    Case(
        "dropout",
        _Dropout(
            normal(1, 2, 40, 6, seed=6),
            normal(1, 2, 50, 6, seed=7),
            np.tile(np.eye(50, dtype=np.float32), (1, 2, 1, 2)),
        ),
    ),
)


def _attend(attend, query=_QUERY, key=_KEY, value=_VALUE, **options) -> tuple:
    return Call(query, key, value, **options)(attend)


def _uses_hidden_keys(attend) -> bool:
    """Change the hidden keys and values: nothing may change."""
    mask = padding((3, 3), 5)
    other_key, other_value = _KEY.copy(), _VALUE.copy()
    other_key[:, :, 3:] += 1.0
    other_value[:, :, 3:] += 1.0
    before = np.asarray(_attend(attend, mask=mask)[0])
    after = np.asarray(_attend(attend, key=other_key, value=other_value, mask=mask)[0])
    return abs(before - after).max() > 1e-3


ATTENTION_SYMPTOMS = (
    Probe(
        "the rows of the weights do not sum to 1.",
        lambda f: (abs(np.asarray(_attend(f)[1]).sum(-1) - 1) > 1e-3).any(),
    ),
    Probe("the output changes when a hidden key and its value change.", _uses_hidden_keys),
    Probe(
        "the output does not depend on the query.",
        lambda f: abs(np.asarray(_attend(f)[0]) - np.asarray(_attend(f, -_QUERY)[0])).max() < 1e-5,
    ),
    Probe(
        "the output is not the weights times the values.",
        lambda f: abs(np.asarray(_attend(f)[1]) @ _VALUE - np.asarray(_attend(f)[0])).max() > 1e-3,
    ),
    Probe(
        "two equal calls without dropout give different outputs.",
        lambda f: (np.asarray(_attend(f)[0]) != np.asarray(_attend(f)[0])).any(),
    ),
)

FLOAT16_REMARK = (
    "right in float32, but in float16 it raises or gives NaN. A common reason is a fill of "
    "−1e9: float16 ends at −65504. scores.dtype.min always fits."
)

MASK_MISTAKES = (
    Mistake(
        "mask_inverted",
        "True and False are the wrong way round: here True means “may look” (as in TensorFlow and "
        "Keras; PyTorch's nn.MultiheadAttention has the reverse).",
        {"return mask": "return ~mask"},
    ),
    Mistake(
        "padding_inverted",
        "The real tokens are hidden and the padding can be seen: positions below `lengths` are "
        "real, and True means “may look”.",
        {"positions < tf.reshape": "positions >= tf.reshape"},
    ),
    Mistake(
        "causal_inverted",
        "Each token sees only what comes after it: the causal part is upside down. Key position "
        "<= query position may be looked at.",
        {"positions[None, :] <= positions[:, None]": "positions[None, :] > positions[:, None]"},
    ),
    Mistake(
        "causal_looks_ahead",
        "The causal mask shows the future and hides the past: keep the lower triangle, "
        "key position <= query position.",
        {"positions[None, :] <= positions[:, None]": "positions[None, :] >= positions[:, None]"},
    ),
    Mistake(
        "causal_without_self",
        "A token cannot see itself: the diagonal must be True, so use <= and not <.",
        {"positions[None, :] <= positions[:, None]": "positions[None, :] < positions[:, None]"},
    ),
    Mistake(
        "causal_one_ahead",
        "Each token also sees the next one: the triangle is off by one. Compare with <=, and do "
        "not shift the positions.",
        {"positions[None, :] <= positions[:, None]":
         "positions[None, :] - 1 <= positions[:, None]"},
    ),
    Mistake(
        "causal_ignored",
        "`causal=True` has no effect. With it, a key is visible only if its position is not after "
        "the query's.",
        {"if causal:": "if False:"},
    ),
    Mistake(
        "causal_always",
        "The future is hidden even though `causal` is False. Make that part only if it is True.",
        {"if causal:": "if True:"},
    ),
    Mistake(
        "padding_one_too_many",
        "One padding token after each sequence can be seen: positions count from 0, so the last "
        "real one is lengths − 1. Use < and not <=.",
        {"positions < tf.reshape": "positions <= tf.reshape"},
    ),
    Mistake(
        "padding_one_too_few",
        "The last real token of each sequence is hidden: positions count from 0, so those below "
        "`lengths` are real.",
        {"positions < tf.reshape": "positions + 1 < tf.reshape"},
    ),
    Mistake(
        "padding_ignored",
        "`lengths` has no effect: padding can be seen. Keys at positions from `lengths` on must be "
        "False.",
        {"if lengths is not None:": "if False:"},
    ),
    Mistake(
        "padding_on_queries",
        "Padded queries are hidden, padded keys can still be read. The padding belongs to the last "
        "axis, the keys.",
        {"(positions < tf.reshape": "(positions[:, None] < tf.reshape"},
    ),
    Mistake(
        "padding_on_both_axes",
        "Padded keys are hidden, and padded queries too. Then a padded query may look nowhere, and "
        "in many implementations that gives NaN. Hide keys only.",
        {"positions < tf.reshape(lengths, (-1, 1, 1, 1))":
         "tf.maximum(positions, positions[:, None]) < tf.reshape(lengths, (-1, 1, 1, 1))"},
    ),
    Mistake(
        "padding_on_left",
        "The first keys are hidden and the last ones seen, as if padding stood on the left. Here "
        "it stands on the right, after the real tokens.",
        {"positions < tf.reshape(lengths, (-1, 1, 1, 1))":
         "positions >= length - tf.reshape(lengths, (-1, 1, 1, 1))"},
    ),
    Mistake(
        "either_mask_is_enough",
        "With both masks, one of the two is enough to see a key, as if they were joined with “or”. "
        "A key must be allowed by both: use & (tf.logical_and).",
        {"mask = mask & (positions < tf.reshape(lengths, (-1, 1, 1, 1)))":
         "real = positions < tf.reshape(lengths, (-1, 1, 1, 1))\n"
         "        mask = mask | real if causal else real"},
    ),
    Mistake(
        "mask_of_numbers",
        "The mask holds the numbers 1 and 0. Return booleans: positions <= other gives them, and "
        "tf.where and Keras ask for them.",
        {"    return mask": "    mask = tf.cast(mask, tf.float32)\n    return mask"},
    ),
    Mistake(
        "additive_mask",
        "This is a mask to add to scores (0 and a very negative number). Return booleans; "
        "scaled_dot_product_attention does the filling.",
        {"return mask": "return tf.where(mask, 0.0, -1e9)"},
    ),
)  # fmt: skip


class _Broadcast(Call):
    """A mask is right in any shape that broadcasts to (batch, num_heads, length, length)."""

    def __call__(self, attempt):
        mask = super().__call__(attempt)
        lengths, length = self.args
        shape = (1 if lengths is None else len(lengths), 7, length, length)
        try:
            return np.broadcast_to(np.asarray(mask), shape)
        except ValueError:  # leave it as it is: the comparison names both shapes
            return mask


_LENGTHS = np.array([3, 5, 1], np.int32)
MASK_CASES = (
    Case("padding", _Broadcast(_LENGTHS, 5)),
    Case("causal", _Broadcast(None, 4, causal=True)),
    Case("padding and causal", _Broadcast(_LENGTHS, 5, causal=True)),
    Case("neither", _Broadcast(None, 3)),
    Case("one token", _Broadcast(np.array([1, 1], np.int32), 1, causal=True)),
    Case("a sequence of padding alone", _Broadcast(np.array([2, 0], np.int32), 3)),
)

EXERCISES = (
    Exercise(
        scaled_dot_product_attention,
        ATTENTION_MISTAKES,
        hints=(
            "Which axis do query and key lose in q·kᵀ, and which two are left? What does one row "
            "of the result belong to?",
            "Four steps: scores, mask, softmax over the keys, weighted sum of the values. Where "
            "does √key_size come in, and where must the mask, so that rows still sum to 1?",
            "tf.matmul(query, key, transpose_b=True) gives the scores. tf.where(mask, scores, "
            "scores.dtype.min) hides keys. What does the softmax give for a row that is hidden "
            "entirely, and how can tf.where turn that into zeros?",
            "scores = tf.matmul(query / key.shape[-1] ** 0.5, key, transpose_b=True); mask them "
            "with tf.where; weights = tf.nn.softmax(scores, axis=-1); mask the weights once more, "
            "with zeros; then tf.nn.dropout(weights, rate) if rate is not 0; return "
            "tf.matmul(weights, value), weights.",
        ),
        cases=ATTENTION_CASES,
        compare_with="solution('scaled_dot_product_attention'), then keras.ops.nn."
        "dot_product_attention and torch.nn.functional.scaled_dot_product_attention.",
        returns=("output", "weights"),
        symptoms=ATTENTION_SYMPTOMS,
        remarks=(Probe(FLOAT16_REMARK, breaks_in_float16(ATTENTION_CASES[1].run)),),
    ),
    Exercise(
        attention_mask,
        MASK_MISTAKES,
        hints=(
            "Draw the table for length 4: one row per query, one column per key. Which cells are "
            "True for the causal mask? Which columns for a sequence of 2 real tokens?",
            "tf.range(length) gives the positions. Compare a row of them with a column of them for "
            "the causal mask, and with `lengths` for the padding.",
            "Axes: (batch, 1, query_len, key_len). The causal mask has no batch axis; the padding "
            "mask has batch and keys but no queries. Let & broadcast them.",
            "causal: positions[None, :] <= positions[:, None]; padding: "
            "positions < tf.reshape(lengths, (-1, 1, 1, 1)); both: &. Start from tf.ones(..., "
            "tf.bool), so that no argument at all works too.",
        ),
        cases=MASK_CASES,
        compare_with="solution('attention_mask'), and tf.sequence_mask and tf.linalg.band_part, "
        "which do parts of it.",
        returns=("mask",),
    ),
)
