"""06: windows over a long text, what becomes of them, and attention that can be long itself."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_callbacks

from course_utils.exercise import Call, Case, Exercise, Mistake, Probe
from course_utils.exercises.self_attention import FLOAT16_REMARK, scaled_dot_product_attention
from course_utils.inputs import breaks_in_float16, normal


def split_into_windows(
    token_ids: list[int],
    window: int,
    stride: int,
    cls_id: int = 101,
    sep_id: int = 102,
    pad_id: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cut a text into windows that a model can read: [CLS] tokens [SEP], padded on the right.

    token_ids: the text's ids without special tokens, any number of them, also none
    window: ids in each window, [CLS] and [SEP] among them, so window − 2 places for the text
    stride: how far each window starts after the one before, in tokens of the text. The windows
            start at 0, stride, 2 · stride, … and stop with the first that reaches the text's end.
            Above window − 2 (tokens would be in no window) or below 1: ValueError.
    Returns windows (num_windows, window), int32
        and mask (num_windows, window), boolean, True = not padding.
    """
    content = window - 2
    if not 1 <= stride <= content:
        raise ValueError(f"stride must be from 1 to {content}, it is {stride}")
    last_start = max(len(token_ids) - content, 0)
    starts = range(0, last_start + stride, stride)
    rows = [[cls_id, *token_ids[start : start + content], sep_id] for start in starts]
    mask = [[True] * len(row) + [False] * (window - len(row)) for row in rows]
    windows = [row + [pad_id] * (window - len(row)) for row in rows]
    return tf.constant(windows, tf.int32), tf.constant(mask)


def combine_windows(predictions: tf.Tensor, mask: tf.Tensor, how: str) -> tf.Tensor:
    """One prediction for each text, from the predictions for its windows.

    predictions: (batch, num_windows, num_classes), probabilities
    mask: (batch, num_windows) boolean, True = a real window; texts with fewer are padded
    how: "mean": the mean of the real windows
         "max":  of each class the largest probability in any real window (rows may sum to more
                 than 1)
         "vote": of each class the share of real windows in which it has the largest probability
         anything else: ValueError
    Returns (batch, num_classes); zeros for a text without a real window.
    """
    if how not in ("mean", "max", "vote"):
        raise ValueError(f"how must be mean, max or vote, it is {how!r}")
    if how == "vote":
        best = tf.argmax(predictions, axis=-1)
        predictions = tf.one_hot(best, predictions.shape[-1], dtype=predictions.dtype)
    real = tf.cast(mask, predictions.dtype)[..., None]
    if how == "max":
        return tf.reduce_max(predictions * real, axis=1)
    total = tf.reduce_sum(predictions * real, axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(real, axis=1))


def hierarchical_pooling(
    vectors: tf.Tensor, mask: tf.Tensor, query: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """One vector for each text, from the vectors of its windows: attention with one query.

    weights = softmax(vectors · query / √width) over the real windows, as in "Hierarchical
    Attention Networks" (Yang et al. 2016, section 2.2), without the layer before the query.

    vectors: (batch, num_windows, width)
    mask: (batch, num_windows) boolean, True = a real window
    query: (width,), learned; None: every real window gets the same weight (the mean)
    Returns pooled (batch, width) and weights (batch, num_windows); both zeros for a text without a
    real window.
    """
    if query is None:
        query = tf.zeros_like(vectors[0, 0])
    scores = tf.linalg.matvec(vectors, query / vectors.shape[-1] ** 0.5)
    scores = tf.where(mask, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores, axis=-1)
    weights = weights * tf.cast(mask, weights.dtype)  # a text of nothing but padding
    return tf.linalg.matvec(vectors, weights, transpose_a=True), weights


def windowed_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    radius: int,
    mask: tf.Tensor | None = None,
    block: int = 64,
) -> tf.Tensor:
    """Local attention: a query sees the keys at most `radius` places before or after its own.

    The same as full attention with a band as mask ("Longformer", section 3.1; its window is
    2 · radius wide), but in blocks of queries, so that memory grows with length · radius and no
    array of length · length numbers is ever made.

    query, key: (batch, num_heads, length, key_size)
    value: (batch, num_heads, length, value_size)
    mask: (batch, length) boolean, True = a real key, False = padding; None: all are real
    block: queries in one step; the result does not depend on it, and length need not be a multiple
    Returns (batch, num_heads, length, value_size); zeros for a query without a real key in reach.
    """
    length = query.shape[2]
    outputs = []
    for start in range(0, length, block):
        stop = min(start + block, length)
        low, high = max(start - radius, 0), min(stop + radius, length)
        near = abs(tf.range(start, stop)[:, None] - tf.range(low, high)) <= radius
        if mask is not None:
            near = near & mask[:, None, None, low:high]
        queries, keys, values = query[:, :, start:stop], key[:, :, low:high], value[:, :, low:high]
        outputs.append(scaled_dot_product_attention(queries, keys, values, mask=near)[0])
    return tf.concat(outputs, axis=2)


def online_softmax_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor | None = None,
    block: int = 1024,
) -> tf.Tensor:
    """Full attention, exactly, in blocks of keys: the softmax is put right as it goes along.

    Keeps for each query the largest score so far, the sum of exponentials so far, and the sum of
    values so far, and shrinks both sums when a larger score turns up (Milakov and Gimelshein 2018,
    algorithm 3; FlashAttention, algorithm 1). Memory grows with length · block: no array of
    length · length numbers is ever made.

    query: (batch, num_heads, query_len, key_size)
    key: (batch, num_heads, key_len, key_size)
    value: (batch, num_heads, key_len, value_size)
    mask: (batch, key_len) boolean, True = a real key, False = padding; None: all are real
    block: keys in one step; the result does not depend on it, and key_len need not be a multiple
    Returns (batch, num_heads, query_len, value_size); zeros for a text without a real key.
    """
    scaled = query / key.shape[-1] ** 0.5
    largest = tf.fill((*query.shape[:3], 1), query.dtype.min)
    total = tf.zeros_like(largest)
    output = tf.zeros((*query.shape[:3], value.shape[-1]), value.dtype)
    for start in range(0, key.shape[2], block):
        scores = tf.matmul(scaled, key[:, :, start : start + block], transpose_b=True)
        if mask is not None:
            real = mask[:, None, None, start : start + block]
            scores = tf.where(real, scores, scores.dtype.min)
        before, largest = largest, tf.maximum(largest, tf.reduce_max(scores, -1, keepdims=True))
        parts = tf.exp(scores - largest)
        if mask is not None:  # while no real key was met, scores - largest is 0
            parts = parts * tf.cast(real, parts.dtype)
        shrink = tf.exp(before - largest)
        total = total * shrink + tf.reduce_sum(parts, axis=-1, keepdims=True)
        output = output * shrink + tf.matmul(parts, value[:, :, start : start + block])
    return tf.math.divide_no_nan(output, total)


