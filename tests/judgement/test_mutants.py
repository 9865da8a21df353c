"""Every small change of a reference is noticed, or is shown to change nothing."""

from __future__ import annotations

import pytest

from course_utils import checking
from course_utils.exercise import exercises

from .mutants import mutants

# Changes that leave the function as it is, with the reason. None may be killed or gone.
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
    "train_step": {
        "True → False": "there are as many gradients as weights",
        "zip(weights, clipped, strict=True) → zip(weights, clipped)": "the same",
    },
    "macro_f1": {
        "np.asarray(labels) → labels": "a tensor is compared with a number as an array is",
        "np.asarray(predictions) → predictions": "the same",
        "float(np.mean(scores)) → np.mean(scores)": "a NumPy number is a number too",
    },
}


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
