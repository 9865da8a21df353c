"""Where one is weak: by topic, by mistake made in exercises, with what to read again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from course_utils.bank import questions
from course_utils.exercise import exercises, find
from course_utils.history import Event, history
from course_utils.notebooks import usual_name
from course_utils.rehearsal.cards import count


class Topic(NamedTuple):
    """How well one topic is known. known: mean share of points, of what was seen; None if nothing.

    weakest: ids of the questions known worst.
    """

    name: str
    seen: int
    questions: int
    known: float | None
    weakest: tuple[str, ...]


class MistakeMade(NamedTuple):
    """A mistake that check has named, how often, and whether the exercise has passed since."""

    name: str
    exercise: str
    times: int
    mended: bool


def weak_spots(picture: bool = True) -> None:
    """Print what is known worst, by topic and by mistake, with what to read again, and draw it."""
    events = history().events()
    topics, mistakes = by_topic(events), by_mistake(events)
    if not any(topic.seen for topic in topics) and not mistakes:
        print("Nothing has been practised yet: draw() shows a card, ask() a quiz item.")
        return
    print(f"{'topic':<22}{'seen':>9}{'known':>8}   read again")
    for topic in topics:
        known = "–" if topic.known is None else f"{topic.known:.0%}"
        seen = f"{topic.seen} of {topic.questions}"
        print(f"{topic.name:<22}{seen:>9}{known:>8}   {', '.join(map(_place, topic.weakest))}")
    if mistakes:
        print("\nmistakes that check has named")
    for made in mistakes:
        state = "mended" if made.mended else f"open: {usual_name(find(made.exercise).module)}"
        print(f"   {made.name} in {made.exercise}, {count(range(made.times), 'time')}, {state}")
    if picture:
        from course_utils import plots

        plots.known_by_topic({topic.name: topic.known for topic in topics})


def by_topic(events: Iterable[Event]) -> list[Topic]:
    """Every topic of the bank, the least known first and the unseen last."""
    shares = last_shares(events)
    groups = defaultdict(list)
    for question in questions().values():
        groups[question.topic].append(question.id)
    topics = [_topic(name, ids, shares) for name, ids in groups.items()]
    return sorted(topics, key=lambda topic: (topic.known is None, topic.known or 0.0))


def _topic(name: str, ids: list[str], shares: dict[str, float]) -> Topic:
    seen = [i for i in ids if i in shares]
    known = sum(shares[i] for i in seen) / len(seen) if seen else None
    weakest = sorted((i for i in seen if shares[i] < 1), key=lambda i: shares[i])
    return Topic(name, len(seen), len(ids), known, tuple(weakest[:3]))


def last_shares(events: Iterable[Event]) -> dict[str, float]:
    """How much of each question or exercise was known the last time, from 0 to 1, by name.

    A false claim counts as nothing known: an interviewer remembers it.
    """
    shares: dict[str, float] = {}
    for event in events:
        if event["kind"] == "card":
            shares[event["card"]] = 0.0 if event["wrong"] else event["share"]
        elif event["kind"] == "quiz":
            shares[event["card"]] = float(event["right"])
        elif event["kind"] == "check":
            shares[event["exercise"]] = float(event["state"] == "passed")
    return shares


def by_mistake(events: Iterable[Event]) -> list[MistakeMade]:
    """The mistakes that check has named, what is still open first, then the most frequent."""
    checks = [event for event in events if event["kind"] == "check"]
    times = Counter((name, e["exercise"]) for e in checks for name in e["mistakes"])
    last = {event["exercise"]: event["state"] for event in checks}
    made = [
        MistakeMade(name, exercise, number, last[exercise] == "passed")
        for (name, exercise), number in times.items()
        if exercise in exercises()
    ]
    return sorted(made, key=lambda mistake: (mistake.mended, -mistake.times, mistake.name))


def _place(name: str) -> str:
    """Where the course shows what a question asks: its id and the notebook's number."""
    shown = questions()[name].sections["Where the course shows it"]
    return f"{name} ({shown.split('[', 1)[1][:2]})"