# ---- split_into_windows ----

_STARTS = "range(0, last_start + stride, stride)"
_ROW = "[cls_id, *token_ids[start : start + content], sep_id]"
_PADDED = "row + [pad_id] * (window - len(row))"
_MASK = "[True] * len(row) + [False] * (window - len(row))"
WINDOW_MISTAKES = (
    *(
        Mistake(
            "last_window_dropped",
            "The tokens at the end are in no window: a last window that is not full is left out. "
            "Go on until a window reaches the end of the text, and pad it.",
            {_STARTS: starts},
        )
        # The two differ for a text that is shorter than one window.
        for starts in (
            "range(0, last_start + 1, stride)",
            "range(0, len(token_ids) - content + 1, stride)",
        )
    ),
    Mistake(
        "windows_after_the_end",
        "There are windows too many: the text's end was reached before, and they hold nothing new. "
        "Stop with the first window that reaches the end; an empty text still gets one window.",
        {_STARTS: "range(0, len(token_ids), stride)"},
    ),
    Mistake(
        "last_window_moved_back",
        "The last window is moved back until it is full. That covers the text too, but here the "
        "windows start at 0, stride, 2 · stride, …, and the last one is padded.",
        {"for start in starts]": "for start in (min(s, last_start) for s in starts)]"},
    ),
    Mistake(
        "first_window_left_out",
        "The first window starts at `stride`: the tokens before it are in no window.",
        {_STARTS: "range(stride, max(last_start, 1) + stride, stride)"},
    ),
    Mistake(
        "only_the_first_window",
        "Only the first window is made: that is truncation. What comes after it is in no window.",
        {_STARTS: "range(1)"},
    ),
    Mistake(
        "stride_is_overlap",
        "Here `stride` is how far the next window starts; you took it for the number of tokens "
        "that two windows share. (Hugging Face's tokenizers mean just that by `stride`.)",
        {_STARTS: "range(0, last_start + content - stride, content - stride)"},
    ),
    Mistake(
        "stride_ignored",
        "The windows do not overlap: each starts where the one before ends, whatever `stride` is.",
        {_STARTS: "range(0, last_start + content, content)"},
    ),
    Mistake(
        "stride_over_windows",
        "Each window starts `window` tokens after the one before, but only window − 2 of the text "
        "fit into one: two tokens between two windows are in none.",
        {_STARTS: "range(0, last_start + window, window)"},
    ),
    Mistake(
        "bad_stride_accepted",
        "A stride below 1 or above window − 2 raises no ValueError. With it the loop would never "
        "end, or tokens between two windows would be lost without a word.",
        {"not 1 <= stride <= content": "False"},
    ),
    Mistake(
        "bad_stride_up_to_window",
        "A stride of window − 1 or window is accepted. Only window − 2 tokens of the text fit into "
        "a window, so tokens between two windows are lost.",
        {"<= content": "<= window"},
    ),
    Mistake(
        "stride_of_a_full_window_refused",
        "A stride of exactly window − 2 is refused. It is the largest that loses nothing: windows "
        "side by side, without overlap.",
        {"<= content": "< content"},
    ),
    Mistake(
        "no_special_tokens",
        "[CLS] and [SEP] are missing. The model has never seen a text without them: each window "
        "needs its own.",
        {"content = window - 2": "content = window", _ROW: "token_ids[start : start + content]"},
    ),
    Mistake(
        "special_tokens_around_the_text",
        "Only the first window has [CLS] and only the last has [SEP]: the text was cut after they "
        "were added. Each window is a text of its own for the model.",
        {"    last_start =": "    token_ids = [cls_id, *token_ids, sep_id]\n    content = window\n"
         "    last_start =",
         _ROW: "token_ids[start : start + content]"},
    ),
    Mistake(
        "no_cls",
        "[CLS] is missing at the start of the windows.",
        {"[cls_id, *token_ids": "[*token_ids"},
    ),
    Mistake(
        "no_sep",
        "[SEP] is missing at the end of the windows.",
        {", sep_id]": "]"},
    ),
    Mistake(
        "specials_swapped",
        "[CLS] and [SEP] have changed places: [CLS] starts a window, [SEP] ends it.",
        {_ROW: "[sep_id, *token_ids[start : start + content], cls_id]"},
    ),
    Mistake(
        "window_without_room",
        "The windows are longer than `window`: [CLS] and [SEP] came on top. They count, so only "
        "window − 2 places are left for the text. A model for 512 tokens would refuse 514.",
        {"    last_start =": "    content, window = window, window + 2\n    last_start ="},
    ),
    Mistake(
        "padding_before_sep",
        "[SEP] stands behind the padding. It follows the last token of the text; the padding comes "
        "after it.",
        {_PADDED: "row[:-1] + [pad_id] * (window - len(row)) + row[-1:]",
         _MASK: "[True] * (len(row) - 1) + [False] * (window - len(row)) + [True]"},
    ),
    Mistake(
        "padding_on_left",
        "The padding stands on the left. Here it stands on the right: this model learned what "
        "position 0 means with [CLS] there.",
        {_PADDED: "[pad_id] * (window - len(row)) + row",
         _MASK: "[False] * (window - len(row)) + [True] * len(row)"},
    ),
    Mistake(
        "mask_of_ones",
        "The mask is True everywhere, so padding would be read as if it were text.",
        {_MASK: "[True] * window"},
    ),
    Mistake(
        "mask_inverted",
        "The mask is True at the padding. True = a real token.",
        {_MASK: "[False] * len(row) + [True] * (window - len(row))"},
    ),
    Mistake(
        "special_tokens_masked",
        "The mask hides [CLS] and [SEP]. They are part of what the model reads: only padding is "
        "False.",
        {_MASK: "[False] + [True] * (len(row) - 2) + [False] * (window - len(row) + 1)"},
    ),
    Mistake(
        "mask_of_numbers",
        "The mask holds the numbers 1 and 0. Return booleans: tf.where and the other functions of "
        "this course ask for them.",
        {"tf.constant(mask)": "tf.cast(mask, tf.int32)"},
    ),
)  # fmt: skip

_TEXT = list(range(11, 28))  # 17 tokens


class _Windows(Call):
    """Windows in any form that holds the same numbers: lists, NumPy arrays, tensors."""

    returns = ("windows", "mask")

    def __call__(self, attempt: Callable) -> tuple:
        return _as_arrays(super().__call__(attempt))


