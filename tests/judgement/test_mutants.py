"""Every small change of a reference is noticed, or is shown to change nothing."""

from __future__ import annotations

import pytest

from course_utils import checking
from course_utils.exercise import exercises

from .mutants import mutants

# Changes that leave the function as it is, with the reason. None may be killed or gone.
_LAST_AXIS = {
    "tf.nn.softmax(scores, axis=-1) → tf.nn.softmax(scores)": "the last axis is the default",
}
EQUIVALENT = {
    "attention_mask": {
        "mask & (positions[None, :] <= positions[:, None]) → positions[None, :] <= "
        "positions[:, None]": "all was True before, and any shape that broadcasts is right",
    },
    "scaled_dot_product_attention": {
        "tf.nn.softmax(scores, axis=-1) → tf.nn.softmax(scores)": "the last axis is the default",
    },
    "embed_tokens": {
        "-1 → 1": "token_ids has two axes: the last is axis 1",
    },
    "sentence_embedding": {
        "tf.math.divide_no_nan(total, count) → total": "the length is made 1 afterwards",
        "tf.reduce_sum(real, axis=1) → tf.reduce_sum(real)": "the length is made 1 afterwards",
        "-1 → 1": "the mean has two axes: the last is axis 1",
    },
    "split_into_windows": {
        "1 → 0": "range() itself refuses a step of 0, with a ValueError",
        "max(len(token_ids) - content, 0) → max(0, len(token_ids) - content)": "the same",
        "tf.constant(windows, tf.int32) → windows": "lists of the same numbers are right",
        "tf.constant(mask) → mask": "lists of the same numbers are right",
    },
    "combine_windows": {
        "tf.one_hot(best, predictions.shape[-1], dtype=predictions.dtype) → "
        "tf.one_hot(best, predictions.shape[-1])": "float32 is the default",
    },
    "hierarchical_pooling": {
        **_LAST_AXIS,
        "0 → 1": "the vector of any window of any text has the width of the query",
        "0 → -1": "the same",
        "0 → 1 #2": "the same",
        "0 → -1 #2": "the same",
        "-1 → 1 #2": "the scores have two axes: the last is axis 1",
    },
    "windowed_attention": {
        "64 → 65": "the result does not depend on the block",
        "64 → 63": "the same",
        "min(start + block, length) → min(length, start + block)": "the same",
        "max(start - radius, 0) → max(0, start - radius)": "the same",
        "min(stop + radius, length) → min(length, stop + radius)": "the same",
    },
    "online_softmax_attention": {
        "1024 → 1025": "the result does not depend on the block",
        "1024 → 1023": "the same",
        "tf.zeros_like(largest) → largest": "shrunk to 0 before anything is added",
        "tf.maximum(largest, tf.reduce_max(scores, -1, keepdims=True)) → "
        "tf.maximum(tf.reduce_max(scores, -1, keepdims=True), largest)": "the same",
    },
    "train_step": {
        "True → False": "there are as many gradients as weights",
        "zip(weights, clipped, strict=True) → zip(weights, clipped)": "the same",
    },
    "macro_f1": {
        "np.asarray(labels) → labels": "a tensor is compared with a number as an array is",
        "np.asarray(predictions) → predictions": "the same",
        "float(np.mean(scores)) → np.mean(scores)": "a NumPy number is a number too",
    },
    **dict.fromkeys(
        (
            "published_self_attention", "published_transformer", "classifier_attention",
            "vision_attention", "translator_attention", "chunk_attention",
        ),
        _LAST_AXIS,
    ),
    "matching_attention": {
        **_LAST_AXIS,
        "10000000.0 → 10000001.0": "e to the power of minus ten million and one is 0 as well",
        "10000000.0 → 9999999.0": "so is this",
    },
    "encoder_from_a_forum": {
        **_LAST_AXIS,
        "1000000000.0 → 1000000001.0": "e to the power of minus a billion and one is 0 as well",
        "1000000000.0 → 999999999.0": "so is this",
    },
    "decoding_step": {
        **_LAST_AXIS,
        "0 → -1": "the axis taken out has one entry: the first is the last",
    },
    "review_vectors": {
        **_LAST_AXIS,
        "-1 → 1 #3": "the scores have two axes: the last is axis 1",
    },
    "position_table": {
        "tf.constant(table) → table": "an array passes, with a remark",
    },
    "windows_of_text": {
        "0 → -1": "a text has one axis: the first is the last",
        "0 → -1 #5": "the same for a piece",
        "max(length - window, 0) → max(0, length - window)": "the same",
    },
    "noam_rate": {
        "tf.minimum(falling, rising) → tf.minimum(rising, falling)": "the same",
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_search_for_a_name(monkeypatch):
    """Only whether a mutant passes is asked; to find words for it takes most of the time."""
    monkeypatch.setattr(checking, "explain", lambda *_: ((), False))
    monkeypatch.setattr(checking, "_symptoms", lambda *_: [])


@pytest.mark.parametrize("name", sorted(exercises()))
def test_every_mutant_is_killed_or_equivalent(name):
    made = mutants(name)
    alive = {k for k, mutant in made.items() if checking.examine(mutant, name).state == "passed"}
    equivalent = set(EQUIVALENT.get(name, ()))
    print(f"{name}: {len(made)} mutants, {len(made) - len(alive)} killed, {len(alive)} alive")
    assert not alive - equivalent, "these pass as right answers"
    assert not equivalent - alive, "these are listed as equivalent, but are killed or gone"


def test_there_are_mutants_of_every_kind():
    """At least three hundred in all, and some of each exercise."""
    counts = {name: len(mutants(name)) for name in exercises()}
    print(f"{sum(counts.values())} mutants of {len(counts)} references")
    assert sum(counts.values()) >= 300
    assert min(counts.values()) >= 5


def test_equivalents_belong_to_exercises():
    assert set(EQUIVALENT) <= set(exercises())
