"""What must hold of one exercise's row of the table."""

from __future__ import annotations

from course_utils.exercise import catalogue

from . import table

LARGE = ("self_attention", "encoder_block", "transformer_forward")
SAMPLE = 20  # of the pairs, this many are judged by examine too

# Pairs that are the same function as one other mistake: no case can tell them apart, so the name
# given is that of the one mistake. Each with the reason why it is the same.
SAME_FUNCTION = {
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
    _unknown_ones_show_a_symptom(name)
    _examine_judges_a_sample_of_pairs_alike(judged)


def _unknown_ones_show_a_symptom(name: str) -> None:
    """What is caught but not named must at least be described."""
    for mistake in catalogue(name):
        examination = table.examined(name, (mistake,))
        if not examination.mistakes:
            assert len(examination.lines) >= 2, mistake.name


def _examine_judges_a_sample_of_pairs_alike(judged: table.Judged) -> None:
    """What was concluded from the classes is what `examine` says."""
    pairs = [p for p in table.all_pairs(judged.name) if table.key(p) in judged.of]
    for pair in pairs[:: max(1, len(pairs) // SAMPLE)]:
        given = table.examined(judged.name, pair)
        assert given.state != "passed", table.names(pair)
        assert given.mistakes == judged.named(pair), table.names(pair)