def _as_arrays(result: object) -> object:
    """Lists and int64 are right too; what is neither is left for the comparison to name."""
    if not isinstance(result, (list, tuple)) or len(result) != 2:
        return result
    try:
        windows, mask = (np.asarray(part) for part in result)
    except (ValueError, TypeError):  # rows of different lengths
        return result
    return windows.astype(np.int32) if windows.dtype.kind in "iu" else windows, mask


class _Refuses(Call):
    """Does it raise a ValueError for each of these arguments?"""

    returns = ("“the stride is refused”",)

    def __call__(self, attempt: Callable) -> np.ndarray:
        try:
            super().__call__(attempt)
        except ValueError:
            return np.array(True)
        return np.array(False)


WINDOW_CASES = (
    Case("17 tokens, windows of 8 that overlap by 2", _Windows(_TEXT, 8, 4)),
    Case("no overlap", _Windows(_TEXT, 8, 6)),
    Case("the last window is just full", _Windows(_TEXT[:14], 8, 4)),
    Case("a text shorter than one window", _Windows(_TEXT[:3], 8, 4)),
    Case("a text as long as one window", _Windows(_TEXT[:6], 8, 5)),
    Case("an empty text", _Windows([], 8, 4)),
    Case("a stride of 1", _Windows(_TEXT[:9], 7, 1)),
    Case("a short text and a stride of 1", _Windows(_TEXT[:3], 7, 1)),
    Case("other special tokens", _Windows(_TEXT[:8], 6, 3, cls_id=1, sep_id=2, pad_id=9)),
    Case("a stride of 7 for windows with room for 6", _Refuses(_TEXT, 8, 7)),
    Case("a stride of 9", _Refuses(_TEXT, 8, 9)),
    Case("a stride of 0", _Refuses(_TEXT, 8, 0)),
    Case("a stride of −1", _Refuses(_TEXT, 8, -1)),
)


def _loses_tokens(split: Callable) -> bool:
    """Is there a text of 0 to 30 tokens of which one is in no window?"""
    for length in range(31):
        text = list(range(1000, 1000 + length))
        windows, _ = _as_arrays(split(text, 8, 4))
        if not set(text) <= set(np.ravel(windows).tolist()):
            return True
    return False


# ---- combine_windows ----

_MAX = "tf.reduce_max(predictions * real, axis=1)"
_MEAN = "tf.math.divide_no_nan(total, tf.reduce_sum(real, axis=1))"
COMBINE_MISTAKES = (
    Mistake(
        "padding_averaged",
        "Padding windows count like real ones. Leave them out, of the sum and of the count: a "
        "text's prediction must not depend on how long the other texts of the batch are.",
        {"tf.cast(mask, predictions.dtype)": "tf.cast(mask | True, predictions.dtype)"},
    ),
    *(
        Mistake(
            "padding_in_the_mean" if how == "mean" else "padding_votes",
            f"With “{how}” padding windows count like real ones. Leave them out, of the sum and of "
            "the count: a text's prediction must not depend on how long the other texts of the "
            "batch are.",
            change,
        )
        for how, change in (
            ("mean", {"    real =": '    mask = mask | (how == "mean")\n    real ='}),
            ("vote", {"best = tf": "mask = mask | True\n        best = tf"}),
        )
    ),
    *(
        Mistake(
            "divided_by_all_windows",
            "The sum leaves padding windows out, but the count does not: the shorter a text, the "
            "smaller its numbers. Divide by the number of real windows.",
            {"tf.reduce_sum(real, axis=1)": count},
        )
        for count in (
            "real.shape[1]",
            '(real.shape[1] if how == "mean" else tf.reduce_sum(real, axis=1))',
            '(real.shape[1] if how == "vote" else tf.reduce_sum(real, axis=1))',
        )
    ),
    Mistake(
        "padding_in_the_sum",
        "The count leaves padding windows out, but the sum does not.",
        {"tf.reduce_sum(predictions * real, axis=1)": "tf.reduce_sum(predictions, axis=1)"},
    ),
    Mistake(
        "padding_in_the_max",
        "With “max”, a padding window can win. Leave it out before the maximum is taken.",
        {_MAX: "tf.reduce_max(predictions, axis=1)"},
    ),
    Mistake(
        "mask_inverted",
        "Only padding windows count. True = a real window.",
        {"tf.cast(mask, predictions.dtype)": "tf.cast(~mask, predictions.dtype)"},
    ),
    Mistake(
        "first_mask_for_all",
        "The first text's mask is used for every text. Each has a row of its own.",
        {"tf.cast(mask, predictions.dtype)":
         "tf.cast(mask[:1] & (mask | True), predictions.dtype)"},
    ),
    Mistake(
        "max_of_confidence",
        "With “max” you take the whole prediction of the most confident window. Asked for is the "
        "largest probability of each class on its own, each perhaps from another window.",
        {_MAX: "tf.gather(predictions * real, tf.argmax(tf.reduce_max(predictions * real, -1), 1), "
         "batch_dims=1)"},
    ),
    Mistake(
        "max_normalised",
        "With “max” the result is divided by its sum. Asked for are the largest probabilities "
        "themselves: how large they are says how sure the surest window is.",
        {_MAX: f"tf.math.divide_no_nan({_MAX}, tf.reduce_sum({_MAX}, -1, keepdims=True))"},
    ),
    Mistake(
        "min_for_max",
        "With “max” you take the smallest probability of each class.",
        {_MAX: "tf.reduce_min(predictions * real, axis=1)"},
    ),
    Mistake(
        "max_is_mean",
        "“max” gives the mean. Take the largest probability of each class.",
        {'if how == "max"': "if False"},
    ),
    Mistake(
        "vote_is_mean",
        "“vote” gives the mean of the probabilities. In a vote each window has one voice, for its "
        "most probable class, however sure it is.",
        {'if how == "vote"': "if False"},
    ),
    Mistake(
        "votes_not_shares",
        "“vote” gives the number of votes. Divide by the number of real windows, so that long and "
        "short texts can be compared.",
        {_MEAN: f'total if how == "vote" else {_MEAN}'},
    ),
    Mistake(
        "vote_winner_takes_all",
        "“vote” gives 1 for the winner and 0 for the others. Asked for is each class's share of "
        "the votes.",
        {_MEAN: f"{_MEAN} if how != 'vote' else tf.where(tf.reduce_any(mask, 1)[:, None], "
         "tf.one_hot(tf.argmax(total, -1), total.shape[-1], dtype=total.dtype), 0)"},
    ),
    Mistake(
        "vote_after_mean",
        "“vote” first takes the mean and then its largest class. Each window votes first, then "
        "the votes are counted.",
        {'if how == "vote"': "if False",
         _MEAN: f"{_MEAN} if how != 'vote' else tf.where(tf.reduce_any(mask, 1)[:, None], "
         "tf.one_hot(tf.argmax(total, -1), total.shape[-1], dtype=total.dtype), 0)"},
    ),
    Mistake(
        "vote_for_the_smallest",
        "In “vote” each window votes for its least probable class.",
        {"tf.argmax(predictions": "tf.argmin(predictions"},
    ),
    Mistake(
        "sum_for_mean",
        "“mean” gives the sum over the windows. Divide by the number of real windows.",
        {_MEAN: f'total if how == "mean" else {_MEAN}'},
    ),
    Mistake(
        "no_windows_nan",
        "A text without a real window gives NaN: 0 / 0. The docstring asks for zeros "
        "(tf.math.divide_no_nan).",
        {"tf.math.divide_no_nan(": "tf.divide("},
    ),
    Mistake(
        "unknown_how_accepted",
        "A `how` that is none of the three raises no ValueError. A misspelt “mx” would silently "
        "give something else.",
        {'how not in ("mean", "max", "vote")': "False"},
    ),
)  # fmt: skip


