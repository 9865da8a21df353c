"""How every exercise but the largest is judged: the table, strangers, other styles; the totals."""

from __future__ import annotations

import pytest

from course_utils import attempt as attempts
from course_utils import checking
from course_utils.exercise import catalogue, exercises

from . import long_text, one_exercise, specimens  # noqa: F401 (they register answers)
from .one_exercise import LARGE, judged_and_tested, requirement
from .other_styles import WRITTEN
from .strangers import STRANGERS

SMALL = sorted(set(exercises()) - set(LARGE))


@pytest.fixture(autouse=True)
def time_enough(monkeypatch):
    monkeypatch.setattr(attempts, "SECONDS_PER_CASE", 60.0)


@pytest.mark.parametrize("name", SMALL)
def test_all_mistakes_and_pairs(name):
    judged_and_tested(name)


def test_the_catalogue_is_large_enough():
    counts = {name: len(catalogue(name)) for name in exercises()}
    classes = {mistake.name for name in exercises() for mistake in catalogue(name)}
    own = sum(len(exercise.mistakes) for exercise in exercises().values())
    print(f"{own} mistakes of their own, {sum(counts.values())} with inherited, of {len(classes)}")
    assert own >= 90
    assert len(classes) >= 30
    for name in exercises():
        assert counts[name] >= requirement(name), name


@pytest.mark.parametrize("name", sorted(exercises()))
def test_own_mistakes_are_enough_without_the_inherited_ones(name):
    own = [mistake for mistake in catalogue(name) if not mistake.where]
    assert len(own) >= min(12, requirement(name))


@pytest.mark.parametrize("name", sorted(exercises()))
def test_every_mistake_has_a_message_of_its_own(name):
    messages = {(m.name, m.message) for m in catalogue(name)}
    assert len({message for _, message in messages}) == len({name for name, _ in messages})


@pytest.mark.parametrize("exercise, answer, seen", one_exercise.strangers_of(*SMALL))
def test_a_stranger_is_caught_and_not_named(exercise, answer, seen):
    one_exercise.stranger_is_caught(exercise, answer, seen)


@pytest.mark.parametrize("exercise, answer, mistakes", one_exercise.other_styles_of(*SMALL))
def test_another_style_is_named_exactly(exercise, answer, mistakes):
    one_exercise.other_style_is_named(exercise, answer, mistakes)


def test_there_are_enough_of_both_for_every_exercise():
    assert len(STRANGERS) >= 15
    assert len(WRITTEN) >= 25
    assert {s.exercise for s in STRANGERS} == {w.exercise for w in WRITTEN} == set(exercises())


@pytest.mark.parametrize("name", sorted(exercises()))
def test_no_symptom_is_seen_in_the_reference(name):
    """A symptom is a fault: none may be true of the right answer."""
    exercise = checking.find(name)
    assert checking._symptoms(exercise, exercise.reference) == []
