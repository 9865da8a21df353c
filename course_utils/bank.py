"""The bank of interview questions: one Markdown file each in course_utils/questions, as data."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

FOLDER = Path(__file__).parent / "questions"
SECTIONS = (
    "In 30 seconds",
    "In two minutes",
    "Deeper",
    "What must not be said",
    "Follow-ups",
    "Rubric",
    "Quiz",  # may be missing
    "Proof",  # may be missing: not every claim can be settled by code
    "Where the course shows it",
)


class Choice(NamedTuple):
    """One choice of a quiz item, and why it is right or not."""

    letter: str
    text: str
    right: bool
    reason: str


class Question(NamedTuple):
    """One question with its answer.

    follows: the article's questions it comes from (S1 to S4), or its exercises (E1, E2)
    banks: how many of 37 question banks ask it; `counted` "text": in how many its idea occurs
    sections: Markdown below each heading
    """

    id: str
    question: str
    topic: str
    level: str
    follows: tuple[str, ...]
    banks: int
    counted: str
    sources: tuple[str, ...]
    reviewed: str
    sections: dict[str, str]
    path: Path

    @property
    def rubric(self) -> list[str]:
        """The points an interviewer listens for."""
        return bullets(self.sections["Rubric"])

    @property
    def not_to_say(self) -> list[str]:
        """False claims, each in quotation marks, with the reason."""
        return bullets(self.sections["What must not be said"])

    @property
    def follow_ups(self) -> list[str]:
        """Ids of the questions that an interviewer asks next."""
        return re.findall(r"^- \[(\w+)\]", self.sections["Follow-ups"], re.M)

    @property
    def quiz(self) -> tuple[str, list[Choice]] | None:
        """A multiple-choice item, its question and its choices; None if there is none."""
        if "Quiz" not in self.sections:
            return None
        asked, _, listed = self.sections["Quiz"].partition("\n- ")
        parts = (re.fullmatch(r"(\w)\) (.+) — (Yes|No): (.+)", b) for b in bullets("- " + listed))
        choices = [Choice(p[1], p[2], p[3] == "Yes", p[4]) for p in parts if p]
        return " ".join(asked.split()), choices

    @property
    def proof(self) -> str:
        """Python that asserts the answer's claims; empty if there is none."""
        found = re.search(r"```python\n(.*?)```", self.sections.get("Proof", ""), re.S)
        return found[1] if found else ""


@cache
def questions() -> dict[str, Question]:
    """Every question by id, in the order A1, A1b, A2, …"""
    found = [read(path) for path in FOLDER.glob("*.md")]
    return {question.id: question for question in sorted(found, key=_order)}


def read(path: Path) -> Question:
    """One file of the bank. Raises ValueError that names the file and what is wrong in it."""
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(head)
    _, *parts = re.split(r"^## (.+)\n", body, flags=re.M)
    sections = {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    try:
        return Question(
            **{
                **fields,
                "follows": tuple(fields["follows"]),
                "sources": tuple(fields["sources"]),
                "reviewed": str(fields["reviewed"]),
            },
            sections=sections,
            path=path,
        )
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path.name}: {error}") from None


def bullets(text: str) -> list[str]:
    """The items of a Markdown list, each on one line."""
    items = re.split(r"^- ", text, flags=re.M)[1:]
    return [" ".join(item.split()) for item in items]


def _order(question: Question) -> tuple[str, int, str]:
    letter, number, rest = re.fullmatch(r"([A-Z])(\d+)(\w*)", question.id).groups()
    return letter, int(number), rest
