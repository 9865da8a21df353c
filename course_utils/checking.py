"""The learner's verbs check, hint, solution, specimen and use, and the judgement, examine."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import tensorflow as tf

from course_utils import attempt as attempts
from course_utils import timer
from course_utils.attempt import Outcome
from course_utils.exercise import (
    Alternative,
    Call,
    Case,
    Exercise,
    Mistake,
    NotApplicable,
    Probe,
    catalogue,
    combined,
    exercises,
    find,
    source,
    starting_mistakes,
    variant,
)
from course_utils.first_look import rules_out
from course_utils.history import history

exercises()  # all are read now, so that nobody waits for it at the first check
WIDTH = 88
NUMPY_REMARK = (
    "you return a NumPy array. The numbers are right, but TensorFlow cannot follow the gradient "
    "through NumPy, so it could not be trained."
)


@dataclass(frozen=True)
class Examination:
    """A judgement. `state` is "not started", "crashed", "wrong" or "passed"; `passed` counts cases.

    `mistakes` holds the names of the catalogued mistakes found, none if the cause is unknown;
    `remarks` what is true of a passed answer and does not fail it; `lines` what check prints.
    """

    exercise: str
    state: str
    passed: int = 0
    total: int = 0
    mistakes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def check(fn: Callable) -> float | None:
    """Print the judgement of a learner's function. Never raises.

    Under nbgrader it also returns the points: 1.0 if passed, else 0.0.
    """
    name = _bound_to(fn, sys._getframe(1).f_globals)
    if isinstance(fn, str) and name is None:
        print(f"💥 Without quotes: check({fn}). `check` looks at the function itself.")
        return None
    examination = examine(fn, name)
    print("\n".join([*examination.lines, *timer.lines()]))
    remember(examination)
    return float(examination.state == "passed") if "NBGRADER_EXECUTION" in os.environ else None


def remember(examination: Examination) -> None:
    """Note what was judged, for the report of weak spots; the same once more says nothing new."""
    if examination.state == "not started":
        return
    judged = {
        "exercise": examination.exercise,
        "state": examination.state,
        "mistakes": list(examination.mistakes),
    }
    with contextlib.suppress(Exception):  # a full disk must not stand between learner and verdict
        earlier = [e for e in history().events("check") if e["exercise"] == examination.exercise]
        if not earlier or any(earlier[-1][field] != value for field, value in judged.items()):
            history().add("check", **judged)


def use(fn: Callable | str) -> Callable:
    """The learner's function if it passes, else the reference; one line says which.

    A name in quotes means the answer saved in the notebook of that exercise.
    """
    if isinstance(fn, str):
        return _use_saved(fn)
    examination = examine(fn, _bound_to(fn, sys._getframe(1).f_globals))
    fn = _own(fn)
    if examination.state == "passed":
        print(f"From here on {examination.exercise} is yours.")
        return fn
    return _stand_in(examination.exercise, fn, "yours has not passed yet")


def _use_saved(name: str) -> Callable:
    from course_utils.notebooks import saved_answer  # it needs this module in turn

    notebook, fn = saved_answer(name)
    if fn is None:
        return _stand_in(name, None, f"none of yours is saved in {notebook}")
    if examine(fn, name).state == "passed":
        print(f"From here on {name} is yours, from {notebook}.")
        return fn
    return _stand_in(name, fn, f"yours in {notebook} has not passed yet")


def _stand_in(name: str, fn: Callable | None, reason: str) -> Callable:
    """The reference in place of an attempt; it remembers the attempt, for `check` to judge."""
    try:
        reference = variant(name)
    except KeyError:
        print(f"There is no exercise {name!r}; the function stays as it is.")
        return fn
    reference.stands_in_for = fn
    print(f"From here on {name} is the course's ({reason}).")
    return reference


def _bound_to(fn: Callable, names: Mapping[str, object]) -> str | None:
    """The exercise that a function answers by the name it has in the notebook.

    A lambda has no name of its own, and a library's function has another.
    """
    return next((name for name in exercises() if name in names and names[name] is fn), None)


def _own(fn: Callable) -> Callable:
    """The learner's function, also where `use` has put the reference in its place."""
    return getattr(fn, "stands_in_for", None) or fn


