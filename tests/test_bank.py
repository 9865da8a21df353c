"""The bank of questions: complete, of one form, its links and headings there, its proofs true."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

import course_utils
from course_utils.bank import FOLDER, SECTIONS, bullets, questions

SOURCES = Path(course_utils.__file__).parents[1] / "notebooks/source"
NUMBERS = {
    "A": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 1b 4b 4c 5b",
    "B": "1 2 3 4 5 6 7 8 1b 1c 3b 5b",
    "C": "1 2 3 4 5 6 7 8 9",
    "D": "1 2 3 4 1b 2b 4b",
    "E": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 7b",
    "F": "1 2 3 4 5 6 7 8 9 4b 4c",
    "G": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 2b 2c 4b",
    "H": "1 2 3 4 5 6 7 8 9 1b 1c 1d 1e 5b",
    "I": "1 2",
    "J": "1 2",
    "K": "1 2",
    "L": "1 2",
    "S": "1 2 3 4",  # the article's four: what the usual answer gets wrong
}
IDS = [letter + number for letter, numbers in NUMBERS.items() for number in numbers.split()]
TOPICS = {
    "A": "self-attention",
    "B": "multi-head attention",
    "C": "masks",
    "D": "positions",
    "E": "architecture",
    "F": "pre-training",
    "G": "fine-tuning",
    "H": "long text",
    "I": "tokens",
    "J": "decoding",
    "K": "beyond text",
    "L": "coding rounds",
    "S": "usual answers",
}
PATHS = sorted(FOLDER.glob("*.md"), key=lambda path: path.stem)
by_path = {question.path: question for question in questions().values()}


def test_all_118_questions_and_the_four_usual_answers_are_there():
    assert len(IDS) == 118 + 4
    assert sorted(questions()) == sorted(IDS)
    assert len(PATHS) == len(IDS), "two files of one id"


def test_at_least_70_answers_prove_themselves():
    assert sum(bool(question.proof) for question in questions().values()) >= 70
    assert all(questions()[name].proof for name in ("S1", "S2", "S3", "S4") if name in questions())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_form(path):
    question = by_path[path]
    assert path.stem.partition("_")[0] == question.id
    assert question.topic == TOPICS[question.id[0]]
    assert question.level in ("junior", "senior", "staff")
    assert set(question.follows) <= {"S1", "S2", "S3", "S4", "E1", "E2"}
    assert 0 <= question.banks <= 37 and question.counted in ("question", "text")
    assert date.fromisoformat(question.reviewed) <= date.today()
    assert f"\n# {question.question}\n" in path.read_text(encoding="utf-8")
    assert [name for name in SECTIONS if name in question.sections] == list(question.sections)
    assert set(SECTIONS) - set(question.sections) <= {"Quiz", "Proof"}
    assert all(question.sections.values()), "an empty section"
    assert 25 <= len(question.sections["In 30 seconds"].split()) <= 90
    assert 100 <= len(question.sections["In two minutes"].split()) <= 400
    assert 3 <= len(question.rubric) <= 7
    assert question.not_to_say
    assert all(re.match(r"“.+?”", claim) for claim in question.not_to_say)
    assert question.proof or question.sources, "neither a proof nor a source"
    assert all(re.search(r"\d{4}", source) for source in question.sources), "a source has a year"


def test_at_least_60_quiz_items() -> None:
    items = [question.quiz for question in questions().values() if question.quiz]
    assert len(items) >= 60
    places = [choice.letter for _, choices in items for choice in choices if choice.right]
    assert all(places.count(letter) < len(items) / 2 for letter in "abcd"), "guess one letter"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_quiz(path):
    question = by_path[path]
    if question.quiz:
        asked, choices = question.quiz
        assert asked and len(choices) == question.sections["Quiz"].count("\n- ")
        assert "".join(choice.letter for choice in choices) in ("abc", "abcd")
        assert sum(choice.right for choice in choices) == 1
        longest = max(choices, key=lambda choice: len(choice.text))
        shortest = min(choices, key=lambda choice: len(choice.text))
        assert not (longest.right and len(longest.text) > 2 * len(shortest.text) + 20), (
            "the longest choice gives it away"
        )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_links(path):
    question = by_path[path]
    assert question.follow_ups and set(question.follow_ups) <= set(IDS) - {question.id}
    text = path.read_text(encoding="utf-8")
    for name, target in re.findall(r"\[(\w+)\]\(([^)]+)\)", text):
        assert (path.parent / target).resolve().exists(), target
        assert Path(target).stem == name or Path(target).stem.partition("_")[0] == name
    for shown in bullets(question.sections["Where the course shows it"]):
        notebook, heading = re.fullmatch(r"\[(\w+)\]\(.+?\): (.+)", shown).groups()
        source = (SOURCES / f"{notebook}.md").read_text(encoding="utf-8")
        assert re.search(rf"^#+ {re.escape(heading)}$", source, re.M), heading


def test_no_file_repeats_another():
    seen: dict[str, str] = {}
    for path in PATHS:
        prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
        sentences = re.split(r"(?<=[.?!:])\s+", " ".join(prose.split("---\n", 2)[2].split()))
        for sentence in {s for s in sentences if len(s) > 60 and "](" not in s}:
            assert sentence not in seen, f"{path.name} and {seen[sentence]}: {sentence}"
            seen[sentence] = path.name


PROVED = [path for path in PATHS if by_path[path].proof]


@pytest.mark.parametrize("path", PROVED, ids=lambda path: path.stem)
def test_proof(path):
    proof = by_path[path].proof
    assert "assert " in proof
    exec(compile(proof, path.name, "exec"), {"__name__": "proof"})
