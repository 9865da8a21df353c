"""How good is the answer coach? Measured on labelled answers, before anybody is to believe it.

    python -m experiments.coach

reads tests/coach_pairs.yaml (invented answers, labelled by meaning) and writes results/coach.json:
half a minute. The questions are split in two halves by the hash of their ids. On the tuning half
the scores are compared and the threshold is chosen; the report half is looked at once, with that.

The coach ships only if "not found" is right in at least 80 % of the cases on the report half, as
it is and also if half of its points were covered (few covered points would make it easy).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from course_utils.rehearsal.coach import NOT_FOUND, PERHAPS, RESULTS, encode, match, sentences

PAIRS = Path(__file__).parents[1] / "tests" / "coach_pairs.yaml"
NEEDED = 0.80  # precision of "not found" on the report half
WANTED = 0.85  # on the tuning half, where the threshold is chosen: it will lose a little
FEWEST = 10  # so many points must be "not found" there, or the precision means nothing
GOOD_FAITH = ("plain", "paraphrase", "short")  # kinds of answers of who tries to be right
DRAWS = 2000  # of the bootstrap
LABELS = ("covered", "denied", "missing")


class Pair(NamedTuple):
    """One point of a rubric, and one answer. scores: by method. label: one of LABELS."""

    question: str
    kind: str
    label: str
    point: str
    sentence: str
    scores: dict[str, float]

    @property
    def covered(self) -> bool:
        """Whether the answer states the point."""
        return self.label == "covered"


def answers() -> list[dict]:
    """The labelled answers, as they stand in the file."""
    return yaml.safe_load(PAIRS.read_text(encoding="utf-8"))


def tuning_half(names: Iterable[str]) -> set[str]:
    """Every second question, in the order of the hashes of their ids."""
    return set(sorted(set(names), key=lambda i: hashlib.sha256(i.encode()).hexdigest())[::2])


def pairs() -> list[Pair]:
    """All pairs with their scores; every text is encoded once."""
    labelled = answers()
    texts = {
        text for answer in labelled for text in (*sentences(answer["answer"]), *points(answer))
    }
    listed = sorted(texts)
    known = dict(zip(listed, encode(listed), strict=True))
    return [pair for answer in labelled for pair in _pairs(answer, known)]


def points(answer: dict) -> list[str]:
    """All points of the question's rubric, the covered ones first."""
    return [point for label in LABELS for point in answer[label]]


def _pairs(answer: dict, known: dict[str, np.ndarray]) -> Iterable[Pair]:
    def encoder(texts: Sequence[str]) -> np.ndarray:
        return np.stack([known[text] for text in texts])

    labels = {point: label for label in LABELS for point in answer[label]}
    said = encoder(sentences(answer["answer"]))
    for found in match(answer["answer"], points(answer), encoder):
        cosine = float((said @ known[found.point]).max())
        shared = overlap(found.point, answer["answer"])
        scores = {
            "contrast": found.score,
            "cosine": cosine,
            "words": shared,
            "contrast + words / 2": found.score + shared / 2,
        }
        label = labels[found.point]
        yield Pair(answer["question"], answer["kind"], label, found.point, found.sentence, scores)


def overlap(point: str, text: str) -> float:
    """The share of a point's longer words that stand in the text too, by their first 6 letters."""
    wanted, there = (
        {word[:6] for word in re.findall(r"\w{4,}", part.lower())} for part in (point, text)
    )
    return len(wanted & there) / max(1, len(wanted))


def area(found: Sequence[Pair], method: str) -> float:
    """How often a covered point has a higher score than one that is not: 0.5 is guessing."""
    covered = np.array([pair.scores[method] for pair in found if pair.covered])
    other = np.array([pair.scores[method] for pair in found if not pair.covered])
    return float(np.mean((covered[:, None] > other) + 0.5 * (covered[:, None] == other)))


def choose(found: Sequence[Pair]) -> float:
    """The largest threshold with a precision of "not found" of WANTED; it finds the most.

    Where no threshold reaches it, the one with the best precision.
    """
    grid = [round(-0.30 + 0.01 * i, 2) for i in range(100)]
    usable = [t for t in grid if sum(_score(pair) < t for pair in found) >= FEWEST]
    good = [t for t in usable if precision(found, t)[NOT_FOUND] >= WANTED]
    return max(good) if good else max(usable, key=lambda t: precision(found, t)[NOT_FOUND])


def _score(pair: Pair) -> float:
    return pair.scores["contrast"]