def hint(name: str, number: int = 1) -> None:
    """Print one hint; the first is a question, the last nearly the code."""
    name = _as_name(name)
    if name not in exercises():
        print(_no_such(name))
        return
    hints = find(name).hints
    if number not in range(1, len(hints) + 1):
        print(f"{name} has {len(hints)} hints: hint({name!r}, 1) to hint({name!r}, {len(hints)}).")
        return
    print(_wrapped(f"Hint {number} of {len(hints)}: ", hints[number - 1]))
    if number < len(hints):
        print(f"More: hint({name!r}, {number + 1})")


def solution(name: str) -> None:
    """Print the reference solution of an exercise."""
    name = _as_name(name)
    print(source(name) if name in exercises() else _no_such(name))


def specimen(name: str) -> Callable:
    """The broken function that the learner starts from; KeyError if `name` is no specimen."""
    mistakes = starting_mistakes(name)
    if not mistakes:
        raise KeyError(f"{name!r} is no specimen: you write it from nothing")
    return variant(name, *mistakes)


def _as_name(name: str | Callable) -> str:
    """hint(softmax) means hint("softmax")."""
    return name if isinstance(name, str) else getattr(name, "__name__", str(name))


def _no_such(name: str) -> str:
    known = ", ".join(sorted(exercises()))
    return _wrapped("💥 ", f"There is no exercise {name!r}. The exercises are: {known}.")


def examine(fn: Callable, name: str | None = None) -> Examination:
    """Judge a function as an answer to exercise `name` (default: the function's own name).

    Prints nothing and never raises.
    """
    try:
        fn = _own(fn)
        name = name or getattr(fn, "__name__", None) or type(fn).__name__
        if name not in exercises():
            return Examination(str(name), "crashed", lines=tuple(_no_such(name).split("\n")))
        return _examine(fn, find(name))
    except BaseException as error:  # whatever a learner's object does when it is looked at
        text = f"💥 {name}: {type(error).__name__}: {attempts.short_message(error)}"
        return Examination(str(name), "crashed", lines=(text,))


def _examine(fn: Callable, exercise: Exercise) -> Examination:
    if not callable(fn):
        text = f"💥 {exercise.name} is a {type(fn).__name__}, not a function. Run its `def` cell."
        return Examination(exercise.name, "crashed", lines=(text,))
    if _is_stub(fn):
        return _not_started(exercise)
    missing, demanded = attempts.missing_parameters(exercise.reference, fn)
    if missing or demanded:
        return _wrong_signature(exercise, fn, missing, demanded)
    outcomes = _run_all(fn, exercise)
    replaced = attempts.replaced_library_functions()
    if replaced:
        return _library_replaced(exercise, replaced)
    if _raises_not_started(outcomes[0], fn):
        return _not_started(exercise)
    return _judge(fn, exercise, outcomes)


def _run_all(fn: Callable, exercise: Exercise) -> list[Outcome]:
    """The outcome of every case, up to one that does not end or returns no such thing at all."""
    outcomes = []
    for case in exercise.cases:
        outcomes.append(attempts.run(fn, case))
        endless = isinstance(outcomes[-1].error, attempts.TookTooLong)
        if endless or not _has_form(exercise, outcomes):
            break
    return outcomes


def _has_form(exercise: Exercise, outcomes: list[Outcome]) -> bool:
    """Numbers, and as many results as there should be? The first case tells, if it ran."""
    if outcomes[0].error is not None:
        return True
    return attempts.same_form(_reference_outcome(exercise.name, 0, ()).value, outcomes[0].value)


def _is_stub(fn: Callable) -> bool:
    code = getattr(fn, "__code__", None)
    return code is not None and code.co_names == ("NotImplementedError",)