def _probabilities(*shape: int, seed: int) -> np.ndarray:
    scores = normal(*shape, seed=seed, scale=1.5)
    shares = np.exp(scores)
    return (shares / shares.sum(-1, keepdims=True)).astype(np.float32)


_WINDOWS = _probabilities(3, 5, 4, seed=71)
_REAL = np.arange(5) < np.array([5, 2, 3])[:, None]
_NONE_REAL = np.arange(5) < np.array([4, 0, 1])[:, None]
COMBINE_CASES = (
    *(Case(f"{how}, texts of 5, 2 and 3 windows", Call(_WINDOWS, _REAL, how))
      for how in ("mean", "max", "vote")),
    *(Case(f"{how}, a text without windows", Call(_WINDOWS, _NONE_REAL, how))
      for how in ("mean", "max", "vote")),
    Case("real windows that are not the first", Call(_WINDOWS, _REAL[:, ::-1].copy(), "mean")),
    Case("one window", Call(_WINDOWS[:1, :1], _REAL[:1, :1], "vote")),
    Case("an unknown way", _Refuses(_WINDOWS, _REAL, "median")),
)  # fmt: skip
COMBINE_CASES[-1].run.returns = ("“the unknown way is refused”",)


def _combined(attempt: Callable, how: str, predictions: np.ndarray = _WINDOWS) -> np.ndarray:
    return np.asarray(Call(predictions, _REAL, how)(attempt))


def _reads_padding(attempt: Callable) -> bool:
    other = np.where(_REAL[..., None], _WINDOWS, _WINDOWS[..., ::-1])
    return any(
        abs(_combined(attempt, how) - _combined(attempt, how, other)).max() > 1e-3
        for how in ("mean", "max", "vote")
    )


# ---- hierarchical_pooling ----

_SOFTMAX = "tf.nn.softmax(scores, axis=-1)"
_HIDDEN = "tf.where(mask, scores, scores.dtype.min)"
_AFTER = "weights * tf.cast(mask, weights.dtype)"
_POOLED = "tf.linalg.matvec(vectors, weights, transpose_a=True)"
POOLING_MISTAKES = (
    Mistake(
        "no_scale",
        "The scores are vectors · query without the division by √width. For wide vectors the "
        "softmax then puts all weight on one window.",
        {" / vectors.shape[-1] ** 0.5": ""},
    ),
    Mistake(
        "scale_by_windows",
        "The scores are divided by the root of the number of windows. Use the width, the last "
        "axis.",
        {"vectors.shape[-1] ** 0.5": "vectors.shape[-2] ** 0.5"},
    ),
    Mistake(
        "scale_by_width",
        "The scores are divided by the width; divide by its square root.",
        {"vectors.shape[-1] ** 0.5": "vectors.shape[-1]"},
    ),
    Mistake(
        "softmax_over_texts",
        "The softmax ran over the batch: the texts compete. The windows of one text share a total "
        "of 1: the last axis.",
        {_SOFTMAX: "tf.nn.softmax(scores, axis=0)"},
    ),
    Mistake(
        "no_softmax",
        "The weights are the raw scores: they do not sum to 1 and may be negative.",
        {_SOFTMAX: "tf.where(mask, scores, 0.0)"},
    ),
    Mistake(
        "sigmoid_for_softmax",
        "Each weight depends on its own score alone (a sigmoid). In a softmax the windows of a "
        "text share a total of 1.",
        {_SOFTMAX: "tf.sigmoid(scores)"},
    ),
    Mistake(
        "query_ignored",
        "The query has no effect: this is always the mean. The weights must come from "
        "vectors · query.",
        {"if query is None": "if True"},
    ),
    Mistake(
        "mask_ignored",
        "Padding windows get weight, so a text's vector depends on how long the other texts of the "
        "batch are. Hide them before the softmax.",
        {_HIDDEN: "scores", _AFTER: "weights"},
    ),
    Mistake(
        "mask_after_softmax",
        "Padding is set to 0 after the softmax, so the weights of a shorter text sum to less than "
        "1. Hide the scores before the softmax.",
        {_HIDDEN: "scores"},
    ),
    Mistake(
        "mask_near_zero",
        "Padding windows got a score of about 0, and e^0 = 1 is a good share. They must become "
        "very negative.",
        {"scores.dtype.min": "0.0", _AFTER: "weights"},
    ),
    Mistake(
        "mask_inverted",
        "Only padding windows are used. True = a real window.",
        {"tf.where(mask,": "tf.where(~mask,", "tf.cast(mask, w": "tf.cast(~mask, w"},
    ),
    Mistake(
        "first_mask_for_all",
        "The first text's mask is used for every text. Each has a row of its own.",
        {"tf.where(mask,": "tf.where(mask[:1],",
         _AFTER: "weights * tf.cast(mask[:1], weights.dtype)"},
    ),
    Mistake(
        "row_of_nothing_uniform",
        "A text without a real window gets the mean of its padding: when every score is equally "
        "hidden, the softmax is uniform. The docstring asks for zeros.",
        {_AFTER: "weights"},
    ),
    Mistake(
        "row_of_nothing_nan",
        "A text without a real window gives NaN: the softmax of nothing but −∞. The docstring asks "
        "for zeros.",
        {"scores.dtype.min": "-float('inf')", _AFTER: "weights"},
    ),
    Mistake(
        "max_pooling",
        "Without a query you take the largest value of each feature. Asked for is the mean of the "
        "real windows.",
        {"    weights = weights *": "    if query is not None and not tf.reduce_any(query != 0):\n"
         "        top = tf.reduce_max(tf.where(mask[..., None], vectors, -1e30), axis=1)\n"
         "        none = tf.reduce_any(mask, 1)[:, None]\n"
         "        return tf.where(none, top, 0.0), weights * tf.cast(mask, weights.dtype)\n"
         "    weights = weights *"},
    ),
    Mistake(
        "first_window_only",
        "The result is the vector of the first window. All real windows count.",
        {_POOLED: "vectors[:, 0]"},
    ),
    Mistake(
        "largest_weight_only",
        "The result is the vector of the window with the largest weight. Take the weighted sum of "
        "all: it has a slope, so the query can be learned.",
        {_POOLED: "tf.gather(vectors, tf.argmax(weights, 1), batch_dims=1)"},
    ),
    Mistake(
        "weighted_not_summed_to_one",
        "The sum of the weighted vectors is divided by the number of windows as well. The weights "
        "sum to 1 already.",
        {_POOLED: f"{_POOLED} / vectors.shape[1]"},
    ),
    Mistake(
        "vectors_normalised",
        "The result was scaled to length 1. That is asked for nowhere here.",
        {_POOLED: f"tf.math.l2_normalize({_POOLED}, -1)"},
    ),
    Mistake(
        "returns_swapped",
        "The two results are in the wrong order: the pooled vectors first, then the weights.",
        {f"return {_POOLED}, weights": f"return weights, {_POOLED}"},
    ),
    Mistake(
        "returns_scores",
        "The second result is the scores, from before the softmax; return the weights.",
        {f"{_POOLED}, weights": f"{_POOLED}, scores"},
    ),
)  # fmt: skip

