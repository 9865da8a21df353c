"""What must hold of one exercise: its row of the table, its strangers, its other styles.

The tests are spread over files by exercise, because what the variants of a large exercise give
takes long to compute and is then remembered by the process.
"""

from __future__ import annotations

import pytest

from course_utils.checking import examine
from course_utils.exercise import catalogue

from . import table
from .other_styles import WRITTEN
from .strangers import STRANGERS

LARGE = ("self_attention", "encoder_block", "transformer_forward")

# Pairs that are the same function as one other mistake: no case can tell them apart, so the name
# given is that of the one mistake. Each with the reason why it is the same.
SAME_FUNCTION = {
    "combine_windows": {
        ("vote_is_mean", "vote_winner_takes_all"): (
            "vote_after_mean",
            "the mean is taken, and its largest class gets everything",
        ),
    },
    "hierarchical_pooling": {
        ("mask_after_softmax", "row_of_nothing_uniform"): (
            "mask_ignored",
            "the one leaves out the mask before the softmax, the other the one after it",
        ),
    },
    "online_softmax_attention": {
        ("output_not_shrunk", "total_not_shrunk"): (
            "nothing_shrunk",
            "these are the only two things to shrink",
        ),
        ("padding_in_the_total", "row_of_nothing_uniform"): (
            "mask_ignored",
            "the one leaves the padding in the sum of exponentials, the other in that of values",
        ),
    },
    "windowed_attention": {
        ("blocks_do_not_see_back", "blocks_do_not_see_ahead"): (
            "blocks_see_only_themselves",
            "the block's own keys are what is left",
        ),
    },
    "transformer_forward": {
        ("one_layer_for_all", "layers_read_inputs"): (
            "only_the_first_layer",
            "each layer reads the inputs with the first weights: the result is the first layer's",
        ),
        ("layers_reversed", "layers_read_inputs"): (
            "only_the_first_layer",
            "the last layer applied has the first weights and reads the inputs",
        ),
        ("last_layer_for_all", "only_the_first_layer"): (
            "layers_read_inputs",
            "the only layer has the last weights, and what it reads are the inputs",
        ),
        ("only_the_first_layer", "layers_reversed"): (
            "layers_read_inputs",
            "the only layer is the last one, and what it reads are the inputs",
        ),
    },
}


def requirement(name: str) -> int:
    """How many mistakes the catalogue of an exercise must hold."""
    many = {
        "self_attention": 20,
        "scaled_dot_product_attention": 12,
        "encoder_block": 12,
        "transformer_forward": 12,
    }
    return many.get(name, 3)


def judged_and_tested(name: str) -> None:
    """Judge all singles and pairs of an exercise, print its row, hold it to the requirements."""
    judged = table.judge(name)
    same = SAME_FUNCTION.get(name, {})
    row = table.row(judged, same)
    print(table.printed([row]))
    assert row.caught == row.mistakes
    assert row.right >= 0.95 * row.mistakes
    assert row.wrong == 0
    assert row.pairs_caught == row.pairs
    misled = [(names, judged.named(pair)) for pair, names in table.misled(judged, same)]
    assert misled == []
    assert row.pairs_same == len(same), "SAME_FUNCTION holds what is no such pair any more"
    assert judged.doubtful == [], "too near to each other to be told apart on every processor"
    _examine_names_no_other(judged)


def _examine_names_no_other(judged: table.Judged) -> None:
    """What examine says of a pair is what follows from its class, or less."""
    for pair in table.sample(judged):
        given = judged.examined(pair)
        assert given.state != "passed", table.names(pair)
        assert set(given.mistakes) <= set(judged.named(pair)), table.names(pair)


def strangers_of(*exercises: str) -> list:
    """Wrong answers of unknown kinds, as parameters of a test."""
    return [pytest.param(*s, id=f"{s.exercise}-{s.answer.__name__}")
            for s in STRANGERS if s.exercise in exercises]  # fmt: skip


def stranger_is_caught(exercise: str, answer, seen: tuple[str, ...]) -> None:
    """Caught, not named, and what can be seen is said."""
    examination = examine(answer, exercise)
    text = " ".join(" ".join(examination.lines).split())
    assert examination.state == "wrong", text
    assert examination.mistakes == (), text
    assert examination.passed < examination.total
    for piece in (*seen, "Case “", "not one of the mistakes that this course knows"):
        assert piece in text


def other_styles_of(*exercises: str) -> list:
    """Catalogued mistakes in other styles, as parameters of a test."""
    return [pytest.param(*w, id=f"{w.exercise}-{w.answer.__name__}")
            for w in WRITTEN if w.exercise in exercises]  # fmt: skip


def other_style_is_named(exercise: str, answer, mistakes: tuple[str, ...]) -> None:
    """Named exactly, with the message."""
    examination = examine(answer, exercise)
    text = " ".join(" ".join(examination.lines).split())
    assert examination.state == "wrong", text
    assert examination.mistakes == mistakes, text
    messages = {m.name: m.message for m in catalogue(exercise)}
    assert all(" ".join(messages[mistake].split()) in text for mistake in mistakes)