def _raises_not_started(outcome: Outcome, fn: Callable) -> bool:
    """NotImplementedError from the function itself, not from another that it calls."""
    if not isinstance(outcome.error, NotImplementedError):
        return False
    last = outcome.error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return last.tb_frame.f_code is getattr(fn, "__code__", None)


def _not_started(exercise: Exercise) -> Examination:
    lines = (f"⏳ {exercise.name}: not started. First hint: hint({exercise.name!r})",)
    return Examination(exercise.name, "not started", 0, len(exercise.cases), lines=lines)


def _wrong_signature(
    exercise: Exercise, fn: Callable, missing: list[str], demanded: list[str]
) -> Examination:
    ours = ", ".join(str(p).split(":")[0] for p in inspect.signature(exercise.reference).parameters)
    first = f"its parameters are not those of the exercise, ({ours})."
    lines = [_wrapped(f"❌ {exercise.name}: ", first)]
    if missing:
        lines.append(_wrapped("   ", f"It does not take: {', '.join(missing)}."))
    if demanded:
        lines.append(_wrapped("   ", f"It demands what nobody passes: {', '.join(demanded)}."))
    mistakes = ()
    if "weights" in missing:
        mistakes = ("no_weights_argument",)
        lines.append(_wrapped("   no_weights_argument: ", (
            "Without `weights` there is nothing that training could keep, and no way to put a "
            "pretrained model in."
        )))  # fmt: skip
    lines += _raised_without_options(exercise, fn) + _symptoms(exercise, fn)
    total = len(exercise.cases)
    return Examination(exercise.name, "wrong", 0, total, mistakes, lines=tuple(lines))


def _raised_without_options(exercise: Exercise, fn: Callable) -> list[str]:
    """What the function's own code raises when it is called with the required arguments alone."""
    for case in exercise.cases:
        if isinstance(case.run, Call) and not case.run.kwargs:
            outcome = attempts.run(fn, case)
            if outcome.error is not None and attempts.where_raised(outcome.error, fn):
                return _error_lines(outcome.error, fn)
    return []


def _library_replaced(exercise: Exercise, replaced: list[str]) -> Examination:
    lines = (
        f"❌ {exercise.name}: cannot be judged, because the notebook has overwritten "
        f"{', '.join(replaced)}.",
        "   Remove that line and restart the kernel (Kernel > Restart).",
    )
    return Examination(exercise.name, "wrong", 0, len(exercise.cases), lines=lines)


def _judge(fn: Callable, exercise: Exercise, outcomes: list[Outcome]) -> Examination:
    verdicts = [_fits(exercise, case, outcome) for case, outcome in enumerate(outcomes)]
    if len(verdicts) == len(exercise.cases):
        if all(verdicts):
            return _passed(fn, exercise, None)
        for alternative in exercise.alternatives:
            if all(_fits(exercise, i, outcome, alternative) for i, outcome in enumerate(outcomes)):
                return _passed(fn, exercise, alternative)
    if _is_as_at_the_start(exercise, outcomes):
        return _not_repaired(fn, exercise, sum(verdicts))
    passed, total = sum(verdicts), len(exercise.cases)
    mistakes, partly = explain(exercise, outcomes)
    crashed = next((i for i, outcome in enumerate(outcomes) if outcome.error is not None), None)
    if crashed is not None:
        case = exercise.cases[crashed]
        state, lines = "crashed", _crash_lines(exercise, fn, case, outcomes[crashed])
    else:
        state, lines = "wrong", [f"❌ {exercise.name}: {passed} of {total} cases are right."]
    if mistakes:
        lines += _mistake_lines(exercise, mistakes, partly)
    elif state == "wrong":
        lines += _unknown_lines(exercise, fn, outcomes, verdicts)
    return Examination(exercise.name, state, passed, total, mistakes, lines=tuple(lines))


def _is_as_at_the_start(exercise: Exercise, outcomes: list[Outcome]) -> bool:
    """Does it do what the specimen's broken code does? A print put in is no repair."""
    start = starting_mistakes(exercise.name)
    return bool(start) and all(_fits(exercise, i, o, *start) for i, o in enumerate(outcomes))