_VECTORS = normal(3, 5, 7, seed=73)
_LEARNED = normal(7, seed=74, scale=1.6)
POOLING_CASES = (
    Case("with a query", Call(_VECTORS, _REAL, _LEARNED)),
    Case("without a query: the mean", Call(_VECTORS, _REAL)),
    Case("a text without windows", Call(_VECTORS, _NONE_REAL, _LEARNED)),
    Case("the mean of no windows", Call(_VECTORS, _NONE_REAL)),
    Case("one window", Call(_VECTORS[:2, :1], _REAL[:2, :1], _LEARNED)),
    Case("real windows that are not the first", Call(_VECTORS, _REAL[:, ::-1].copy(), _LEARNED)),
    Case("large scores", Call(_VECTORS, _REAL, 60 * _LEARNED)),
)


def _pooled(attempt: Callable, vectors: np.ndarray = _VECTORS, query=_LEARNED) -> tuple:
    return tuple(map(np.asarray, Call(vectors, _REAL, query)(attempt)))


def _pools_padding(attempt: Callable) -> bool:
    other = np.where(_REAL[..., None], _VECTORS, _VECTORS + 1)
    return abs(_pooled(attempt)[0] - _pooled(attempt, other)[0]).max() > 1e-3


# ---- windowed_attention and online_softmax_attention ----


