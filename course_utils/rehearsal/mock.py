"""A mock interview against the clock: concepts, follow-ups, code from memory, debugging."""

from __future__ import annotations

import random
import re
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import zip_longest
from typing import NamedTuple

from course_utils import check  # noqa: F401  it starts TensorFlow, silently
from course_utils.bank import Question, questions
from course_utils.checking import examine, remember
from course_utils.exercise import exercises, stub
from course_utils.history import Event, history
from course_utils.notebooks import NOTEBOOKS
from course_utils.rehearsal import cards
from course_utils.rehearsal.report import last_shares

CONCEPT, FOLLOW_UP = 3, 2  # minutes
# minutes of the interview -> rounds of code from memory, rounds of debugging
ROUNDS = {20: (1, 0), 45: (1, 1), 60: (2, 1)}
LONGEST_ROUND = 15  # minutes: what takes longer is no question for an interview


class Item(NamedTuple):
    """One thing that the interviewer asks. kind: "concept", "follow-up", "code", "debugging"."""

    kind: str
    name: str
    minutes: int


def mock(minutes: int = 20, seed: int | None = None, buttons: bool = False) -> MockInterview | None:
    """Begin a mock interview of 20, 45 or 60 minutes; the same seed draws the same questions.

    Prints the first item. What comes next: interview.reveal(), interview.tick(said=[…]),
    interview.judge(your_function), interview.skip(), interview.report(). With `buttons` the
    text names none of these, nor the question, which stands on a card of its own.
    """
    if minutes not in ROUNDS:
        print(f"An interview takes {', '.join(map(str, ROUNDS))} minutes.")
        return None
    seed = random.randrange(10**6) if seed is None else seed
    return MockInterview(minutes, plan(minutes, history().events(), seed), buttons=buttons)


