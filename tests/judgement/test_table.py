"""The table of the checks: what is caught, named right, named wrong; the exercises but the largest.

The largest have files of their own, so that test processes can share the work.
"""

from __future__ import annotations

import pytest

from course_utils.exercise import catalogue, exercises

from .table_tests import LARGE, judged_and_tested, requirement

SMALL = sorted(set(exercises()) - set(LARGE))


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
