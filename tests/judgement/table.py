"""What the checks know: every catalogued mistake and every pair of them, judged.

Judging all pairs by `examine` would take an hour, so this groups instead: variants of a reference
that give the same outcome in every case are one class, and which names could be given to a member
follows from its class. `examine` itself judges all singles, and of the pairs as many as there is
time for; it may know fewer names than the class holds, never others.

    python tests/judgement/table.py      prints the whole table
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pytest

from course_utils import attempt as attempts
from course_utils import checking
from course_utils.attempt import Outcome
from course_utils.checking import Examination
from course_utils.exercise import (
    Alternative,
    Mistake,
    NotApplicable,
    catalogue,
    exercises,
    find,
    starting_mistakes,
)

Changes = tuple[Mistake | Alternative, ...]

# Gaps in units of the tolerance: below the first, two outcomes are equal; above the second, they
# are apart; in between, another processor's rounding could change a verdict.
EQUAL, APART = 0.25, 20.0
OTHER_PAIRS = 40  # of pairs that are not looked for, this many are judged
EXAMINED_PAIRS = 30  # where there are many, `examine` judges this many


@dataclass
class Judged:
    """Classes of variants of one reference that no case tells apart, and what is told of each."""

    name: str
    variants: list[Changes]
    classes: list[list[int]]
    doubtful: list[tuple[str, str, float]]  # (this, that, gap): neither equal nor apart
    of: dict[tuple[int, ...], int] = field(init=False)  # key -> number of its class
    searched: list[set[tuple[int, ...]]] = field(init=False)  # keys of explanations, in their order
    examinations: dict[tuple[int, ...], Examination] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.of = {
            key(self.variants[i]): c for c, members in enumerate(self.classes) for i in members
        }
        self.searched = [set(map(key, e)) for _, e in checking._explanations(find(self.name))]

    def like(self, changes: Changes) -> list[Changes]:
        """The variants that no case tells apart from this one, itself included."""
        return [self.variants[i] for i in self.classes[self.of[key(changes)]]]

    def caught(self, changes: Changes) -> bool:
        """Is there a case in which it differs from every right version?"""
        return all(_mistakes(other) for other in self.like(changes))

    def named(self, changes: Changes) -> tuple[str, ...]:
        """The names that explain gives: of the smallest explanations, what all share."""
        if checking._reference_outcome(self.name, 0, changes).error is not None:
            return ()
        for searched in self.searched:
            fitting = [set(names(v)) for v in self.like(changes) if key(_mistakes(v)) in searched]
            if fitting:
                shared = set.intersection(*fitting)
                return tuple(m for m in dict.fromkeys(m.name for m in catalogue(self.name))
                             if m in shared)  # fmt: skip
        return ()

    def examined(self, changes: Changes) -> Examination:
        """What `examine` says of the reference with these changes; asked once."""
        if key(changes) not in self.examinations:
            self.examinations[key(changes)] = examined(self.name, changes)
        return self.examinations[key(changes)]


def _mistakes(changes: Changes) -> tuple[Mistake, ...]:
    return tuple(change for change in changes if isinstance(change, Mistake))


def key(changes: Changes) -> tuple[int, ...]:
    """Changes hold dictionaries, so they cannot be looked up themselves."""
    return tuple(map(id, changes))


def names(changes: Changes) -> tuple[str, ...]:
    return tuple(mistake.name for mistake in _mistakes(changes))


def combinations_looked_for(name: str, size: int) -> Iterator[tuple[Mistake, ...]]:
    return checking._combinations(find(name), size)


def applicable(name: str, all_changes: Sequence[Changes]) -> list[Changes]:
    """Those that do not change the same words."""
    found = []
    for changes in all_changes:
        try:
            checking.combined(name, *changes)
        except NotApplicable:
            continue
        found.append(changes)
    return found


def other_pairs(name: str) -> list[Changes]:
    """A sample of the pairs within the exercise that are not looked for: they must not mislead."""
    searched = set(map(key, combinations_looked_for(name, 2)))
    rest = [pair for pair in combinations(catalogue(name), 2) if key(pair) not in searched]
    return rest[:: max(1, len(rest) // OTHER_PAIRS)]


def judge(name: str) -> Judged:
    """Group the reference, its alternatives, all singles, all pairs looked for, and some others."""
    exercise = find(name)
    alternatives = [(a,) for a in exercise.alternatives]
    singles = [(m,) for m in catalogue(name)]
    pairs = [*combinations_looked_for(name, 2), *other_pairs(name)]
    start = starting_mistakes(name)
    parts = [p for size in range(3, len(start) + 1) for p in combinations(start, size)]
    variants = applicable(name, [(), *alternatives, *singles, *pairs, *parts])
    doubtful: dict[tuple[int, int], float] = {}
    classes = [list(range(len(variants)))]
    for case in _telling_cases_first(name, applicable(name, [(), *singles])):
        classes = _refined(name, case, variants, classes, doubtful)
    of = {i: c for c, members in enumerate(classes) for i in members}
    still = [(_label(variants[i]), _label(variants[j]), gap)
             for (i, j), gap in doubtful.items()
             if of[i] == of[j] and set(names(variants[i])) != set(names(variants[j]))]  # fmt: skip
    return Judged(name, variants, classes, still)


def _telling_cases_first(name: str, variants: list[Changes]) -> list[int]:
    """Number the cases so that each next one splits the classes most: then few need all cases."""
    left, order, classes = list(range(len(find(name).cases))), [], [list(range(len(variants)))]
    while left:
        tried = {case: _refined(name, case, variants, classes, {}) for case in left}
        best = max(left, key=lambda case: len(tried[case]))
        order.append(best)
        left.remove(best)
        classes = tried[best]
    return order


def _refined(name, case, variants, classes, doubtful) -> list[list[int]]:
    return [part for whole in classes for part in _split(name, case, variants, whole, doubtful)]


def _label(changes: Changes) -> str:
    return " + ".join(getattr(c, "name", "alternative") for c in changes) or "the reference"


def _split(name, case, variants, members, doubtful) -> list[list[int]]:
    """Split a class by the outcomes of one case."""
    if len(members) == 1:
        return [members]
    leaders: dict = {}  # form of the outcome -> [(leader's numbers, members)]
    for i in members:
        form, numbers = _numbers(checking._reference_outcome(name, case, variants[i]))
        for leader, group in leaders.setdefault(form, []):
            gap = _gap(leader, numbers)
            if gap < APART:
                if gap > EQUAL:
                    doubtful[group[0], i] = gap
                group.append(i)
                break
        else:
            leaders[form].append((numbers, [i]))
    return [group for groups in leaders.values() for _, group in groups]


def _numbers(outcome: Outcome) -> tuple[tuple, np.ndarray]:
    """What two outcomes must have exactly in common, and the numbers in which they may differ."""
    if outcome.error is not None:
        return ("error", type(outcome.error)), np.zeros(0)
    form, numbers = [], [np.zeros(0)]
    for part in outcome.value if isinstance(outcome.value, tuple) else (outcome.value,):
        array = np.asarray(part)
        form += [array.shape, array.dtype.str]
        if array.dtype.kind == "f":
            finite = np.isfinite(array)
            form.append(np.where(finite, 0, array).tobytes())
            numbers.append(np.where(finite, array, 0).astype(np.float64).ravel())
        else:
            form.append(array.tobytes() if array.dtype != object else repr(type(part)))
    return (isinstance(outcome.value, tuple), *form), np.concatenate(numbers)


def _gap(expected: np.ndarray, got: np.ndarray) -> float:
    tolerance = attempts.ABSOLUTE + attempts.RELATIVE * np.abs(expected)
    return float(np.max(np.abs(got - expected) / tolerance, initial=0))


@dataclass(frozen=True)
class Row:
    """One line of the table; see HEAD."""

    exercise: str
    mistakes: int
    classes: int
    caught: int
    right: int
    unknown: int
    wrong: int
    pairs: int
    not_applicable: int
    pairs_caught: int
    pairs_examined: int
    pairs_exact: int
    pairs_partly: int
    pairs_unknown: int
    pairs_same: int
    pairs_wrong: int


HEAD = (
    "exercise", "mistakes", "of classes", "caught", "named right", "unknown", "named wrong",
    "pairs", "same words", "caught", "examined", "exactly", "partly", "unknown",
    "same function", "named wrong",
)  # fmt: skip


def all_pairs(name: str) -> list[Changes]:
    """The pairs that are looked for, and the sample of others."""
    return [*combinations_looked_for(name, 2), *other_pairs(name)]


def examined(name: str, changes: Changes) -> Examination:
    """What `examine` says of the reference with these changes, whose outcomes are known already.

    Also of a specimen's broken code, of which it would say no more than that it is not repaired.
    """
    function = checking.combined(name, *changes)
    cases = range(len(find(name).cases))
    outcomes = [checking._reference_outcome(name, c, changes) for c in cases]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checking, "_run_all", lambda *_: outcomes)
        patched.setattr(checking, "_is_as_at_the_start", lambda *_: False)
        return checking.examine(function, name)


def misled(judged: Judged, same: Mapping) -> Iterator[tuple[Changes, tuple[str, ...]]]:
    """Pairs that are given a name which is not theirs, and are not the same function as it."""
    for pair in all_pairs(judged.name):
        if key(pair) in judged.of and not set(judged.named(pair)) <= set(names(pair)):
            single, _reason = same.get(names(pair), (None, None))
            if judged.named(pair) != (single,):
                yield pair, names(pair)


def sample(judged: Judged) -> list[Changes]:
    """The pairs for which there is time to ask `examine`: all in a small exercise."""
    pairs = [p for p in all_pairs(judged.name) if key(p) in judged.of]
    return pairs if len(pairs) < 100 else pairs[:: max(1, len(pairs) // EXAMINED_PAIRS)]


def row(judged: Judged, same: Mapping | None = None) -> Row:
    """Count: the singles and a sample of pairs as examine names them, all pairs by their class.

    `same`: pairs that are the same function as one other mistake.
    """
    name, same = judged.name, same or {}
    singles = [(m,) for m in catalogue(name)]
    pairs = [p for p in all_pairs(name) if key(p) in judged.of]
    told = [(set(names(c)), set(judged.examined(c).mistakes)) for c in singles]
    told_of_pairs = [(set(names(c)), set(judged.examined(c).mistakes)) for c in sample(judged)]
    wrong = len(list(misled(judged, same)))
    return Row(
        name,
        len(singles),
        len({m.name for (m,) in singles}),
        sum(judged.examined(c).state != "passed" and judged.caught(c) for c in singles),
        sum(made == given for made, given in told),
        sum(not given for _, given in told),
        sum(not given <= made for made, given in told),
        len(pairs),
        len(all_pairs(name)) - len(pairs),
        sum(judged.caught(c) for c in pairs),
        len(told_of_pairs),
        sum(made == given for made, given in told_of_pairs),
        sum(given < made and bool(given) for made, given in told_of_pairs),
        sum(not given for _, given in told_of_pairs),
        sum(not set(judged.named(c)) <= set(names(c)) for c in pairs) - wrong,
        wrong,
    )


def printed(rows: Sequence[Row]) -> str:
    """The table as text, with a line of totals."""
    lines = [[str(value) for value in vars(r).values()] for r in rows]
    totals = [sum(int(line[i]) for line in lines) for i in range(1, len(HEAD))]
    lines.append([f"all {len(rows)}", *map(str, totals)])
    widths = [max(len(line[i]) for line in [HEAD, *lines]) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                  for i, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in [HEAD, *lines]
    )  # fmt: skip


if __name__ == "__main__":
    print(printed([row(judge(name)) for name in exercises()]))