def _not_repaired(fn: Callable, exercise: Exercise, passed: int) -> Examination:
    """What can be seen, and not why: to find that is the exercise."""
    total = len(exercise.cases)
    lines = [f"⏳ {exercise.name}: not repaired yet, {passed} of {total} cases are right."]
    lines += [*_symptoms(exercise, fn), f"   First hint: hint({exercise.name!r})"]
    return Examination(exercise.name, "not started", passed, total, lines=tuple(lines))


def _passed(fn: Callable, exercise: Exercise, alternative: Alternative | None) -> Examination:
    probes = (Probe(NUMPY_REMARK, _returns_numpy(exercise)), *exercise.remarks)
    remarks = tuple(p.sentence for p in probes if _holds(p, fn))
    if alternative:
        remarks = (alternative.remark, *remarks)
    total = len(exercise.cases)
    lines = [f"✅ {exercise.name}: right in all {total} cases."]
    lines += [_wrapped("   Remark: ", remark) for remark in remarks]
    lines.append(_wrapped("   ", f"Compare: {exercise.compare_with}"))
    return Examination(exercise.name, "passed", total, total, (), remarks, tuple(lines))


def _returns_numpy(exercise: Exercise) -> Callable[[Callable], bool]:
    """A test for a Probe; a subclass of Call makes arrays of whatever it is given."""

    def holds(fn: Callable) -> bool:
        # The last is seldom the largest.
        plain = next(case.run for case in reversed(exercise.cases) if type(case.run) is Call)
        return any(isinstance(part, np.ndarray) for part in tf.nest.flatten(plain(fn)))

    return holds


def _crash_lines(exercise: Exercise, fn: Callable, case: Case, outcome: Outcome) -> list[str]:
    error, name, case_name = outcome.error, exercise.name, case.name
    if isinstance(error, attempts.TookTooLong):
        text = f"did not end within {attempts.SECONDS_PER_CASE:g} seconds (case: {case_name})."
        return [f"💥 {name} {text}", "   Is there a loop that never stops?"]
    if type(error).__name__ == "ChangedInput":
        return [
            f"💥 {name} changed its inputs (case: {case_name}).",
            "   Make new tensors instead: whoever called it still needs what they passed.",
        ]
    first = f"💥 {name}: your code raised {type(error).__name__} (case: {case_name})."
    return [first, *_error_lines(error, fn)]


def _error_lines(error: BaseException, fn: Callable) -> list[str]:
    """The error and the learner's own line that raised it."""
    lines = [_wrapped("   ", f"{type(error).__name__}: {attempts.short_message(error)}")]
    if where := attempts.where_raised(error, fn):
        lines.append(f"   At {where}")
    return lines


def _mistake_lines(exercise: Exercise, names: tuple[str, ...], partly: bool) -> list[str]:
    messages = {m.name: m.message for m in catalogue(exercise.name)}
    lines = [_wrapped(f"   {name}: ", messages[name]) for name in names]
    if partly:
        lines.append("   There is one mistake more, which shows once this one is mended.")
    return lines


def _unknown_lines(
    exercise: Exercise, fn: Callable, outcomes: list[Outcome], verdicts: list[bool]
) -> list[str]:
    first = verdicts.index(False)
    expected = _reference_outcome(exercise.name, first, ())
    case = exercise.cases[first]
    returns = getattr(case.run, "returns", exercise.returns)
    seen = attempts.difference(expected.value, outcomes[first].value, returns)
    lines = [_wrapped(f"   Case “{case.name}”: ", seen or "")]
    if outcomes[first].value is None and outcomes[first].printed:
        lines.append("   It printed something: `print` shows a value, `return` hands it over.")
    if not attempts.same_form(expected.value, outcomes[first].value):
        return lines  # that is the cause
    lines += _symptoms(exercise, fn)
    lines.append("   The cause is not one of the mistakes that this course knows.")
    return lines


def _symptoms(exercise: Exercise, fn: Callable) -> list[str]:
    return [_wrapped("   Seen: ", p.sentence) for p in exercise.symptoms if _holds(p, fn)]


