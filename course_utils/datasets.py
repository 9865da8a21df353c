"""Real text with labels: short questions (TREC) and long pieces of books (Project Gutenberg)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from course_utils import assets

TEST_SIZE = 600  # questions held out; the classes keep their shares
QUESTION_CLASSES = {  # the code in the file, and what it stands for
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "human",
    "LOC": "location",
    "NUM": "number",
}
# The file's text is cut into tokens, as it was usual: `` for an opening quotation mark, and so on.
READABLE = (
    ("sister\N{REPLACEMENT CHARACTER}city", "sister city"),  # damaged before it came to us
    (r"`` ?| ?''", '"'),
    (r" (?=[?.,;:!](?!\w)|n?'\w|'$|' )", ""),
    (r"` ?", "'"),
)

PIECE_WORDS = 700
# The only authors of prose in the collection with more than one work. A work of Edgeworth is one of
# the stories of "The Parent's Assistant", each with characters of its own.
BOOKS = {
    "austen-emma.txt": ("Austen", "Emma"),
    "austen-persuasion.txt": ("Austen", "Persuasion"),
    "austen-sense.txt": ("Austen", "Sense and Sensibility"),
    "chesterton-ball.txt": ("Chesterton", "The Ball and the Cross"),
    "chesterton-brown.txt": ("Chesterton", "The Wisdom of Father Brown"),
    "chesterton-thursday.txt": ("Chesterton", "The Man Who Was Thursday"),
    "edgeworth-parents.txt": ("Edgeworth", ""),
}
EDGEWORTH_STORIES = (
    "The Orphans",
    "Lazy Lawrence",
    "The False Key",
    "Simple Susan",
    "The White Pigeon",
    "The Birthday Present",
    "Forgive and Forget",
    "Waste Not, Want Not",
    "The Mimic",
    "The Barring Out",
    "The Bracelets",
    "The Little Merchants",
    "Tarlton",
    "The Basket-Woman",
)
EDGEWORTH_PLAYS = ("Eton Montem", "Old Poz")  # between the stories, and left out: no prose
TEST_BOOKS = (
    "Persuasion",
    "The Man Who Was Thursday",
    "The Orphans",
    "The False Key",
    "Forgive and Forget",
    "The Mimic",
    "The Bracelets",
)


class LabelledTexts(NamedTuple):
    """Texts for training and for testing; a label is an index into `class_names`.

    Labels are int64 arrays, (len(train_texts),) and (len(test_texts),).
    """

    train_texts: list[str]
    train_labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    class_names: tuple[str, ...]


class Piece(NamedTuple):
    """A run of words of one book, in its order; `number` counts the book's pieces from 0."""

    text: str
    author: str
    book: str
    number: int


def load_trec(test_size: int = TEST_SIZE) -> LabelledTexts:
    """5,376 English questions and what kind of thing each asks for, in six classes.

    Source: X. Li and D. Roth, "Learning Question Classifiers" (COLING 2002). They publish 5,452
    questions to train on, as five nested sets of 1,000 to 5,452, and 500 other questions (from the
    TREC-10 competition) to test on. Our file is the five training sets, one after the other: 15,452
    lines. The 500 are not in it. So the test set here is our own, drawn from the same 5,452, and
    results on it must not be compared with published ones, which are on the 500.

    Questions that differ in case, spaces and punctuation alone count as one (no two of them have
    different classes), so no question is in both parts, though a paraphrase may be. Each class
    gives its share to the test set: the questions whose sha256 comes first, which is the same on
    every machine. The order of both parts is by sha256 too: the first n training questions are a
    random sample.

    We know of no licence of the data; the package that carries the file has the MIT licence.
    Raises assets.AssetError, which says what to do.
    """
    text = (assets.find("trec") / "question_labels.txt").read_text(encoding="utf-8")
    pairs = (line.split(" ", 1) for line in text.splitlines())
    unique = {_letters(question): (label.split(":")[0], question) for label, question in pairs}
    ordered = [unique[letters] for letters in sorted(unique, key=_sha256)]
    codes = list(QUESTION_CLASSES)
    labels = np.array([codes.index(code) for code, _ in ordered], np.int64)
    is_test = np.zeros(len(labels), bool)
    for label in range(len(codes)):
        places = np.flatnonzero(labels == label)
        is_test[places[: round(test_size * len(places) / len(labels))]] = True
    questions = [readable(question) for _, question in ordered]
    return _labelled(questions, labels, is_test, tuple(QUESTION_CLASSES.values()))


