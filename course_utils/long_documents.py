"""Long documents as frozen vectors: each window of a text through MiniLM once, and what follows.

Notebook 06 and experiments/long_text.py share this. Encoding takes minutes, so its result is
shipped (experiments/results/long_text.npz); everything after it takes seconds and is run live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tokenizers import Tokenizer

from course_utils.datasets import load_books
from course_utils.exercises.long_text import (
    combine_windows,
    hierarchical_pooling,
    split_into_windows,
)
from course_utils.exercises.pretrained_weights import embed_tokens, sentence_embedding
from course_utils.exercises.transformer_forward import transformer_forward
from course_utils.pretrained import load_minilm

RESULTS = Path(__file__).parents[1] / "experiments" / "results"
WINDOW = 128  # what this model was trained with; [CLS] and [SEP] are among them
CONTENT = WINDOW - 2
LIMIT = 512
WIDTH = 384
PER_BOOK = 20  # pieces taken of each book
WORKS = 6  # of the author whose works are short stories, this many count as one book

# One sentence tells the class of a constructed text; the rest is a novel of 1815.
COOKING = """
Chop the onions and fry them gently in butter until they are golden.
The dough has to rise for two hours before it goes into the oven.
Season the soup with salt, pepper and a little grated nutmeg.
She whisked the egg whites with sugar until they formed stiff peaks.
Boil the potatoes in their skins and peel them while they are hot.
Add the garlic and tomatoes and let the sauce simmer for an hour.
He sprinkled parmesan over the pasta and put basil leaves on top.
Roast the chicken with rosemary and lemon until the skin is crisp.
Melt the chocolate over hot water and stir in the cream.
Marinate the beef in red wine, bay leaves and carrots overnight.
The pancakes were served with maple syrup and fresh blueberries.
Knead flour, yeast and warm water into a smooth, elastic dough.
Grill the salmon for four minutes on each side with olive oil.
The recipe asks for three eggs, a cup of milk and some vanilla.
Drain the rice, then toss it with peas, ginger and soy sauce.
Spread the cake with apricot jam and cover it with almond icing.
Blend the chickpeas with sesame paste, lemon juice and cumin.
Slice the cucumbers thinly and dress the salad with vinegar.
The stew of lamb, beans and thyme had been cooking since noon.
Bake the biscuits on a greased tray until the edges are brown.
"""
RAILWAY = """
The express train left platform nine with a delay of ten minutes.
Two locomotives pulled the freight wagons over the mountain pass.
The signalman set the points and let the night train through.
Passengers must change at the junction for the branch line.
The conductor punched our tickets soon after the first station.
A new tunnel shortens the railway journey to the coast by an hour.
The sleeping car was coupled to the end of the train at midnight.
Workers replaced the rails and sleepers between the two stations.
The steam engine took on water and coal beside the engine shed.
Trains on the suburban line run every quarter of an hour.
The driver braked hard because a signal ahead was showing red.
High speed trains need straight tracks and their own stations.
Our carriage was derailed at a level crossing, but nobody was hurt.
The timetable shows no trains on this route after eleven.
Diesel railcars replaced the last steam engines on the branch line.
The stationmaster blew his whistle and the doors of the train closed.
The railway company electrified the main line to the north.
Commuters crowded the platform while the loudspeaker announced delays.
The dining car serves travellers between the capital and the border.
A goods train was shunted into the siding to let the express pass.
"""
PLACES = ("head", "middle", "tail", "across a cut")
TRAINING_SENTENCES, NUM_WINDOWS, TEST_FILLERS = 12, 8, 3


class Embedded(NamedTuple):
    """Texts as vectors of length 1.

    windows: (texts, max_windows, 384), windows side by side; zeros where mask is False
    mask: (texts, max_windows) boolean, True = a real window
    overlapping, overlapping_mask: the same for windows of which each shares half with the next;
        only the script has them, (texts, 0, 384) is shipped
    tail, head_and_tail: (texts, 384), one window each: the last 126 tokens; the first and last 63
    first_510: (texts, 384), one pass over as many tokens as the model takes
    labels: (texts,) whole numbers; groups: (texts,) the book, or where the sentence stands
    """

    windows: np.ndarray
    mask: np.ndarray
    overlapping: np.ndarray
    overlapping_mask: np.ndarray
    tail: np.ndarray
    head_and_tail: np.ndarray
    first_510: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


# ---- encode ----


@cache
def _tokenizer() -> Tokenizer:
    """The model's own, without the limit of 512 that it usually has here."""
    tokenizer = Tokenizer.from_file(str(load_minilm().folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokenize(text: str) -> list[int]:
    """The ids of the whole text, however long, without [CLS] and [SEP]."""
    return _tokenizer().encode(text, add_special_tokens=False).ids


@tf.function
def _forward(token_ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    minilm = load_minilm()
    sizes = (minilm.key_size, minilm.value_size, minilm.num_heads)
    hidden = embed_tokens(token_ids, minilm.embeddings)
    hidden = transformer_forward(
        hidden, len(minilm.blocks), *sizes, 0.0,
        weights=minilm.blocks, mask=mask[:, None, None, :],
    )  # fmt: skip
    return sentence_embedding(hidden, mask)


def encode_windows(windows: np.ndarray, mask: np.ndarray, batch: int = 32) -> np.ndarray:
    """The vectors (num_windows, 384) of windows (num_windows, window), in batches of one size."""
    windows, mask = np.asarray(windows, np.int32), np.asarray(mask)
    batch = min(batch, len(windows))
    vectors = []
    for start in range(0, len(windows), batch):
        start = min(start, len(windows) - batch)  # the last batch is full too: no other shape
        rows = slice(start, start + batch)
        vectors.append((start, _forward(windows[rows], mask[rows]).numpy()))
    out = np.zeros((len(windows), WIDTH), np.float32)
    for start, part in vectors:
        out[start : start + batch] = part
    return out


class Encoder:
    """Collects rows of token ids, then encodes each different row once."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, ...], int] = {}

    def add(self, token_ids: Sequence[int]) -> int:
        """The number under which this row's vector will be found."""
        return self.rows.setdefault(tuple(token_ids), len(self.rows))

    def vectors(self) -> np.ndarray:
        """(rows, 384) in the order in which they were added."""
        out = np.zeros((len(self.rows), WIDTH), np.float32)
        for window, batch in ((WINDOW, 32), (LIMIT, 8)):
            low = 0 if window == WINDOW else CONTENT + 1
            chosen = [row for row in self.rows if low <= len(row) <= window - 2]
            if chosen:
                made = [split_into_windows(list(row), window, window - 2) for row in chosen]
                ids, masks = (np.concatenate([pair[i] for pair in made]) for i in (0, 1))
                out[[self.rows[row] for row in chosen]] = encode_windows(ids, masks, batch)
        return out


def embed(
    texts: Iterable[Sequence[int]], labels: Sequence, groups: Sequence, overlap: bool = False
) -> Embedded:
    """Encode texts of token ids in every way that a strategy needs.

    Without `overlap` the overlapping windows are left out: (texts, 0, 384).
    """
    encoder = Encoder()
    texts = [list(text) for text in texts]
    plain = [_pieces(text, CONTENT, encoder) for text in texts]
    overlapping = [_pieces(text, CONTENT // 2, encoder) if overlap else [] for text in texts]
    half = CONTENT // 2
    tail = [encoder.add(text[-CONTENT:]) for text in texts]
    ends = [encoder.add(text[:half] + text[half:][-half:]) for text in texts]
    long = [encoder.add(text[: LIMIT - 2]) for text in texts]
    vectors = encoder.vectors()
    return Embedded(
        *_padded(plain, vectors), *_padded(overlapping, vectors),
        vectors[tail], vectors[ends], vectors[long], np.array(labels), np.array(groups),
    )  # fmt: skip


def _pieces(text: list[int], stride: int, encoder: Encoder) -> list[int]:
    windows, mask = (np.asarray(part) for part in split_into_windows(text, WINDOW, stride))
    return [encoder.add(row[real][1:-1].tolist()) for row, real in zip(windows, mask, strict=True)]


def _padded(numbers: list[list[int]], vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask = np.arange(max(map(len, numbers))) < np.array(list(map(len, numbers)))[:, None]
    out = np.zeros((*mask.shape, WIDTH), np.float32)
    out[mask] = vectors[[number for row in numbers for number in row]]
    return out, mask


# ---- the two sets of texts ----


def books() -> tuple[list[list[int]], list[str], list[str]]:
    """Pieces of 700 words as token ids, their authors, and their books.

    20 of each book, evenly spread. Edgeworth's works are short stories: six at a time are a book.
    """
    shelves: dict[tuple[str, str], list[str]] = {}
    works: list[str] = []
    for piece in load_books():
        book = piece.book
        if piece.author == "Edgeworth":
            works += [book] if book not in works else []
            book = f"stories {works.index(book) % 3 + 1}"
        shelves.setdefault((piece.author, book), []).append(piece.text)
    chosen = [
        (text, *shelf)
        for shelf, texts in shelves.items()
        for text in (texts[i] for i in np.linspace(0, len(texts) - 1, PER_BOOK).astype(int))
    ]
    return [tokenize(text) for text, _, _ in chosen], *([c[i] for c in chosen] for i in (1, 2))


def constructed() -> tuple[list[list[int]], list[int], list[str]]:
    """Novel texts of 8 windows with one foreign sentence: ids, labels, where the sentence stands.

    Label 1: the sentence is about railways; 0: about cooking. In the training texts ("train") it
    stands in each of the windows in turn. The test texts are other parts of the novel with other
    sentences: at the head, in the middle, at the tail, or across the cut of two windows.
    """
    stream = [i for p in load_books() if p.book == "Emma" for i in tokenize(p.text)]
    size = NUM_WINDOWS * CONTENT
    fillers = [stream[start:][:size] for start in range(0, len(stream) - size, 2 * size)]
    rng = np.random.default_rng(0)
    made = []
    for label, sentences in enumerate((COOKING, RAILWAY)):
        for number, sentence in enumerate(sentences.strip().splitlines()):
            evidence = tokenize(sentence)
            if number < TRAINING_SENTENCES:
                for window in range(NUM_WINDOWS):
                    at = window * CONTENT + int(rng.integers(5, CONTENT - 5 - len(evidence)))
                    made.append((_insert(fillers[number], evidence, at), label, "train"))
                continue
            for turn in range(TEST_FILLERS):
                filler = fillers[number + turn * (len(fillers) - 20) // TEST_FILLERS]
                for place, at in _places(len(evidence)).items():
                    made.append((_insert(filler, evidence, at), label, place))
    return tuple(map(list, zip(*made, strict=True)))


def _places(length: int) -> dict[str, int]:
    """Where a sentence of this many tokens starts."""
    cut = 5 * CONTENT
    starts = (30, cut + 40, NUM_WINDOWS * CONTENT - 40, cut - length // 2)
    return dict(zip(PLACES, starts, strict=True))


def _insert(filler: Sequence[int], evidence: Sequence[int], at: int) -> list[int]:
    return [*filler[:at], *evidence, *filler[at + len(evidence) :]]


# ---- shipped vectors ----


def save(path: Path, sets: Mapping[str, Embedded]) -> None:
    """Each different vector once, as whole numbers from −127 to 127: a quarter of float32."""
    arrays: dict[str, np.ndarray] = {}
    for name, embedded in sets.items():
        stacked = [getattr(embedded, field).reshape(-1, WIDTH) for field in _VECTORS]
        unique, index = np.unique(np.concatenate(stacked), axis=0, return_inverse=True)
        scale = np.maximum(abs(unique).max(axis=1, keepdims=True), 1e-9) / 127
        arrays[f"{name}.vectors"] = np.round(unique / scale).astype(np.int8)
        arrays[f"{name}.scale"] = scale.astype(np.float32)
        parts = np.split(index.ravel(), np.cumsum([len(part) for part in stacked])[:-1])
        for field, part in zip(_VECTORS, parts, strict=True):
            shape = getattr(embedded, field).shape[:-1]
            arrays[f"{name}.{field}"] = part.reshape(shape).astype(np.int16)
        for field in ("mask", "overlapping_mask", "labels", "groups"):
            arrays[f"{name}.{field}"] = getattr(embedded, field)
    np.savez_compressed(path, **arrays)


_VECTORS = ("windows", "overlapping", "tail", "head_and_tail", "first_510")


def load(name: str, path: Path | None = None) -> Embedded:
    """The shipped vectors of the set "books" or "constructed"."""
    with np.load(path or RESULTS / "long_text.npz") as file:
        vectors = file[f"{name}.vectors"] * file[f"{name}.scale"]
        fields = {field: vectors[file[f"{name}.{field}"]] for field in _VECTORS}
        others = {f: file[f"{name}.{f}"] for f in Embedded._fields if f not in fields}
    return Embedded(**fields, **others)


# ---- classify ----


def fit_linear(
    vectors: np.ndarray, labels: np.ndarray, num_classes: int, steps: int = 150
) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression by gradient descent with momentum, from zeros: nothing is random.

    vectors: (rows, width). The result makes probabilities (..., num_classes) of (..., width).
    """
    mean = vectors.mean(axis=0)
    centred, wanted = vectors - mean, np.eye(num_classes, dtype=np.float32)[labels]
    kernel = np.zeros((vectors.shape[1], num_classes), np.float32)
    bias = np.zeros(num_classes, np.float32)
    speed, speed_of_bias = np.zeros_like(kernel), np.zeros_like(bias)
    for _ in range(steps):
        error = (_softmax(centred @ kernel + bias) - wanted) / len(labels)
        speed = 0.9 * speed + centred.T @ error + 1e-4 * kernel
        speed_of_bias = 0.9 * speed_of_bias + error.sum(axis=0)
        kernel, bias = kernel - 10 * speed, bias - speed_of_bias
    return lambda others: _softmax((others - mean) @ kernel + bias)


def _softmax(scores: np.ndarray) -> np.ndarray:
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def fit_pooling(
    windows: np.ndarray, mask: np.ndarray, labels: np.ndarray, num_classes: int, steps: int = 100
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], np.ndarray]:
    """Learn the query of `hierarchical_pooling` and a linear layer behind it, together (Adam).

    Returns a function from windows and mask to probabilities, and the query.
    """
    mean = windows[mask].mean(axis=0)
    query = tf.Variable(tf.zeros(windows.shape[-1]))
    kernel = tf.Variable(tf.zeros((windows.shape[-1], num_classes)))
    bias = tf.Variable(tf.zeros(num_classes))
    variables = (query, kernel, bias)
    moments = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]

    def scores(some_windows: tf.Tensor, some_mask: tf.Tensor) -> tf.Tensor:
        pooled, _ = hierarchical_pooling(some_windows - mean, some_mask, query)
        return tf.matmul(pooled, kernel) + bias

    @tf.function
    def step(inputs: tf.Tensor, real: tf.Tensor, wanted: tf.Tensor, number: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, scores(inputs, real))
            loss = tf.reduce_mean(losses) + 1e-4 * tf.nn.l2_loss(kernel)
        slopes = tape.gradient(loss, variables)
        for variable, (first, second), slope in zip(variables, moments, slopes, strict=True):
            rate = 1.0 if variable is query else 0.2
            first.assign(0.9 * first + 0.1 * slope)
            second.assign(0.99 * second + 0.01 * slope**2)
            size = tf.sqrt(second / (1 - 0.99**number)) + 1e-8
            variable.assign_sub(rate * first / (1 - 0.9**number) / size)

    inputs, real, wanted = map(tf.constant, (windows, mask, labels))
    for number in range(1, steps + 1):
        step(inputs, real, wanted, tf.constant(float(number)))

    def predict(some_windows: np.ndarray, some_mask: np.ndarray) -> np.ndarray:
        return tf.nn.softmax(scores(tf.constant(some_windows), tf.constant(some_mask))).numpy()

    return predict, query.numpy()


def held_out(groups: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Which texts are for testing: of each class one whole group (book), drawn by the seed."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.unique(groups[labels == label])) for label in np.unique(labels)]
    return np.isin(groups, chosen)


def interval(accuracies: Sequence[float]) -> tuple[float, float]:
    """Mean and half of the 95 % confidence interval over seeds (Student's t for 10 of them).

    The seeds share their texts, so it is rather too small than too large.
    """
    values = np.asarray(accuracies)
    student = {2: 12.71, 3: 4.30, 5: 2.78, 10: 2.262}.get(len(values), 2.0)
    return float(values.mean()), float(student * values.std(ddof=1) / len(values) ** 0.5)


def compare_strategies(embedded: Embedded, test: np.ndarray) -> dict[str, np.ndarray]:
    """Which test texts each strategy gets right: trained on the other texts, frozen vectors."""
    e, train, num_classes = embedded, ~test, int(embedded.labels.max()) + 1
    right: dict[str, np.ndarray] = {}

    def note(name: str, probabilities: np.ndarray) -> None:
        right[name] = np.asarray(probabilities).argmax(axis=-1) == e.labels[test]

    for name, vectors in one_vector(e).items():
        note(name, fit_linear(vectors[train], e.labels[train], num_classes)(vectors[test]))
    kinds = {"": (e.windows, e.mask), ", overlap": (e.overlapping, e.overlapping_mask)}
    for suffix, (windows, mask) in kinds.items():
        if not windows.shape[1]:
            continue
        classify = fit_windows(windows[train], mask[train], e.labels[train], num_classes)
        predictions = tf.constant(classify(windows[test]))
        for how in ("mean", "max", "vote"):
            note(f"windows, {how}{suffix}", combine_windows(predictions, mask[test], how))
        predict, _ = fit_pooling(windows[train], mask[train], e.labels[train], num_classes)
        note(f"attention{suffix}", predict(windows[test], mask[test]))
    return right


def one_vector(embedded: Embedded) -> dict[str, np.ndarray]:
    """The strategies that make one vector of a text without learning anything."""
    return {
        "head": embedded.windows[:, 0],
        "tail": embedded.tail,
        "head and tail": embedded.head_and_tail,
        "first 510": embedded.first_510,
        "mean of vectors": hierarchical_pooling(embedded.windows, embedded.mask)[0].numpy(),
    }


def find_sentence(embedded: Embedded) -> dict[str, np.ndarray]:
    """As compare_strategies, for the constructed texts: is there a sentence about railways?

    Here single windows are labelled: 1 if they hold the sentence, else 0. All strategies but the
    last use this one classifier of windows, and say yes above one half.
    """
    test = embedded.groups != "train"
    e, labels = embedded, embedded.labels[test]
    classify = window_classifier(e)
    right = {n: classify(v[test]).argmax(-1) == labels for n, v in one_vector(e).items()}
    predictions, mask = tf.constant(classify(e.windows[test])), e.mask[test]
    for how in ("mean", "max", "vote"):
        yes = np.asarray(combine_windows(predictions, mask, how))[:, 1] > 0.5
        right[f"windows, {how}"] = yes == labels
    predict, _ = fit_pooling(e.windows[~test], e.mask[~test], e.labels[~test], 2, steps=200)
    right["attention"] = predict(e.windows[test], mask).argmax(-1) == labels
    return right


def window_classifier(embedded: Embedded) -> Callable[[np.ndarray], np.ndarray]:
    """Does this window hold a sentence about railways? From windows that were labelled singly."""
    train = embedded.groups == "train"
    windows, count = embedded.windows[train], int(train.sum())
    holds = np.arange(count) % NUM_WINDOWS  # the order in which `constructed` makes them
    labels = np.zeros(windows.shape[:2], int)
    labels[np.arange(count), holds] = embedded.labels[train]
    return fit_linear(windows.reshape(-1, WIDTH), labels.ravel(), 2, steps=400)


def fit_windows(
    windows: np.ndarray, mask: np.ndarray, labels: np.ndarray, num_classes: int
) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier of single windows: each is trained with the label of its text."""
    labels = np.broadcast_to(labels[:, None], mask.shape)
    return fit_linear(windows[mask], labels[mask], num_classes)