def _holds(probe: Probe, fn: Callable) -> bool:
    """Does the probe's sentence hold? An attempt that cannot be probed shows no symptom."""
    outcome = attempts.run(fn, Case(probe.sentence, probe.holds))
    return outcome.error is None and bool(outcome.value)


def _wrapped(first: str, text: str) -> str:
    indent = " " * (6 if first.strip() else 3)
    return textwrap.fill(first + text, WIDTH, subsequent_indent=indent, break_long_words=False)


# ---- which mistake was it? ----


def explain(exercise: Exercise, outcomes: list[Outcome]) -> tuple[tuple[str, ...], bool]:
    """Names of the mistakes that explain every outcome, and whether there is one more unnamed.

    One mistake is tried before two at once, and first of all what a specimen held at the start. If
    several explanations of the same size fit, only what all of them share is named: a wrong name
    is worse than none.
    """
    if outcomes[0].error is not None or not attempts.is_numbers(outcomes[0].value):
        return (), False
    for size, explanations in _explanations(exercise):
        fitting = [
            {m.name for m in mistakes}
            for mistakes in explanations
            if _explains(exercise, outcomes, mistakes)
        ]
        if fitting:
            shared = set.intersection(*fitting)
            known = dict.fromkeys(mistake.name for mistake in catalogue(exercise.name))
            names = tuple(name for name in known if name in shared)
            return names, 0 < len(names) < size
    return (), False


def _explanations(
    exercise: Exercise,
) -> Iterator[tuple[int, Iterator[tuple[Mistake, ...]]]]:
    """What is looked for, in this order: each time a number of mistakes, and all sets of so many.

    A specimen may still hold any part of what it held at the start, and a repair that went wrong
    adds one mistake to several of these.
    """
    start = starting_mistakes(exercise.name)
    for size in range(1, len(start)):
        yield size, combinations(start, size)
    for size in (1, 2):
        yield size, _combinations(exercise, size)
    others = [mistake for mistake in exercise.mistakes if mistake not in start]
    for size in range(2, len(start)):
        parts = combinations(start, size)
        yield size + 1, ((*part, other) for part in parts for other in others)


def _combinations(exercise: Exercise, size: int) -> Iterator[tuple[Mistake, ...]]:
    pool = catalogue(exercise.name)
    if size > 1 and not exercise.pairs_with_inherited:
        pool = exercise.mistakes
    return combinations(pool, size)


def _explains(
    exercise: Exercise, outcomes: list[Outcome], mistakes: tuple[Mistake, ...]
) -> bool:
    """Do these mistakes, in one of the accepted versions, give just these outcomes?"""
    versions = [()] + [(a,) for a in exercise.alternatives if len(mistakes) == 1]
    return any(
        not rules_out(exercise.name, outcomes[0], (*mistakes, *version))
        and all(
            _fits(exercise, case, outcome, *mistakes, *version)
            for case, outcome in enumerate(outcomes)
        )
        for version in versions
    )


def _fits(
    exercise: Exercise, case: int, outcome: Outcome, *changes: Mistake | Alternative
) -> bool:
    try:
        return attempts.same(_reference_outcome(exercise.name, case, changes), outcome)
    except NotApplicable:
        return False


_variants: dict = {}  # (exercise, ids of the changes) -> the changes, and the function or its error
_outcomes: dict = {}  # (that key, case) -> Outcome


def _reference_outcome(
    name: str, case: int, changes: tuple[Mistake | Alternative, ...]
) -> Outcome:
    """What the reference with these changes gives for one case; computed once a session."""
    key = (name, *map(id, changes))
    if (key, case) in _outcomes:
        return _outcomes[key, case]
    if key not in _variants:
        try:
            _variants[key] = (changes, combined(name, *changes))
        except NotApplicable as error:
            _variants[key] = (changes, error)
    function = _variants[key][1]
    if isinstance(function, NotApplicable):
        raise function
    _outcomes[key, case] = attempts.run(function, find(name).cases[case])
    return _outcomes[key, case]