class MockInterview:
    """An interview that has begun: a list of items, and what became of each."""

    def __init__(
        self,
        minutes: int,
        items: Sequence[Item],
        clock: Callable[[], float] = time.monotonic,
        buttons: bool = False,
    ):
        self.minutes, self.items, self.clock, self.buttons = minutes, tuple(items), clock, buttons
        self.started = clock()
        self.shares: list[float | None] = []  # None: skipped
        self.false_claims: set[str] = set()  # the questions that were answered with one
        self.judged: float | None = None  # share of an attempt that may still be mended
        print(f"{minutes} minutes, {len(self.items)} items. The clock runs.")
        self._show()

    @property
    def item(self) -> Item | None:
        """What is asked now; None at the end."""
        return self.items[len(self.shares)] if len(self.shares) < len(self.items) else None

    def reveal(self) -> None:
        """Print the answer to the question that is asked now."""
        if self._is("concept", "follow-up"):
            print(cards.back(questions()[self.item.name]))
            print("Tick what you said: interview.tick(said=[1, 2], wrong=[])")

    def tick(self, said: Sequence[int] = (), wrong: Sequence[int] = ()) -> None:
        """Tick the points that you made, and the false claims; then the next item is asked."""
        if self._is("concept", "follow-up"):
            if problem := cards.unusable(questions()[self.item.name], said, wrong):
                print(problem)
                return
            cards.tick(self.item.name, said, wrong)
            share = len(set(said)) / len(questions()[self.item.name].rubric)
            if wrong:
                self.false_claims.add(self.item.name)
            self._done(0.0 if wrong else share)

    def judge(self, fn: Callable) -> None:
        """Check the function that was to be written or repaired; if it is right, the next item.

        If not, it may be mended and judged again. What is no function, or was not begun, is not
        counted. The function's name does not matter.
        """
        if self._is("code", "debugging"):
            judged = examine(fn, self.item.name)
            print("\n".join(judged.lines))
            if judged.state == "not started" or not callable(fn):
                if self.buttons:  # there the verdict has taken the place of the contract
                    print()
                    self._show()
                return
            remember(judged)
            self.judged = judged.passed / judged.total if judged.total else 0.0
            if judged.state == "passed":
                self._done(self.judged)
            elif self.buttons:
                print("\nMend it, run its cell, and press Judge again. Skip goes on: this counts.")
            else:
                print("\nMend it and judge it again. interview.skip() goes on: this counts then.")

    def skip(self) -> None:
        """Go on. Of code the last verdict counts; else the report counts it as nothing said."""
        if self._is("concept", "follow-up", "code", "debugging"):
            self._done(self.judged)

    def report(self) -> None:
        """Print what became of each item, and the share of points by kind."""
        print(f"Mock interview of {self.minutes} minutes: {self._elapsed()} used.")
        shares = self.shares if self.item is None else [*self.shares, self.judged]
        for item, share in zip_longest(self.items, shares):
            made = "not answered" if share is None else f"{share:.0%} of the points"
            if item.name in self.false_claims:
                made = "a false claim, so nothing counts"
            print(f"   {item.kind:<10} {_short(title(item)):<52}  {made}")
        whole = sum(share or 0.0 for share in shares) / len(self.items)
        print(f"In all {whole:.0%}. Where to go on: weak_spots()")

    def _is(self, *kinds: str) -> bool:
        if self.item is None:
            print("The interview is over: interview.report()")
        elif self.item.kind not in kinds:
            verbs = "judge(your_function)" if "concept" in kinds else "reveal() and tick(said=[…])"
            print(f"Here it is interview.{verbs}, or interview.skip().")
        return self.item is not None and self.item.kind in kinds

    def _done(self, share: float | None) -> None:
        item = self.item
        history().add(
            "mock", datetime.now(UTC), minutes=self.minutes, item=item.kind, name=item.name,
            share=None if share is None else round(share, 2),
        )  # fmt: skip
        self.shares.append(share)
        self.judged = None
        print()
        if self.item is None:
            self.report()
        else:
            self._show()

    def _show(self) -> None:
        item, number = self.item, len(self.shares) + 1
        over = " The time is up; go on if you like." if self._minutes_used() >= self.minutes else ""
        print(f"[{self._elapsed()} used] {number} of {len(self.items)}, {item.kind}, "
              f"{item.minutes} minutes.{over}")  # fmt: skip
        if item.kind in ("concept", "follow-up"):
            if self.buttons:
                return
            print(cards.wrapped(questions()[item.name].question))
            print("Say your answer aloud. Then interview.reveal() and interview.tick(said=[…]).")
        else:
            verb = (
                "Write it from memory" if item.kind == "code" else "Find what is wrong and mend it"
            )
            then = (
                "run the cell and press Judge" if self.buttons else f"interview.judge({item.name})"
            )
            print(f"{verb}, in a new cell. Then {then}.")
            print('Other functions of the course that you need: name = use("name").\n')
            print(stub(item.name))

    def _minutes_used(self) -> int:
        return int((self.clock() - self.started) // 60)

    def _elapsed(self) -> str:
        return f"{self._minutes_used()} of {self.minutes} minutes"


def plan(minutes: int, events: Iterable[Event], seed: int) -> list[Item]:
    """What an interview of so many minutes asks: often asked and weakly known things first."""
    chance, known = random.Random(seed), last_shares(events)
    code, debugging = ROUNDS[minutes]
    items = _rounds("code", code, chance, known) + _rounds("debugging", debugging, chance, known)
    left = minutes - sum(item.minutes for item in items)
    pool = [question for question in questions().values() if question.topic != "usual answers"]
    while left >= CONCEPT and pool:
        question = _drawn(pool, [_weight(q, known) for q in pool], chance)
        pool.remove(question)
        items.append(Item("concept", question.id, CONCEPT))
        left -= CONCEPT
        nexts = [q for q in pool if q.id in question.follow_ups]
        if nexts and left >= FOLLOW_UP and chance.random() < 0.5:
            follow_up = chance.choice(nexts)
            pool.remove(follow_up)
            items.append(Item("follow-up", follow_up.id, FOLLOW_UP))
            left -= FOLLOW_UP
    # As in real interviews, talk comes before code.
    return [i for i in items if i.name in questions()] + [
        i for i in items if i.name not in questions()
    ]


def _rounds(kind: str, count: int, chance: random.Random, known: dict) -> list[Item]:
    """Exercises to write from memory, or specimens to repair."""
    pool = [
        Item(kind, name, minutes)
        for name, minutes in minutes_of_exercises().items()
        if minutes <= LONGEST_ROUND and bool(exercises()[name].broken) == (kind == "debugging")
    ]
    items = []
    for _ in range(min(count, len(pool))):
        item = _drawn(pool, [1.5 - known.get(item.name, 0.5) for item in pool], chance)
        pool.remove(item)
        items.append(item)
    return items


def _weight(question: Question, known: dict[str, float]) -> float:
    """Twice as often asked, twice as likely; what is known well, a third as likely as the new."""
    often = question.banks if question.counted == "question" else 0
    return (1 + often) * (1.5 - known.get(question.id, 0.5) * 1.0)


def _drawn(pool: Sequence, weights: Sequence[float], chance: random.Random):
    return chance.choices(pool, weights)[0]


@cache
def minutes_of_exercises() -> dict[str, int]:
    """How long each exercise takes, as its notebook says below the heading."""
    line = r"^## Exercise: `(\w+)`\n+.*?(\d+) minutes"
    found: dict[str, int] = {}
    for source in sorted((NOTEBOOKS / "source").glob("*.md")):
        text = source.read_text(encoding="utf-8")
        found.update((name, int(minutes)) for name, minutes in re.findall(line, text, re.M))
    return {name: minutes for name, minutes in found.items() if name in exercises()}


def _short(text: str) -> str:
    return textwrap.shorten(text, 52, placeholder=" …")


def title(item: Item) -> str:
    """The question, or the name of the function."""
    return questions()[item.name].question if item.name in questions() else item.name
