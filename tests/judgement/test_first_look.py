"""The first look in NumPy may only rule out what TensorFlow rules out too."""

import numpy as np
import pytest

from course_utils import attempt, first_look
from course_utils.exercise import Call, catalogue, exercises, variant


@pytest.mark.parametrize("name", exercises())
def test_numpy_gives_what_tensorflow_gives(name):
    exercise = exercises()[name]
    seen = 0
    for changes in [(), *((c,) for c in (*catalogue(name), *exercise.alternatives))]:
        outcome = attempt.run(variant(name, *changes), exercise.cases[0])
        assert not first_look.rules_out(name, outcome, changes), changes
        seen += first_look._value(name, changes) is not None
    if exercise.inherits and type(exercise.cases[0].run) is Call:
        assert seen > 0.9 * len(catalogue(name)), "most must be seen, or check gets slow"


def test_another_function_is_ruled_out():
    outcome = attempt.Outcome(np.zeros((2, 5, 14), np.float32))
    assert first_look.rules_out("self_attention", outcome, ())
    assert first_look.rules_out("self_attention", attempt.Outcome(np.zeros(3)), ())
    assert first_look.rules_out("self_attention", attempt.Outcome((np.zeros(3),) * 2), ())
