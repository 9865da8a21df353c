"""Flash cards over the question bank, repeated when FSRS-6 expects them to be nearly forgotten."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from fsrs import Card, Rating, Scheduler

from course_utils.bank import Question, questions
from course_utils.history import Event, history

WIDTH = 88
SCHEDULER = Scheduler(enable_fuzzing=False)  # the same intervals in every run


def draw(topic: str | None = None, level: str | None = None, at_least: int = 0) -> None:
    """Print the next card: first what is due, then what is new and most often asked.

    topic: such as "masks"; level: "junior", "senior" or "staff"; at_least: how many of 37 banks.
    """
    cards = chosen(topic, level, at_least)
    if not cards:
        topics = ", ".join(dict.fromkeys(q.topic for q in questions().values()))
        print(f"No card fits. Topics: {topics}. Levels: junior, senior, staff.")
        return
    card, due = next_card(cards, history().events("card"), datetime.now(UTC))
    if not due:
        print("Nothing is due and nothing is new here; this one comes next.")
    print(face(card))
    print(f'Answer aloud or in writing. Then: reveal("{card.id}")')


def reveal(name: str) -> None:
    """Print the answer of a card, the points to tick, and what must not be said."""
    card = _find(name)
    if card is not None:
        print(back(card))
        print(f'Tick what you said: tick("{card.id}", said=[1, 2], wrong=[])')


def back(card: Question) -> str:
    """The back of a card: a short answer, the rubric and the false claims, numbered."""
    lines = [wrapped(card.sections["In 30 seconds"]), "\nAn interviewer listens for:"]
    lines += [wrapped(f"{number}. {point}", "   ") for number, point in enumerate(card.rubric, 1)]
    lines += ["\nMust not be said:"]
    lines += [wrapped(f"{number}. {text}", "   ") for number, text in enumerate(card.not_to_say, 1)]
    return "\n".join([*lines, ""])


def tick(name: str, said: Sequence[int] = (), wrong: Sequence[int] = ()) -> None:
    """Record which points of the rubric you made and which false claims; print what follows."""
    card = _find(name)
    if card is not None:
        print(unusable(card, said, wrong) or record(card, set(said), set(wrong)))


def record(card: Question, said: set[int], wrong: set[int]) -> str:
    """Add a review to the history; the rating, and when the card comes back, as text."""
    share, now = len(said) / len(card.rubric), datetime.now(UTC)
    given = rating(share, len(wrong))
    history().add(
        "card", now, card=card.id, rating=given.name, share=round(share, 2), wrong=sorted(wrong)
    )
    wait = schedule(history().events("card"))[card.id].due - now
    false = f", {count(wrong, 'false claim')}" if wrong else ""
    lines = [
        f"{len(said)} of {count(card.rubric, 'point')}{false}: {given.name.lower()}.",
        f"This card comes back {_when(wait)}.",
    ]
    if given is not Rating.Easy:
        shown = re.match(r"- \[(\w+)\]\(.+?\): (.+)", card.sections["Where the course shows it"])
        lines += [
            f"To read again: {shown[1]}, “{shown[2]}”,",
            f"   and course_utils/questions/{card.path.name}",
        ]
    return "\n".join(lines)


def rating(share: float, false_claims: int) -> Rating:
    """How well a card was known: from the share of its points, and the false claims made."""
    if false_claims or share < 0.4:
        return Rating.Again
    if share < 0.7:
        return Rating.Hard
    return Rating.Easy if share == 1 else Rating.Good


def schedule(reviews: Iterable[Event]) -> dict[str, Card]:
    """The state of every card that was reviewed, by id: its due time above all."""
    cards: dict[str, Card] = {}
    for event in reviews:
        moment = datetime.fromisoformat(event["at"]).astimezone(UTC)
        card = cards.get(event["card"]) or Card(card_id=len(cards) + 1, due=moment)
        given = Rating[event["rating"]]
        cards[event["card"]], _ = SCHEDULER.review_card(card, given, moment)
    return cards


def chosen(topic: str | None = None, level: str | None = None, at_least: int = 0) -> list[Question]:
    """The questions of a topic and a level that at least so many banks ask."""
    return [
        question
        for question in questions().values()
        if topic in (None, question.topic)
        and level in (None, question.level)
        and question.banks >= at_least
    ]


def next_card(
    cards: Sequence[Question], reviews: Iterable[Event], now: datetime
) -> tuple[Question, bool]:
    """The card to show, and whether it is due or new (else it is only the next to come)."""
    known = schedule(reviews)
    due = [card for card in cards if card.id in known and known[card.id].due <= now]
    if due:
        return min(due, key=lambda card: known[card.id].due), True
    new = [card for card in cards if card.id not in known]
    if new:
        return min(new, key=_often_asked_first), True
    return min(cards, key=lambda card: known[card.id].due), False


def _often_asked_first(card: Question) -> tuple[bool, int]:
    """Question lines count more than a mention somewhere in a text."""
    return card.counted != "question", -card.banks


def face(card: Question) -> str:
    """The front of a card."""
    asked = f"asked by {card.banks} of 37 question banks"
    if card.counted == "text":
        asked = "a follow-up"
    return f"{card.id} · {card.topic} · {card.level} · {asked}\n{wrapped(card.question)}"


def wrapped(text: str, indent: str = "") -> str:
    """Text in lines that fit a cell; paragraphs and lists keep their form."""
    blocks = text.split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(block.split()), WIDTH, subsequent_indent=indent) for block in blocks
    )


def count(things: Sequence | set, word: str) -> str:
    """One point, two points: the number and the word."""
    return f"{len(things)} {word}{'s' if len(things) != 1 else ''}"


def _find(name: str) -> Question | None:
    if name in questions():
        return questions()[name]
    print(f"There is no question {name!r}. Ids look like A4 or H1b; draw() shows one.")
    return None


def unusable(card: Question, said: Sequence[int], wrong: Sequence[int]) -> str | None:
    for numbers, items, word in ((said, card.rubric, "said"), (wrong, card.not_to_say, "wrong")):
        if not set(numbers) <= set(range(1, len(items) + 1)):
            return f"{card.id}: `{word}` takes numbers from 1 to {len(items)}, as in reveal."
    return None


def _when(wait: timedelta) -> str:
    minutes = round(wait.total_seconds() / 60)
    if minutes < 60:
        return f"in {minutes} minute{'s' if minutes != 1 else ''}"
    if minutes < 36 * 60:
        return f"in {round(minutes / 60)} hours"
    return f"in {round(minutes / 1440)} days"
