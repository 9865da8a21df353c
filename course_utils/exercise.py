"""What an exercise is made of, and how all exercises are found.

An exercise is one plain function, the reference, with what can go wrong in it. A mistake is a
textual change of the reference, so that a mistake is a few words long, the reference stays plain,
and any two mistakes that change different words can be combined.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pkgutil import iter_modules
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

# The body of every stub; nbgrader's `ClearSolutions.code_stub` has to be the same.
NOT_WRITTEN = 'raise NotImplementedError("write this function")'

# "function name" -> ((old, new), ...): what to change in the source of which reference.
Edits = Mapping[str, tuple[tuple[str, str], ...]]


class Mistake(NamedTuple):
    """A faulty version of the reference: `change` maps old source text to new source text.

    `name` is stable and shared by exercises in which the same mistake is made; `message` is what
    the learner reads. `where` names the reference to change, if it is not the exercise's own
    (a block that is wrong because of its norm).
    """

    name: str
    message: str
    change: Mapping[str, str]
    where: str = ""


class Alternative(NamedTuple):
    """Another version that is right too; a learner who wrote it passes with a remark."""

    remark: str
    change: Mapping[str, str]
    where: str = ""


class Probe(NamedTuple):
    """A true sentence about an attempt, and the test that shows whether it holds."""

    sentence: str
    holds: Callable[[Callable], bool]


class Case(NamedTuple):
    """One thing to look at: `run(attempt)` returns what is compared with the reference.

    `run.returns`, if there, names the parts of what it returns.
    """

    name: str
    run: Callable[[Callable], Any]


class ChangedInput(Exception):
    """An attempt changed what it was given."""


class Call:
    """Call an attempt with fresh tensors, and see that it leaves them as they are."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.args, self.kwargs = args, kwargs

    @cached_property
    def shared(self) -> tuple[tuple, dict]:
        """Arguments for our own functions, of which hundreds are called and none changes them."""
        return fresh((self.args, self.kwargs))

    def __call__(self, attempt: Callable) -> Any:
        if getattr(attempt, "is_ours", False):
            args, kwargs = self.shared
            return attempt(*args, **kwargs)
        args, kwargs = fresh((self.args, self.kwargs))
        result = attempt(*args, **kwargs)
        if inspect.iscoroutine(result):
            result.close()  # or Python warns that nobody awaited it
        before, after = tf.nest.flatten((self.args, self.kwargs)), tf.nest.flatten((args, kwargs))
        same = (np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)
                if isinstance(a, np.ndarray))
        if not all(same):
            raise ChangedInput
        return result


def fresh(inputs: Any) -> Any:
    """The same nested structure with every array as a new tensor."""
    return tf.nest.map_structure(
        lambda leaf: tf.constant(leaf) if isinstance(leaf, np.ndarray) else leaf, inputs
    )


