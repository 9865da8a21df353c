"""The experiments of notebook 05: how much does fine-tuning gain, and what does it cost?

    python -m experiments.fine_tuning

runs all of them and writes results/fine_tuning.json, which the notebook shows: about half an
hour on 2 cores. With the notebook's switch RUN_LIVE they are run there, through the same code.

Every training is plain TensorFlow: all-MiniLM with a new head, Adam, the gradient clipped to norm
1, a learning rate that goes up for half of the steps and down for the other half. The table of
word embeddings is never trained: it is half of the model, and most of its rows never occur.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from course_utils import check  # noqa: F401  it starts TensorFlow, silently
from course_utils.assets import find
from course_utils.datasets import load_trec
from course_utils.exercise import variant

import numpy as np  # isort: skip
import tensorflow as tf  # isort: skip
import tf_keras  # isort: skip
import transformers  # isort: skip

RESULTS = Path(__file__).parent / "results" / "fine_tuning.json"
LENGTH, BATCH = 20, 16  # tokens (19 of 20 questions have no more), and texts in a step
LABELS = (50, 200, 1000)
EPOCHS = {50: 6, 200: 3, 1000: 2}  # fewer rows are read more often
RATE = 2e-4
RATES = (2e-5, 2e-4, 2e-3, 2e-2)
RATE_ROWS, RATE_EPOCHS = 160, 2
SEEDS = (0, 1, 2)
LONG = 1000  # so many rows, and only two seeds: the training takes a minute

# What the model could do before: find the sentence that says the same in other words.
SAME_MEANING = (
    ("The train was late again.", "We waited on the platform for an hour."),
    ("She plays the violin beautifully.", "Her bow glides over the strings like a dream."),
    ("He lost his wallet on the bus.", "Somebody stole his purse on the way to work."),
    ("The soup needs more salt.", "This broth tastes of nothing."),
    ("Our team won the match.", "We beat the other side three to one."),
    ("It will rain tomorrow.", "The forecast says showers for the next day."),
    ("The company went bankrupt.", "The firm could not pay its debts."),
    ("My computer is very slow.", "The laptop takes ages to start a program."),
    ("The baby cried all night.", "The infant kept its parents awake."),
    ("They got married in June.", "The wedding took place in early summer."),
    ("The doctor gave me some pills.", "I was prescribed a medicine."),
    ("The museum is closed on Mondays.", "You cannot see the exhibition at the start of the week."),
    ("He learned to swim as a child.", "When he was small he took lessons at the pool."),
    ("Petrol has become expensive.", "Filling up the car costs a fortune now."),
    ("The dog ran after the cat.", "A puppy chased a kitten across the yard."),
    ("I forgot my password.", "I can no longer log in."),
    ("The bridge was closed for repairs.", "Nobody could cross the river while they fixed it."),
    ("The flowers need water.", "The roses in the pot have dried out."),
    ("She moved to another city.", "She has left town for good."),
    ("The film made me cry.", "I was in tears at the end of the movie."),
    ("The volcano erupted last year.", "Lava poured down the mountain twelve months ago."),
    ("The judge sent him to prison.", "The court sentenced him to two years behind bars."),
    ("He eats no meat.", "He has been a vegetarian since school."),
    ("The shop sells old books.", "You find second-hand novels in this store."),
)


class Run(NamedTuple):
    """One training. accuracy is on the held-out questions; search is the share of SAME_MEANING
    found afterwards, 1 at best; losses are those of the steps, if it was trained step by step."""

    method: str
    rows: int
    seed: int
    rate: float
    accuracy: float
    macro_f1: float
    search: float | None
    losses: tuple[float, ...]


class Questions(NamedTuple):
    """Token ids (rows, LENGTH), mask of the same shape (1 = a real token) and labels (rows,)."""

    token_ids: np.ndarray
    mask: np.ndarray
    labels: np.ndarray


# ---- data ----


@cache
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(find("minilm"))


def tokenize(texts: Sequence[str], labels: Iterable[int] = ()) -> Questions:
    """Cut or padded to LENGTH tokens."""
    made = tokenizer()(
        list(texts), padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np"
    )
    return Questions(made["input_ids"], made["attention_mask"], np.array(labels, np.int64))


def rows_for(seed: int, rows: int) -> np.ndarray:
    """Which training questions; each seed draws others."""
    return np.random.default_rng(seed).permutation(len(load_trec().train_texts))[:rows]


# ---- the model ----


class Model:
    """MiniLM with a head. Built and traced once; each training starts from the same weights."""

    def __init__(self) -> None:
        transformers.logging.set_verbosity_error()
        self.keras = transformers.TFAutoModelForSequenceClassification.from_pretrained(
            find("minilm"), num_labels=len(load_trec().class_names)
        )
        self.start = [weight.numpy() for weight in self.keras.weights]
        self.steps: dict[str, Callable] = {}

    def restore(self) -> None:
        """Back to the weights of the file."""
        for weight, value in zip(self.keras.weights, self.start, strict=True):
            weight.assign(value)

    def train(
        self,
        data: Questions,
        seed: int,
        rate: float,
        epochs: int,
        layers: int = 6,
        told: Callable[[float], None] = lambda share: None,
    ) -> list[float]:
        """Train the head and the upper `layers` layers from the start; the loss of each step."""
        tf_keras.utils.set_random_seed(seed)
        self.restore()
        self._fresh_projection(seed)
        step, optimizer = self._step(layers)
        for variable in optimizer.variables():
            variable.assign(tf.zeros_like(variable))
        order = np.random.default_rng(seed)
        batches = [
            rows
            for _ in range(epochs)
            for rows in np.array_split(order.permutation(len(data.labels)),
                                       max(1, len(data.labels) // BATCH))
        ]  # fmt: skip
        losses = []
        for number, rows in enumerate(batches):
            optimizer.learning_rate.assign(schedule(number, len(batches), rate))
            losses.append(float(step(*(tf.constant(part[rows]) for part in data))))
            told((number + 1) / len(batches))
        return losses

    def _fresh_projection(self, seed: int) -> None:
        kernel, bias = self.keras.classifier.weights
        kernel.assign(np.random.default_rng(seed).normal(0, 0.02, kernel.shape))
        bias.assign(tf.zeros_like(bias))

    def _step(self, layers: int) -> tuple[Callable, tf_keras.optimizers.legacy.Adam]:
        if layers not in self.steps:
            self.steps[layers] = self._traced(layers)
        return self.steps[layers]

    def _traced(self, layers: int) -> tuple[Callable, tf_keras.optimizers.legacy.Adam]:
        bert = self.keras.bert
        parts = [*bert.encoder.layer[6 - layers :], bert.pooler, self.keras.classifier]
        variables = [variable for part in parts for variable in part.trainable_variables]
        # The older Adam is one operation for each tensor: three times as fast on a CPU.
        optimizer = tf_keras.optimizers.legacy.Adam(global_clipnorm=1.0)

        @tf.function(input_signature=[tf.TensorSpec((None, LENGTH), tf.int64)] * 2
                     + [tf.TensorSpec((None,), tf.int64)], autograph=False)  # fmt: skip
        def step(token_ids, mask, labels):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                scores = self.keras(token_ids, attention_mask=mask, training=True).logits
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
                )
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return step, optimizer

    @cache  # noqa: B019  there is one model
    def _forward(self) -> Callable:
        @tf.function(
            input_signature=[tf.TensorSpec((None, LENGTH), tf.int64)] * 2, autograph=False
        )
        def forward(token_ids, mask):
            hidden = self.keras.bert(token_ids, attention_mask=mask)
            return hidden.last_hidden_state, self.keras.classifier(hidden.pooler_output)

        return forward

    def run(self, data: Questions, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """The sentence vectors (rows, 384), of length 1, and the scores (rows, classes)."""
        pairs = [
            self._forward()(*(tf.constant(part[i : i + batch]) for part in data[:2]))
            for i in range(0, len(data.mask), batch)
        ]
        hidden, scores = (np.concatenate(part) for part in zip(*pairs, strict=True))
        vectors = variant("sentence_embedding")(tf.constant(hidden), tf.cast(data.mask, tf.bool))
        return np.asarray(vectors), scores

    def search(self) -> float:
        """The share of sentences whose nearest neighbour on the other side says the same."""
        one, other = (self.run(tokenize(side))[0] for side in zip(*SAME_MEANING, strict=True))
        right = np.arange(len(one))
        cosines = one @ other.T
        return float(np.mean([cosines.argmax(1) == right, cosines.argmax(0) == right]))


@cache
def _model() -> Model:
    return Model()


def schedule(step: int, steps: int, peak: float) -> float:
    """ktrain's one-cycle: from a tenth of the peak up, from the middle on down to a thousandth."""
    return variant("learning_rate")(step, steps, steps // 2, peak, peak / 10, peak / 1000)


# ---- the experiments ----


def fine_tuned(
    model: Model, rows: int, seed: int, rate: float, epochs: int, layers: int = 6, **options
) -> Run:
    """Train on `rows` questions and measure."""
    data, chosen = load_trec(), rows_for(seed, rows)
    train = tokenize([data.train_texts[i] for i in chosen], data.train_labels[chosen])
    losses = model.train(train, seed, rate, epochs, layers, **options)
    scores = model.run(tokenize(data.test_texts))[1]
    name = "fine-tuned" if layers == 6 else f"upper {layers} layers"
    return measured(name, rows, seed, rate, scores.argmax(1), model.search(), losses)


def measured(
    name: str, rows: int, seed: int, rate: float, predictions: np.ndarray,
    search: float | None = None, losses: Sequence[float] = (),
) -> Run:  # fmt: skip
    labels = load_trec().test_labels
    f1 = float(variant("macro_f1")(labels, predictions, len(load_trec().class_names)))
    right = float(np.mean(predictions == labels))
    shown = tuple(round(loss, 3) for loss in losses)
    return Run(name, rows, seed, rate, round(right, 4), round(f1, 4), search, shown)


def word_counts(rows: int, seed: int) -> Run:
    """TF-IDF of words and pairs of words, with logistic regression: no Transformer at all."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    data, chosen = load_trec(), rows_for(seed, rows)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    pipeline = make_pipeline(words, LogisticRegression(C=30, max_iter=2000))
    pipeline.fit([data.train_texts[i] for i in chosen], data.train_labels[chosen])
    return measured("word counts", rows, seed, 0.0, pipeline.predict(data.test_texts))


def frozen(vectors: tuple[np.ndarray, np.ndarray], rows: int, seed: int) -> Run:
    """Logistic regression on the sentence vectors of the untouched encoder."""
    from sklearn.linear_model import LogisticRegression

    data, chosen = load_trec(), rows_for(seed, rows)
    head = LogisticRegression(C=30, max_iter=2000)
    head.fit(vectors[0][chosen], data.train_labels[chosen])
    return measured("frozen encoder", rows, seed, 0.0, head.predict(vectors[1]))


def few_labels(
    labels: Sequence[int] = LABELS, seeds: Sequence[int] = SEEDS, told: Callable = print
) -> list[Run]:
    """Three ways to use 50, 200 and 1,000 labelled questions, and the upper half alone."""
    model, data, runs = _model(), load_trec(), []
    model.restore()
    vectors = tuple(model.run(tokenize(texts))[0] for texts in (data.train_texts, data.test_texts))
    for seed in seeds:
        for rows in (*labels, len(data.train_texts)):
            runs += [word_counts(rows, seed), frozen(vectors, rows, seed)]
        for rows in labels:
            for layers in (6, 3) if rows >= LONG else (6,):
                if rows < LONG or seed in seeds[:2]:
                    runs.append(fine_tuned(model, rows, seed, RATE, EPOCHS.get(rows, 2), layers))
                    told(_line(runs[-1]))
    return runs


def rates(
    values: Sequence[float] = RATES, seeds: Sequence[int] = SEEDS[:2], told: Callable = print
) -> list[Run]:
    """The same training with learning rates from far too small to far too large."""
    model, runs = _model(), []
    for seed in seeds:
        for rate in values:
            runs.append(fine_tuned(model, RATE_ROWS, seed, rate, RATE_EPOCHS))
            told(_line(runs[-1]))
    return runs


def live() -> dict[str, list[Run]]:
    """All of it, here and now: about half an hour, told run by run."""
    return {"few_labels": few_labels(), "rates": rates()}


def _line(run: Run) -> str:
    return f"{run.method}, {run.rows} rows, seed {run.seed}, rate {run.rate:g}: {run.accuracy:.3f}"


def stored() -> dict[str, list[Run]]:
    """The results that come with the course."""
    return {
        name: [Run(**{**run, "losses": tuple(run["losses"])}) for run in _content()[name]]
        for name in ("few_labels", "rates")
    }


def before() -> float:
    """The old skill of the untouched model: the share of SAME_MEANING that it finds."""
    return _content()["search before"]


def _content() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def main() -> None:
    start = time.perf_counter()
    content = {
        "made by": "python -m experiments.fine_tuning",
        "packages": {p.__name__: p.__version__ for p in (tf, tf_keras, transformers, np)},
        "length": LENGTH, "batch": BATCH, "test questions": len(load_trec().test_labels),
        "search before": _model().search(),
    }  # fmt: skip
    for part in (rates, few_labels):
        content[part.__name__] = [run._asdict() for run in part()]
        content["minutes"] = round((time.perf_counter() - start) / 60, 1)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(_compact(json.dumps(content, indent=1)) + "\n", encoding="utf-8")


def _compact(text: str) -> str:
    """Lists of numbers on one line each."""
    import re

    return re.sub(r"\[([\s\d.,e-]*)\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)


if __name__ == "__main__":
    main()
