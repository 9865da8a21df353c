"""The answer coach: which points of a rubric a written answer perhaps covers. A hint, no grade.

Every sentence of the answer and every point becomes one vector of the course's own MiniLM. What
the hint is worth was measured on labelled answers (experiments/coach.py): its threshold and its
precision are read from there.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import check  # noqa: F401  it starts TensorFlow, silently
from course_utils.assets import AssetError
from course_utils.bank import Question, questions
from course_utils.exercises.pretrained_weights import embed_tokens, sentence_embedding
from course_utils.exercises.transformer_forward import transformer_forward
from course_utils.pretrained import load_minilm
from course_utils.rehearsal.cards import WIDTH, wrapped

RESULTS = Path(__file__).parents[2] / "experiments" / "results" / "coach.json"
BATCH = 64
NOT_FOUND, PERHAPS = "not found", "perhaps covered"
Encoder = Callable[[Sequence[str]], np.ndarray]


class Found(NamedTuple):
    """How well one point is matched. sentence: the one of the answer that matches best."""

    point: str
    score: float
    sentence: str


def coach(name: str, text: str) -> None:
    """Print for each point of a question's rubric whether an answer perhaps covers it.

    name: the question's id, such as "A4"; text: your answer, in sentences
    """
    if name not in questions():
        print(f"There is no question {name!r}. Ids look like A4 or H1b; draw() shows one.")
    elif not sentences(text):
        print(f'Write your answer first: coach("{name}", "The scores are …")')
    else:
        print(advice(questions()[name], text))


def advice(question: Question, text: str) -> str:
    """One line for each point, the sentence that perhaps covers it, and what a hint is worth."""
    try:
        measured, found = results(), match(text, question.rubric)
    except (AssetError, OSError) as error:
        return f"The coach cannot help here. {error}"
    lines = []
    for number, (point, score, sentence) in enumerate(found, 1):
        near = score >= measured["threshold"]
        lines.append(wrapped(f"{number}. {PERHAPS if near else NOT_FOUND}: {point}", "   "))
        if near:
            lines.append(f"   by “{textwrap.shorten(sentence, WIDTH - 8, placeholder=' …')}”")
    return "\n".join([*lines, wrapped(worth(measured["report"]))])


def worth(report: dict) -> str:
    """What the hint is worth, from the measured numbers."""
    right = {name: f"{report[name]['precision']:.0%}" for name in (NOT_FOUND, PERHAPS)}
    return (
        f"A hint, not a grade: measured on {report['pairs']} labelled points, “{NOT_FOUND}” was "
        f"right in {right[NOT_FOUND]} of the cases and “{PERHAPS}” in {right[PERHAPS]}. The coach "
        "hears what a sentence speaks of, not whether it is true, and it misses a “not”."
    )


def match(text: str, rubric: Sequence[str], encoder: Encoder | None = None) -> list[Found]:
    """Each point with its best sentence.

    The score is the cosine of point and sentence, less the mean cosine of the same sentence with
    the other points: what all points share is the topic, and tells nothing about one of them.
    """
    said = sentences(text)
    vectors = (encoder or encode)([*said, *rubric])
    cosines = vectors[len(said) :] @ vectors[: len(said)].T  # (points, sentences)
    others = (cosines.sum(axis=0) - cosines) / (len(rubric) - 1)
    scores = cosines - others
    best = scores.argmax(axis=1)
    return [
        Found(point, float(row[i]), said[i])
        for point, row, i in zip(rubric, scores, best, strict=True)
    ]


def sentences(text: str) -> list[str]:
    """The sentences of a text that have a letter or a digit in them."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if re.search(r"\w", part)]


def encode(texts: Sequence[str]) -> np.ndarray:
    """Texts as vectors (len(texts), 384) of length 1, by the encoder of notebook 04."""
    minilm = load_minilm()
    sizes = (len(minilm.blocks), minilm.key_size, minilm.value_size, minilm.num_heads)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding in each batch
    vectors = np.zeros((len(texts), minilm.embeddings.token.shape[-1]), np.float32)
    for start in range(0, len(texts), BATCH):
        rows = order[start : start + BATCH]
        token_ids, mask = minilm.tokenize([texts[i] for i in rows])
        embedded = embed_tokens(token_ids, minilm.embeddings)
        keys = mask[:, None, None, :]
        hidden = transformer_forward(embedded, *sizes, 0.0, weights=minilm.blocks, mask=keys)
        vectors[rows] = sentence_embedding(hidden, mask)
    return vectors


@cache
def results() -> dict:
    """What was measured: the threshold, and how often the coach was right and wrong."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))