def precision(found: Sequence[Pair], threshold: float) -> dict[str, float]:
    """How often each of the two verdicts is right."""
    return {name: float(np.mean(verdicts)) for name, verdicts in _right(found, threshold).items()}


def recall(found: Sequence[Pair], threshold: float) -> dict[str, float]:
    """Of the points that are not covered, how many are "not found"; and the like."""
    right = {name: sum(verdicts) for name, verdicts in _right(found, threshold).items()}
    covered = sum(pair.covered for pair in found)
    return {
        NOT_FOUND: right[NOT_FOUND] / (len(found) - covered),
        PERHAPS: right[PERHAPS] / covered,
    }


def _right(found: Sequence[Pair], threshold: float) -> dict[str, list[bool]]:
    """For each verdict, whether it was right each time."""
    return {
        NOT_FOUND: [not pair.covered for pair in found if _score(pair) < threshold],
        PERHAPS: [pair.covered for pair in found if _score(pair) >= threshold],
    }


def at_half(found: Sequence[Pair], threshold: float) -> dict[str, float]:
    """The precision that the same recall gives if half of the points are covered."""
    seen = recall(found, threshold)
    missed, alarm = 1 - seen[PERHAPS], 1 - seen[NOT_FOUND]
    return {
        NOT_FOUND: seen[NOT_FOUND] / (seen[NOT_FOUND] + missed),
        PERHAPS: seen[PERHAPS] / (seen[PERHAPS] + alarm),
    }


def interval(found: Sequence[Pair], threshold: float) -> dict[str, list[float]]:
    """Of each precision, 95 % of a bootstrap.

    Questions are drawn, not points: those of one answer hang together.
    """
    names = sorted({pair.question for pair in found})
    drawn = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    groups = [
        _right([pair for pair in found if pair.question == name], threshold) for name in names
    ]
    edges = {}
    for verdict in (NOT_FOUND, PERHAPS):
        right, said = (
            np.array([count(group[verdict]) for group in groups])[drawn].sum(axis=1)
            for count in (sum, len)
        )
        low, high = np.percentile(right[said > 0] / said[said > 0], (2.5, 97.5))
        edges[verdict] = [_rounded(low), _rounded(high)]
    return edges


def summary(found: Sequence[Pair], threshold: float) -> dict:
    """Precision and recall of both verdicts, with intervals."""
    right, seen, half = (
        precision(found, threshold),
        recall(found, threshold),
        at_half(found, threshold),
    )
    edges = interval(found, threshold)
    verdicts = {
        name: {
            "said": len(verdicts),
            "right": sum(verdicts),
            "precision": _rounded(right[name]),
            "interval": edges[name],
            "recall": _rounded(seen[name]),
            "precision if half are covered": _rounded(half[name]),
        }
        for name, verdicts in _right(found, threshold).items()
    }
    size = {
        "questions": len({pair.question for pair in found}),
        "pairs": len(found),
        "covered": sum(pair.covered for pair in found),
    }
    return {**size, **verdicts}


def failures(found: Sequence[Pair], threshold: float) -> dict:
    """For each kind of answer and label: how many points, and how many got the wrong verdict."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    for pair in found:
        row = table.setdefault(pair.kind, {}).setdefault(pair.label, {"points": 0, "wrong": 0})
        row["points"] += 1
        row["wrong"] += (_score(pair) >= threshold) != pair.covered
    return {kind: dict(sorted(row.items())) for kind, row in sorted(table.items())}


def measure(found: Sequence[Pair]) -> dict:
    """All that the results file holds."""
    names = tuning_half(pair.question for pair in found)
    tuning = [pair for pair in found if pair.question in names]
    report = [pair for pair in found if pair.question not in names]
    threshold = choose(tuning)
    measured = summary(report, threshold)
    right = measured[NOT_FOUND]
    return {
        "threshold": threshold,
        "area on the tuning half": {m: _rounded(area(tuning, m)) for m in tuning[0].scores},
        "tuning": summary(tuning, threshold),
        "report": measured,
        "report, good faith": summary(
            [pair for pair in report if pair.kind in GOOD_FAITH], threshold
        ),
        "failures": failures(report, threshold),
        "needed": NEEDED,
        "ships": min(right["precision"], right["precision if half are covered"]) >= NEEDED,
    }


def _rounded(number: float) -> float:
    return round(float(number), 3)


def main() -> None:
    """Measure, write the results, and print them."""
    text = json.dumps(measure(pairs()), indent=1)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
