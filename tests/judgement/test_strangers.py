"""A wrong answer that the course does not know is caught, and is not given a wrong name."""

from __future__ import annotations

import pytest

from course_utils import checking
from course_utils.checking import examine
from course_utils.exercise import exercises

from .strangers import STRANGERS

CASES = [pytest.param(*s, id=f"{s.exercise}-{s.answer.__name__}") for s in STRANGERS]


@pytest.mark.parametrize("exercise, answer, seen", CASES)
def test_it_is_caught_and_not_named(exercise, answer, seen):
    examination = examine(answer, exercise)
    text = " ".join(" ".join(examination.lines).split())
    assert examination.state == "wrong", text
    assert examination.mistakes == (), text
    assert examination.passed < examination.total
    for piece in (*seen, "Case “", "not one of the mistakes that this course knows"):
        assert piece in text


def test_there_are_enough_for_every_exercise():
    assert len(STRANGERS) >= 15
    assert {s.exercise for s in STRANGERS} == set(exercises())


@pytest.mark.parametrize("name", sorted(exercises()))
def test_no_symptom_is_seen_in_the_reference(name):
    """A symptom is a fault: none may be true of the right answer."""
    exercise = checking.find(name)
    assert checking._symptoms(exercise, exercise.reference) == []