@dataclass(frozen=True)
class Exercise:
    """One exercise. `returns` names what the function returns, for messages about the number.

    `inherits` names exercises whose mistakes can also be made inside this one, `not_inherited`
    those that cannot be seen there, or stop every call;
    `pairs_with_inherited` says whether two of them at once are looked for.
    `broken` makes it a specimen: the learner starts from the reference with these mistakes of its
    own in it, by name in the order of the catalogue, and repairs it.
    """

    reference: FunctionType
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, ...]
    cases: tuple[Case, ...]
    compare_with: str
    returns: tuple[str, ...] = ("output",)
    symptoms: tuple[Probe, ...] = ()
    remarks: tuple[Probe, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    inherits: tuple[str, ...] = ()
    not_inherited: tuple[str, ...] = ()
    pairs_with_inherited: bool = False
    broken: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.reference.__name__

    @property
    def module(self) -> str:
        """The notebook's name without its number."""
        return self.reference.__module__.rpartition(".")[2]


@cache
def exercises() -> dict[str, Exercise]:
    """Every exercise by name, found by looking into every module of course_utils.exercises."""
    package = import_module("course_utils.exercises")
    names = (module.name for module in iter_modules(package.__path__, package.__name__ + "."))
    modules = [import_module(name) for name in names]
    return {exercise.name: exercise for module in modules for exercise in module.EXERCISES}


def find(name: str) -> Exercise:
    """The exercise of that name; a KeyError that lists all names otherwise."""
    try:
        return exercises()[name]
    except KeyError:
        known = ", ".join(sorted(exercises()))
        raise KeyError(f"there is no exercise {name!r}; the exercises are: {known}") from None


@cache
def source(name: str) -> str:
    """The reference's source as the learner may reveal it."""
    return textwrap.dedent(inspect.getsource(find(name).reference))


@cache
def split_source(name: str) -> tuple[str, str]:
    """The reference's source in two: signature with docstring, and the body below it."""
    text = source(name)
    docstring = ast.parse(text).body[0].body[0]
    lines = text.splitlines(keepends=True)
    return "".join(lines[: docstring.end_lineno]), "".join(lines[docstring.end_lineno :])


def stub(name: str) -> str:
    """What the learner starts from: a body that only raises, or the broken one of a specimen."""
    mistakes = starting_mistakes(name)
    if mistakes:
        return _edited(name, edits_of(name, *mistakes)[name])
    return f"{split_source(name)[0]}    {NOT_WRITTEN}\n"


@cache
def starting_mistakes(name: str) -> tuple[Mistake, ...]:
    """The mistakes that a specimen holds at the start; none if the learner starts from nothing."""
    own = {mistake.name: mistake for mistake in reversed(find(name).mistakes)}
    return tuple(own[mistake] for mistake in find(name).broken)


@cache
def catalogue(name: str) -> tuple[Mistake, ...]:
    """Every single mistake looked for in this exercise: its own, then the inherited ones.

    A class of mistake that the exercise lists itself is not inherited a second time.
    """
    exercise = find(name)
    found = list(exercise.mistakes)
    for parent in exercise.inherits:
        known = {mistake.name for mistake in found}.union(exercise.not_inherited)
        found += [
            mistake._replace(where=mistake.where or parent)
            for mistake in find(parent).mistakes
            if mistake.name not in known
        ]
    return tuple(found)


class NotApplicable(ValueError):
    """A change whose old text is not there, or not there once."""


def edits_of(name: str, *changes: Mistake | Alternative) -> Edits:
    """The source changes of these mistakes of exercise `name`, by the function they change."""
    edits: dict[str, tuple[tuple[str, str], ...]] = {}
    for change in changes:
        where = change.where or name
        edits[where] = edits.get(where, ()) + tuple(change.change.items())
    return edits


def variant(
    name: str, *changes: Mistake | Alternative, instead: Mapping[str, Any] | None = None
) -> FunctionType:
    """The reference of exercise `name` with these changes made to it.

    `instead` replaces what its module imports. Raises NotApplicable if two changes are made to the
    same words.
    """
    namespace = {**_shared_names(), **(instead or {})}
    edits = edits_of(name, *changes)
    needed, defined = [name], set()
    while needed:
        function = needed.pop()
        if function not in defined:
            code, called = _compiled(function, edits.get(function, ()))
            exec(code, namespace)
            defined.add(function)
            needed += called
    namespace[name].is_ours = True
    return namespace[name]


def combined(
    name: str, *changes: Mistake | Alternative, instead: Mapping[str, Any] | None = None
) -> FunctionType:
    """As variant, in the order in which the changes can be made, if there is one."""
    try:
        return variant(name, *changes, instead=instead)
    except NotApplicable:
        return variant(name, *reversed(changes), instead=instead)


@cache
def _shared_names() -> Mapping[str, Any]:
    """What the references' modules import: references of all exercises live in one namespace."""
    names: dict[str, Any] = {}
    for exercise in exercises().values():
        names.update(exercise.reference.__globals__)
    return names


@cache
def _compiled(
    function: str, edits: tuple[tuple[str, str], ...]
) -> tuple[CodeType, tuple[str, ...]]:
    """Code that defines `function` with its body changed by these edits, and what it may call.

    The names of other references are looked for in the text: one too many does no harm.
    """
    text = "from __future__ import annotations\n" + _edited(function, edits)
    called = tuple(other for other in exercises() if other in text)
    return compile(text, f"<{function}>", "exec"), called


def _edited(function: str, edits: tuple[tuple[str, str], ...]) -> str:
    """The source of the reference `function` with its body changed by these edits."""
    head, body = split_source(function)
    for old, new in edits:
        if body.count(old) != 1:
            raise NotApplicable(f"{function}: {old!r} is there {body.count(old)} times, not once")
        body = body.replace(old, new)
    return head + body
