"""No right answer is refused, in whatever style it is written."""

from __future__ import annotations

import numpy as np
import pytest

from course_utils import attempt as attempts
from course_utils.checking import examine
from course_utils.exercise import exercises, find, variant

from . import correct_blocks, correct_variants, long_text, specimens  # noqa: F401 (registers)
from .correct_variants import CORRECT

MANY = (
    "scaled_dot_product_attention",
    "self_attention",
    "encoder_block",
    "transformer_forward",
)
ANSWERS = [
    pytest.param(exercise, answer, id=f"{exercise}-{getattr(answer, '__name__', '')}")
    for exercise, answers in CORRECT.items()
    for answer in answers
]


@pytest.fixture(autouse=True)
def time_to_trace(monkeypatch):
    """tf.function traces slowly on a busy machine; how fast an answer is, is not asked here."""
    monkeypatch.setattr(attempts, "SECONDS_PER_CASE", 60.0)


@pytest.mark.parametrize("exercise, answer", ANSWERS)
def test_it_passes(exercise, answer):
    examination = examine(answer, exercise)
    assert examination.state == "passed", "\n".join(examination.lines)
    assert examination.mistakes == ()


@pytest.mark.parametrize("name", sorted(exercises()))
def test_there_are_enough(name):
    """A specimen is repaired in place, so that one other style will do."""
    least = 12 if name in MANY else 1 if find(name).broken else 4
    assert len(CORRECT[name]) >= least


@pytest.mark.parametrize("name", sorted(exercises()))
def test_the_reference_passes_without_a_remark(name):
    examination = examine(variant(name))
    assert (examination.state, examination.remarks) == ("passed", ())


@pytest.mark.parametrize("name, answer", [
    ("feed_forward", correct_blocks.tanh_written_out),
    ("feed_forward", correct_blocks.tanh_by_the_library),
    ("encoder_block", correct_blocks.block_with_tanh_gelu),
    ("transformer_forward", correct_blocks.recursive),
])  # fmt: skip
def test_tanh_gelu_is_remarked_upon(name, answer):
    assert any("tanh" in remark for remark in examine(answer, name).remarks)


def test_an_added_billion_is_remarked_upon_because_of_float16():
    """0 * -1e9 is NaN in float16, where -1e9 is minus infinity."""
    remarks = examine(correct_variants.additive_mask, "scaled_dot_product_attention").remarks
    assert any("float16" in remark for remark in remarks)


def margin(expected, got) -> float:
    """The largest gap between two results, in units of the comparison's tolerance."""
    if isinstance(expected, tuple):
        return max(margin(e, g) for e, g in zip(expected, got, strict=True))
    expected, got = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    gap = np.abs(got - expected) / (attempts.ABSOLUTE + attempts.RELATIVE * np.abs(expected))
    return float(np.nanmax(np.where(got == expected, 0, gap), initial=0))


@pytest.mark.parametrize("exercise, answer", [p for p in ANSWERS if p.values[0] in MANY])
def test_another_order_of_summation_stays_well_inside_the_tolerance(exercise, answer):
    versions = ((), *((a,) for a in find(exercise).alternatives))
    for case in find(exercise).cases:
        got = attempts.run(answer, case).value
        margins = [margin(attempts.run(variant(exercise, *v), case).value, got) for v in versions]
        assert min(margins) < 0.25, case.name
