"""Multiple choice over the question bank, as text: ask(), then answer("A4", "b")."""

from __future__ import annotations

from collections.abc import Iterable

from course_utils.bank import Question
from course_utils.history import Event, history
from course_utils.rehearsal.cards import chosen, wrapped


def ask(topic: str | None = None) -> None:
    """Print the next item: what was not answered yet, then what was answered wrong last time."""
    items = with_quiz(topic)
    if not items:
        print("No quiz item has that topic. Without a topic, ask() goes through all of them.")
        return
    item = next_item(items, history().events("quiz"))
    if item is None:
        print(f"All {len(items)} items are answered right. To repeat one: answer('A4', 'b')")
        return
    print(shown(item))
    print(f'\nanswer("{item.id}", "a")')


def answer(name: str, letter: str) -> None:
    """Record the choice for an item; print whether it is right, and the reason for every choice."""
    item = next((question for question in with_quiz() if question.id == name), None)
    if item is None:
        print(f"There is no quiz item {name!r}. ask() prints one with its id.")
        return
    letters = [choice.letter for choice in item.quiz[1]]
    if letter not in letters:
        print(f"{name} has the choices {', '.join(letters)}.")
        return
    print(record(item, letter))


def record(item: Question, letter: str) -> str:
    """Add an answer to the history; the verdict and the reason for every choice, as text."""
    _, choices = item.quiz
    right = next(choice.letter for choice in choices if choice.right)
    history().add("quiz", card=item.id, choice=letter, right=letter == right)
    verdict = "Right." if letter == right else f"No: {right} is right."
    reasons = (f"{'✅' if c.right else '❌'} {c.letter}) {c.text} — {c.reason}" for c in choices)
    return "\n".join([verdict, *(wrapped(reason, "   ") for reason in reasons)])


def with_quiz(topic: str | None = None) -> list[Question]:
    """The questions that have a quiz item, those first that are asked most often."""
    items = [question for question in chosen(topic) if question.quiz]
    return sorted(items, key=lambda item: (item.counted != "question", -item.banks))


def next_item(items: Iterable[Question], events: Iterable[Event]) -> Question | None:
    """The first item without an answer, else the first whose last answer was wrong."""
    items, last = list(items), {event["card"]: event["right"] for event in events}
    unanswered = (item for item in items if item.id not in last)
    wrong = (item for item in items if not last.get(item.id, True))
    return next(unanswered, next(wrong, None))


def shown(item: Question) -> str:
    """An item as text, without a sign of which choice is right."""
    asked, choices = item.quiz
    lines = [wrapped(f"{item.id} · {asked}")]
    return "\n".join([*lines, *(wrapped(f"{c.letter}) {c.text}", "   ") for c in choices)])