def largest_array(call: Callable[[], object]) -> int:
    """How many numbers has the largest array that is made during the call?

    TensorFlow reports each operation's outputs, eager or traced. Of NumPy only all its memory is
    known, which counts as two arrays of float32; asking slows Python down, so that is done only if
    there is hardly any TensorFlow.
    """
    sizes = [0]

    def note(op_type, inputs, attrs, outputs, op_name=None, graph=None) -> None:
        sizes.extend(output.shape.num_elements() or 0 for output in outputs)

    op_callbacks.add_op_callback(note)
    try:
        call()
    finally:
        op_callbacks.remove_op_callback(note)
    if len(sizes) <= FEW and not tracemalloc.is_tracing():
        sizes.append(_numpy_memory(call) // 8)
    return max(sizes)


def _numpy_memory(call: Callable[[], object]) -> int:
    """The most bytes that Python and NumPy held during the call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class _Frugal(Call):
    """Is every array smaller than half of length × length?"""

    returns = ("“no array has length × length numbers”",)

    def __call__(self, attempt: Callable) -> np.ndarray:
        call = super().__call__
        return np.array(largest_array(lambda: call(attempt)) < _LONG**2 // 2)


FEW = 10  # operations of TensorFlow: inputs and outputs need some
_LONG = 512
_LONG_TEXT = tuple(normal(1, 1, _LONG, size, seed=75 + size) for size in (3, 3, 2))
_NEAR = "abs(tf.range(start, stop)[:, None] - tf.range(low, high)) <= radius"
_NEAR_MASK = "near & mask[:, None, None, low:high]"
LOCAL_MISTAKES = (
    Mistake(
        "full_matrix",
        "The numbers are right, but on the way an array of length × length numbers is made: at "
        "100,000 tokens that would be 40 GB for each head. Take blocks of queries, and for each "
        "only the keys in reach.",
        {"range(0, length, block)": "range(0, length, length)",
         "min(start + block, length)": "length"},
    ),
    Mistake(
        "blocks_see_only_themselves",
        "A query at the edge of a block does not see the keys just outside it. The keys of a block "
        "reach `radius` further on both sides.",
        {"max(start - radius, 0), min(stop + radius, length)": "start, stop"},
    ),
    Mistake(
        "blocks_do_not_see_back",
        "A query at the start of a block does not see the keys just before it: the keys start at "
        "start − radius.",
        {"max(start - radius, 0)": "start"},
    ),
    Mistake(
        "blocks_do_not_see_ahead",
        "A query at the end of a block does not see the keys just after it: the keys go on to "
        "stop + radius.",
        {"min(stop + radius, length)": "stop"},
    ),
    Mistake(
        "no_band",
        "All keys that were fetched for a block are seen by all its queries, so that how far a "
        "query sees depends on where it stands in its block. Hide what is further than `radius`.",
        {_NEAR: f"({_NEAR}) | True"},
    ),
    Mistake(
        "radius_exclusive",
        "The keys at a distance of exactly `radius` are hidden. They belong to the window: <=.",
        {"<= radius\n": "< radius\n"},
    ),
    Mistake(
        "radius_as_width",
        "The whole window is `radius` wide. It reaches `radius` places to each side, so it is "
        "2 · radius + 1 wide.",
        {"<= radius\n": "<= radius // 2\n"},
    ),
    Mistake(
        "only_before",
        "A query sees only the keys before it, as in a decoder. Here the window reaches to both "
        "sides: take the distance without its sign.",
        {_NEAR: f"({_NEAR}) & (tf.range(start, stop)[:, None] >= tf.range(low, high))"},
    ),
    Mistake(
        "only_after",
        "A query sees only the keys after it. Here the window reaches to both sides.",
        {_NEAR: f"({_NEAR}) & (tf.range(start, stop)[:, None] <= tf.range(low, high))"},
    ),
    Mistake(
        "without_self",
        "A query does not see its own place.",
        {_NEAR: f"({_NEAR}) & (tf.range(start, stop)[:, None] != tf.range(low, high))"},
    ),
    Mistake(
        "positions_within_block",
        "The positions of the fetched keys count from 0 in each block, so from the second block on "
        "the band is shifted. Keys of a block start at position start − radius.",
        {_NEAR: "abs(tf.range(stop - start)[:, None] - tf.range(high - low)) <= radius"},
    ),
    Mistake(
        "last_block_dropped",
        "The last queries have no output, where the length is not a multiple of the block.",
        {"range(0, length, block)": "range(0, max(length - block, 0) + 1, block)"},
    ),
    Mistake(
        "mask_ignored",
        "The mask has no effect: padding is read.",
        {"if mask is not None": "if False"},
    ),
    Mistake(
        "mask_inverted",
        "Only padding is read. True = a real key.",
        {_NEAR_MASK: "near & ~mask[:, None, None, low:high]"},
    ),
    Mistake(
        "mask_without_band",
        "With a mask, the band is gone: all real keys that were fetched are seen. Both must allow "
        "a key: &.",
        {_NEAR_MASK: "(near | True) & mask[:, None, None, low:high]"},
    ),
    Mistake(
        "mask_of_the_first_block",
        "Every block is given the start of the mask. Cut it just like the keys.",
        {"mask[:, None, None, low:high]": "mask[:, None, None, : high - low]"},
    ),
    Mistake(
        "mask_on_queries",
        "Padded queries are hidden, padded keys can be read. The mask belongs to the keys, the "
        "last axis.",
        {_NEAR_MASK: "near & mask[:, None, start:stop, None]"},
    ),
    Mistake(
        "no_scale",
        "The scores are q·k without the division by √key_size.",
        {" / key_size**0.5": ""},
        where="scaled_dot_product_attention",
    ),
    Mistake(
        "row_of_nothing_uniform",
        "A query with nothing but padding in reach averages the padding. The docstring asks for "
        "zeros: after the softmax, set hidden weights to 0.",
        {" * tf.cast(mask, weights.dtype)": ""},
        where="scaled_dot_product_attention",
    ),
    Mistake(
        "row_of_nothing_nan",
        "A query with nothing but padding in reach gives NaN: the softmax of nothing but −∞. The "
        "docstring asks for zeros.",
        {"scores.dtype.min": "-float('inf')", " * tf.cast(mask, weights.dtype)": ""},
        where="scaled_dot_product_attention",
    ),
    Mistake(
        "key_for_value",
        "The output is an average of the keys. The weights must average the values.",
        {"kept, value": "kept, key"},
        where="scaled_dot_product_attention",
    ),
)  # fmt: skip

_LOCAL = tuple(normal(2, 3, 11, size, seed=81 + size) for size in (6, 6, 4))
_LOCAL = (_LOCAL[0], normal(2, 3, 11, 6, seed=95), _LOCAL[2])
_LOCAL_REAL = np.arange(11) < np.array([9, 4])[:, None]  # the last queries of text 1 see nothing
_HOLES = np.array([[1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1], [0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1]], bool)
LOCAL_CASES = (
    Case("length 11, radius 2, blocks of 4", Call(*_LOCAL, 2, block=4)),
    Case("blocks of 5 and radius 3", Call(*_LOCAL, 3, block=5)),
    Case("one block for all", Call(*_LOCAL, 3)),
    Case("padding, some queries out of reach", Call(*_LOCAL, 2, mask=_LOCAL_REAL, block=4)),
    Case("padding in the middle", Call(*_LOCAL, 3, mask=_HOLES, block=4)),
    Case("radius larger than the text", Call(*_LOCAL, 20, block=4)),
    Case("radius 0: each sees itself alone", Call(*_LOCAL, 0, block=4)),
    Case("blocks smaller than the radius", Call(*_LOCAL, 4, block=3)),
    Case("one token", Call(*(x[:, :, :1] for x in _LOCAL), 2)),
    Case(f"memory at length {_LONG}", _Frugal(*_LONG_TEXT, 8, block=32)),
)


def _sees_far(attempt: Callable) -> bool:
    """Change what is further away than the radius: nothing may change at the first query."""
    query, key, value = _LOCAL
    far = (np.arange(11) > 2)[:, None]
    other = (query, np.where(far, key + 1, key), np.where(far, value + 1, value))
    first = (np.asarray(Call(*x, 2, block=4)(attempt))[:, :, 0] for x in (_LOCAL, other))
    return abs(np.subtract(*first)).max() > 1e-3


def _depends_on_block(attempt: Callable) -> bool:
    results = [np.asarray(Call(*_LOCAL, 3, block=block)(attempt)) for block in (2, 5, 11)]
    return max(abs(result - results[0]).max() for result in results) > 1e-3


_SCALE = " / key.shape[-1] ** 0.5"
_TOTAL = "total = total * shrink + tf.reduce_sum(parts, axis=-1, keepdims=True)"
_LARGEST = (
    "before, largest = largest, tf.maximum(largest, tf.reduce_max(scores, -1, keepdims=True))"
)
ONLINE_MISTAKES = (
    Mistake(
        "full_matrix",
        "The numbers are right, but on the way an array of query_len × key_len numbers is made. "
        "The point is to have `block` keys at a time and nothing larger.",
        {"    scaled =": "    block = key.shape[2]\n    scaled ="},
    ),
    Mistake(
        "output_not_shrunk",
        "When a larger score turns up, the sum of exponentials is shrunk but the sum of values is "
        "not. Both were made with the old maximum: multiply both by exp(old − new).",
        {"output * shrink": "output"},
    ),
    Mistake(
        "total_not_shrunk",
        "When a larger score turns up, the sum of values is shrunk but the sum of exponentials is "
        "not. Both were made with the old maximum: multiply both by exp(old − new).",
        {"total * shrink": "total"},
    ),
    Mistake(
        "nothing_shrunk",
        "The sums of earlier blocks stay as they were when the maximum grows. They were made with "
        "the old maximum: multiply both by exp(old − new).",
        {"tf.exp(before - largest)": "tf.ones_like(largest)"},
    ),
    Mistake(
        "shrink_upside_down",
        "The sums of earlier blocks are multiplied by exp(new − old), so they grow. It must be "
        "exp(old − new), which is at most 1.",
        {"tf.exp(before - largest)":
         "tf.where(before == before.dtype.min, 0.0, tf.exp(largest - before))"},
    ),
    Mistake(
        "only_the_last_block",
        "Only the last block of keys counts: what was summed before is lost in each step.",
        {"tf.exp(before - largest)": "tf.zeros_like(largest)"},
    ),
    Mistake(
        "only_the_first_block",
        "Only the first block of keys is read.",
        {"range(0, key.shape[2], block)": "range(0, min(block, key.shape[2]), block)"},
    ),
    Mistake(
        "last_block_dropped",
        "The last keys are not read, where their number is not a multiple of the block.",
        {"range(0, key.shape[2], block)":
         "range(0, max(key.shape[2] - block, 0) + 1, block)"},
    ),
    Mistake(
        "blocks_averaged",
        "Each block has a softmax of its own, and the blocks are averaged. But a block with small "
        "scores deserves less than one with large scores: the blocks must share one sum.",
        {"        shrink =": "        parts = tf.math.divide_no_nan(\n"
         "            parts, tf.reduce_sum(parts, axis=-1, keepdims=True))\n"
         "        shrink =",
         "tf.exp(before - largest)": "tf.ones_like(largest)"},
    ),
    Mistake(
        "no_division",
        "The values are added up with exponentials that nobody has divided by their sum.",
        {"tf.math.divide_no_nan(output, total)": "output"},
    ),
    Mistake(
        "sum_over_queries",
        "The exponentials are summed over the queries, not over the keys.",
        {_TOTAL: "total = total * shrink + tf.reduce_sum(parts, axis=[-2, -1], keepdims=True)"},
    ),
    *(
        Mistake(
            "no_maximum",
            "No maximum is subtracted, so with large scores exp overflows, and infinity / infinity "
            "is NaN.",
            {_LARGEST: "before, largest = tf.zeros_like(largest), tf.zeros_like(largest)",
             "tf.math.divide_no_nan(output, total)": division},
        )
        # The two differ for a text without a real key.
        for division in ("tf.math.divide_no_nan(output, total)", "output / total")
    ),
    Mistake(
        "maximum_of_the_block",
        "Each block's own maximum is taken, though an earlier block had a larger one: then "
        "exp(old − new) is above 1 and can overflow. The running maximum never falls: "
        "tf.maximum(old, block's).",
        {"tf.maximum(largest, tf.reduce_max(scores, -1, keepdims=True))":
         "tf.reduce_max(scores, -1, keepdims=True)"},
    ),
    Mistake(
        "maximum_from_zero",
        "The maximum starts at 0. If all scores of a row are far below 0, every exponential "
        "becomes 0. Start with the smallest number of the dtype.",
        {"query.dtype.min": "0.0"},
    ),
    Mistake(
        "no_scale",
        "The scores are q·k without the division by √key_size.",
        {_SCALE: ""},
    ),
    Mistake(
        "scale_by_key_size",
        "The scores are divided by key_size; divide by its square root.",
        {_SCALE: " / key.shape[-1]"},
    ),
    Mistake(
        "scale_by_value_size",
        "The scores are divided by √value_size. Use the width of a key.",
        {_SCALE: " / value.shape[-1] ** 0.5"},
    ),
    Mistake(
        "key_for_value",
        "The output is an average of the keys. The weights must average the values.",
        {"value.shape[-1]), value.dtype": "key.shape[-1]), key.dtype",
         "value[:, :, start : start + block]": "key[:, :, start : start + block]"},
    ),
    Mistake(
        "values_of_the_first_block",
        "Every block's weights meet the values of the first block. Cut the values just like the "
        "keys.",
        {"value[:, :, start : start + block]":
         "value[:, :, : min(block, key.shape[2] - start)]"},
    ),
    Mistake(
        "mask_ignored",
        "The mask has no effect: padding is read.",
        {"    scaled =": "    mask = None\n    scaled ="},
    ),
    Mistake(
        "mask_inverted",
        "Only padding is read. True = a real key.",
        {"    scaled =": "    mask = None if mask is None else ~mask\n    scaled ="},
    ),
    Mistake(
        "mask_of_the_first_block",
        "Every block is given the start of the mask. Cut it just like the keys.",
        {"mask[:, None, None, start : start + block]":
         "mask[:, None, None, : min(block, key.shape[2] - start)]"},
    ),
    Mistake(
        "padding_in_the_total",
        "Padding is left out of the sum of values but not of the sum of exponentials, so the "
        "weights sum to less than 1.",
        {"            scores = tf.where(real, scores, scores.dtype.min)\n": "",
         _TOTAL: "total = total * shrink + tf.reduce_sum(\n"
         "            tf.exp(scores - largest), axis=-1, keepdims=True)"},
    ),
    Mistake(
        "row_of_nothing_uniform",
        "A text without a real key averages its padding. The docstring asks for zeros: set the "
        "exponentials of hidden keys to 0.",
        {" * tf.cast(real, parts.dtype)": ""},
    ),
    Mistake(
        "hidden_block_nan",
        "A block of nothing but padding before the first real key gives NaN: −∞ − (−∞). Fill with "
        "scores.dtype.min, or put the NaN right in each step.",
        {"scores, scores.dtype.min)": "scores, -float('inf'))", "query.dtype.min": "-float('inf')"},
    ),
)  # fmt: skip

_ONLINE = (
    normal(2, 3, 5, 6, seed=101), normal(2, 3, 11, 6, seed=102), normal(2, 3, 11, 4, seed=103)
)  # fmt: skip
_RIGHT = np.arange(11) < np.array([[9], [4]])
_LATE = np.array([[0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1]], bool)
_NO_KEYS = np.array([[0] * 11, [1] * 7 + [0] * 4], bool)
_FALLING = (40 * _ONLINE[0], np.sort(40 * _ONLINE[1], axis=2)[:, :, ::-1].copy(), _ONLINE[2])
_BELOW = (np.full((1, 2, 3, 4), 9, np.float32), -60 + normal(1, 2, 7, 4, seed=104, scale=0.1),
          normal(1, 2, 7, 3, seed=105))  # fmt: skip
ONLINE_CASES = (
    Case("11 keys in blocks of 4", Call(*_ONLINE, block=4)),
    Case("blocks of 3", Call(*_ONLINE, block=3)),
    Case("one block for all", Call(*_ONLINE)),
    Case("padding on the right", Call(*_ONLINE, mask=_RIGHT, block=4)),
    Case("first block hidden", Call(*_ONLINE, mask=_LATE, block=4)),
    Case("a text without real keys", Call(*_ONLINE, mask=_NO_KEYS, block=4)),
    Case("large scores, the largest first", Call(*_FALLING, block=4)),
    Case("large scores", Call(40 * _ONLINE[0], 40 * _ONLINE[1], _ONLINE[2], block=4)),
    Case("all scores far below 0", Call(*_BELOW, block=2)),
    Case("one query, one key", Call(*(x[:1, :, :1] for x in _ONLINE), block=4)),
    Case(f"memory at length {_LONG}", _Frugal(*_LONG_TEXT, block=32)),
)


def _reads_hidden_keys(attempt: Callable) -> bool:
    query, key, value = _ONLINE
    hidden = ~_NO_KEYS[1:, None, :, None]
    other = (query, np.where(hidden, key + 1, key), np.where(hidden, value + 1, value))
    mask = np.repeat(_NO_KEYS[1:], 2, axis=0)
    results = (np.asarray(Call(*x, mask=mask, block=4)(attempt)) for x in (_ONLINE, other))
    return abs(np.subtract(*results)).max() > 1e-3


def _online_depends_on_block(attempt: Callable) -> bool:
    results = [np.asarray(Call(*_ONLINE, block=block)(attempt)) for block in (2, 5, 11)]
    return max(abs(result - results[0]).max() for result in results) > 1e-3


EXERCISES = (
    Exercise(
        split_into_windows,
        WINDOW_MISTAKES,
        hints=(
            "A window of 8 has room for how many tokens of the text? At which tokens do the "
            "windows of a text of 17 start, with a stride of 4, and which is the first that "
            "reaches the end?",
            "content = window − 2. The last window may start at any multiple of stride from "
            "len(token_ids) − content on. A text of 6 tokens or fewer needs just one window.",
            "starts = range(0, last_start + stride, stride) with "
            "last_start = max(len(token_ids) − content, 0): try it for 5, 6, 7, 10 and 11 tokens.",
            "For each start one row, [cls_id, *token_ids[start : start + content], sep_id]; then "
            "pad_id until it is `window` long. The mask is True for the row and False for the "
            "padding. First of all: raise ValueError unless 1 <= stride <= content.",
        ),
        cases=WINDOW_CASES,
        compare_with="solution('split_into_windows'), and a fast tokenizer's max_length, stride "
        "and return_overflowing_tokens (its stride is the overlap).",
        returns=("windows", "mask"),
        symptoms=(Probe("of some texts a token is in no window.", _loses_tokens),),
    ),
    Exercise(
        combine_windows,
        COMBINE_MISTAKES,
        hints=(
            "A batch has texts of 5 and of 2 windows. What stands in the other three places of the "
            "second text, and what may it change?",
            "Turn the mask into numbers of shape (batch, num_windows, 1): multiplied with the "
            "predictions they set padding to 0. Probabilities are never below 0, so that is safe "
            "for the maximum too.",
            "A vote is the mean of one-hot predictions: tf.one_hot(tf.argmax(predictions, -1), "
            "num_classes). So two of the three ways share their last lines.",
            "real = tf.cast(mask, predictions.dtype)[..., None]; max: tf.reduce_max(predictions * "
            "real, axis=1); mean: tf.math.divide_no_nan of the two sums, of predictions * real and "
            "of real; vote: the mean of the one-hot votes.",
        ),
        cases=COMBINE_CASES,
        compare_with="solution('combine_windows'). Which of the three would you take to find one "
        "insult in a long letter?",
        returns=("combined",),
        symptoms=(Probe("the result changes when a padding window changes.", _reads_padding),),
    ),
    Exercise(
        hierarchical_pooling,
        POOLING_MISTAKES,
        hints=(
            "Attention again: what is the query, what are the keys, what are the values, and how "
            "many queries are there for one text?",
            "Scores (batch, num_windows) = vectors · query / √width; hide padding; softmax over "
            "the windows; weighted sum of the vectors. What do scores of zeros give?",
            "tf.linalg.matvec(vectors, query) gives the scores. Mask them as in "
            "scaled_dot_product_attention, before the softmax and once more after it.",
            "query = zeros if None; scores = tf.where(mask, matvec(vectors, query / width ** 0.5), "
            "dtype.min); weights = softmax(scores) * mask as numbers; pooled = "
            "tf.einsum('bw,bwd->bd', weights, vectors).",
        ),
        cases=POOLING_CASES,
        compare_with="solution('hierarchical_pooling'), and section 2.2 of Hierarchical Attention "
        "Networks (Yang et al. 2016).",
        returns=("pooled", "weights"),
        symptoms=(
            Probe(
                "the weights of a text do not sum to 1.",
                lambda f: (abs(_pooled(f)[1].sum(-1) - 1) > 1e-3).any(),
            ),
            Probe("the pooled vector changes when a padding window changes.", _pools_padding),
        ),
        remarks=(Probe(FLOAT16_REMARK, breaks_in_float16(POOLING_CASES[0].run)),),
    ),
    Exercise(
        windowed_attention,
        LOCAL_MISTAKES,
        hints=(
            "Queries 8 to 11 with a radius of 2: which keys can any of them see? How many keys is "
            "that, and does the number depend on the length of the text?",
            "Loop over blocks of queries. For each, cut out the keys and values from "
            "start − radius to stop + radius (within the text), and hide what is too far from each "
            "single query.",
            "Distances by broadcasting: tf.range(start, stop)[:, None] − tf.range(low, high). The "
            "key positions start at low, not at 0. Your scaled_dot_product_attention does the "
            "rest.",
            "near = abs(distances) <= radius; with a mask, near & mask[:, None, None, low:high]; "
            "scaled_dot_product_attention(query block, key slice, value slice, mask=near)[0]; at "
            "the end tf.concat(outputs, axis=2).",
        ),
        cases=LOCAL_CASES,
        compare_with="solution('windowed_attention'), and section 3.1 of Longformer, which adds a "
        "few tokens that see everything.",
        symptoms=(
            Probe("a key further away than the radius changes the output.", _sees_far),
            Probe("the output depends on the size of the blocks.", _depends_on_block),
        ),
    ),
    Exercise(
        online_softmax_attention,
        ONLINE_MISTAKES,
        hints=(
            "You have the sum of exp(score − 3) over some keys. The next score is 5. What must the "
            "old sum be multiplied by, so that it is the sum of exp(score − 5)?",
            "Keep three things for each query: largest score, sum of exponentials, sum of "
            "exponentials × values. In each block: new largest; both sums × exp(old − new); then "
            "add the block's share to both. Divide once, at the end.",
            "Start with largest = query.dtype.min, of shape (batch, num_heads, query_len, 1), and "
            "zeros. exp(dtype.min − anything) is 0, so nothing special is needed in the first "
            "block; with −inf there is NaN as soon as a whole block is hidden.",
            "for start in range(0, key_len, block): scores of this block; new = tf.maximum("
            "largest, row maximum); parts = tf.exp(scores − new), 0 where hidden; shrink = "
            "tf.exp(largest − new); total = total * shrink + sum of parts; output = output * "
            "shrink + parts @ values; largest = new. Then divide_no_nan(output, total).",
        ),
        cases=ONLINE_CASES,
        compare_with="solution('online_softmax_attention'), and algorithm 1 of FlashAttention "
        "(Dao et al. 2022), which cuts the queries into blocks too.",
        symptoms=(
            Probe("the output changes when hidden keys and values change.", _reads_hidden_keys),
            Probe("the output depends on the size of the blocks.", _online_depends_on_block),
        ),
    ),
)
