"""How self_attention is judged: the table's row, strangers, other styles."""

from __future__ import annotations

import pytest

from course_utils import attempt as attempts

from . import one_exercise

NAME = "self_attention"


@pytest.fixture(autouse=True)
def time_enough(monkeypatch):
    monkeypatch.setattr(attempts, "SECONDS_PER_CASE", 60.0)


def test_all_mistakes_and_pairs():
    one_exercise.judged_and_tested(NAME)


@pytest.mark.parametrize("exercise, answer, seen", one_exercise.strangers_of(NAME))
def test_a_stranger_is_caught_and_not_named(exercise, answer, seen):
    one_exercise.stranger_is_caught(exercise, answer, seen)


@pytest.mark.parametrize("exercise, answer, mistakes", one_exercise.other_styles_of(NAME))
def test_another_style_is_named_exactly(exercise, answer, mistakes):
    one_exercise.other_style_is_named(exercise, answer, mistakes)
