"""A catalogued mistake is named whatever the style of the answer in which it is made."""

from __future__ import annotations

import pytest

from course_utils import attempt as attempts
from course_utils.checking import examine
from course_utils.exercise import catalogue, exercises

from .other_styles import WRITTEN

CASES = [pytest.param(*w, id=f"{w.exercise}-{w.answer.__name__}") for w in WRITTEN]


@pytest.fixture(autouse=True)
def time_enough(monkeypatch):
    monkeypatch.setattr(attempts, "SECONDS_PER_CASE", 60.0)


@pytest.mark.parametrize("exercise, answer, mistakes", CASES)
def test_it_is_named_exactly(exercise, answer, mistakes):
    examination = examine(answer, exercise)
    text = "\n".join(examination.lines)
    assert examination.state == "wrong", text
    assert examination.mistakes == mistakes, text
    messages = {m.name: m.message for m in catalogue(exercise)}
    for mistake in mistakes:
        assert " ".join(messages[mistake].split()) in " ".join(text.split())


def test_there_are_enough_for_every_exercise():
    assert len(WRITTEN) >= 25
    assert {w.exercise for w in WRITTEN} == set(exercises())