def readable(question: str) -> str:
    """The question as people write it: `What 's a fax ?` becomes `What's a fax?`."""
    for pattern, replacement in READABLE:
        question = re.sub(pattern, replacement, question)
    return question


def load_books(words: int = PIECE_WORDS) -> tuple[Piece, ...]:
    """Three authors' books in pieces of `words` words, 810 to 1,116 tokens for 700 words.

    What is left over at the end of a book is dropped. Titles, authors' names, the publisher's small
    print, chapter headings, line breaks and marks of emphasis are taken out: they would tell the
    author without reading. Characters' names stay. So test on other books than you train on, see
    `split_by_book`, or a model need only remember that Mr. Knightley is Austen's.

    Source: NLTK's selection from Project Gutenberg. The books are in the public domain in the USA;
    Jane Austen died in 1817, Maria Edgeworth in 1849, G. K. Chesterton in 1936.
    Raises assets.AssetError, which says what to do.
    """
    folder = assets.find("gutenberg")
    pieces = []
    for file, (author, title) in BOOKS.items():
        text = (folder / file).read_text(encoding="latin-1")
        for book, body in _stories(text) if author == "Edgeworth" else [(title, text)]:
            all_words = _body(body).split()
            for number in range(len(all_words) // words):
                piece = " ".join(all_words[number * words : (number + 1) * words])
                pieces.append(Piece(piece, author, book, number))
    return tuple(pieces)


def split_by_book(pieces: Iterable[Piece], test_books: Iterable[str] = TEST_BOOKS) -> LabelledTexts:
    """Who wrote it? Whole books are held out: no book is in both parts. Pieces keep their order."""
    pieces = list(pieces)
    authors = tuple(sorted({piece.author for piece in pieces}))
    labels = np.array([authors.index(piece.author) for piece in pieces], np.int64)
    is_test = np.isin([piece.book for piece in pieces], list(test_books))
    return _labelled([piece.text for piece in pieces], labels, is_test, authors)


def _labelled(
    texts: list[str], labels: np.ndarray, is_test: np.ndarray, class_names: tuple[str, ...]
) -> LabelledTexts:
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    return LabelledTexts(
        [texts[i] for i in train], labels[train], [texts[i] for i in test], labels[test],
        class_names,
    )  # fmt: skip


def _letters(question: str) -> str:
    """What makes two questions the same: letters and digits, whatever their case."""
    return re.sub(r"[^a-z0-9]", "", question.casefold())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _stories(text: str) -> list[tuple[str, str]]:
    """The stories of "The Parent's Assistant" as (title, text)."""
    titles = {title.upper(): title for title in EDGEWORTH_STORIES + EDGEWORTH_PLAYS}
    _, *parts = re.split(rf"^({'|'.join(titles)})\b.*$", text, flags=re.MULTILINE)
    bodies = zip(parts[::2], parts[1::2], strict=True)
    works = ((titles[heading], body) for heading, body in bodies)
    return [(title, body) for title, body in works if title in EDGEWORTH_STORIES]


def _body(text: str) -> str:
    """The text without what stands around it and between its chapters."""
    text = re.sub(r"^\[.*?\]\s", "", text)  # [Emma by Jane Austen 1816]
    text = text.split("End of Project Gutenberg", 1)[0]
    text = re.sub(r"^.*\bG\. K\. C\.\n", "", text, flags=re.DOTALL)  # a dedication in verse
    headings = r"^ *(CHAPTER|Chapter|VOLUME|[IVX]+\.) ?.*\n|^[^a-z\n]+$"
    return re.sub(headings, "", text, flags=re.MULTILINE).replace("_", "")
