"""04: from token ids to BERT's input vectors, and from its output to one vector per sentence."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from course_utils.exercise import Call, Case, Exercise, Mistake, Probe
from course_utils.exercises.transformer_forward import layer_norm
from course_utils.inputs import norm_weights, normal, padding
from course_utils.weights import EmbeddingWeights


def embed_tokens(
    token_ids: tf.Tensor, weights: EmbeddingWeights, segment_ids: tf.Tensor | None = None
) -> tf.Tensor:
    """BERT's input: token, position and segment embeddings added, then layer norm.

    Devlin et al. 2019, figure 2.

    token_ids: (batch, length) whole numbers; positions count from 0
    segment_ids: (batch, length), 0 or 1 for the first or second sentence; None: all 0
    Returns (batch, length, d_model).
    """
    length = token_ids.shape[-1]
    if segment_ids is None:
        segment_ids = tf.zeros_like(token_ids)
    tokens = tf.gather(weights.token, token_ids)
    positions = weights.position[:length]
    segments = tf.gather(weights.segment, segment_ids)
    return layer_norm(tokens + positions + segments, weights.norm)


def sentence_embedding(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """One vector for each sentence: the mean of its real tokens, scaled to length 1.

    Sentence-BERT's mean pooling (Reimers and Gurevych 2019, section 3).
    hidden: (batch, length, d_model)
    mask:   (batch, length) boolean, True = a real token, False = padding
    Returns (batch, d_model), each row of Euclidean length 1; zeros where no token is real.
    """
    real = tf.cast(mask, hidden.dtype)[..., None]
    total = tf.reduce_sum(hidden * real, axis=1)
    count = tf.reduce_sum(real, axis=1)
    mean = tf.math.divide_no_nan(total, count)
    return tf.math.divide_no_nan(mean, tf.norm(mean, axis=-1, keepdims=True))


_SUM = "tokens + positions + segments"
EMBED_MISTAKES = (
    Mistake(
        "no_positions",
        "The position embeddings are missing, so word order is lost. Add rows 0, 1, 2, … of "
        "weights.position.",
        {"tokens + positions": "tokens"},
    ),
    Mistake(
        "no_segments",
        "The segment embeddings are missing. Even with one sentence, row 0 of the table is added.",
        {"positions + segments": "positions"},
    ),
    Mistake(
        "no_embedding_norm",
        "The layer norm after the sum is missing: layer_norm(sum, weights.norm).",
        {f"layer_norm({_SUM}, weights.norm)": _SUM},
    ),
    Mistake(
        "norm_before_sum",
        "Only the token embeddings are normalised. Add all three first, then normalise.",
        {f"layer_norm({_SUM}, weights.norm)":
         "layer_norm(tokens, weights.norm) + positions + segments"},
    ),
    Mistake(
        "positions_from_one",
        "The first token got row 1 of the position table. Positions start at 0.",
        {"weights.position[:length]": "weights.position[1 : length + 1]"},
    ),
    Mistake(
        "positions_by_token",
        "The position table was looked up with the token ids. Its rows belong to places 0, 1, 2, …",
        {"weights.position[:length]": "tf.gather(weights.position, token_ids)"},
    ),
    Mistake(
        "positions_reversed",
        "Positions count from the end. The first token gets row 0.",
        {"weights.position[:length]": "weights.position[:length][::-1]"},
    ),
    Mistake(
        "first_position_for_all",
        "Every token got the position embedding of place 0. Each place has a row of its own.",
        {"weights.position[:length]": "weights.position[:1]"},
    ),
    Mistake(
        "segment_ids_ignored",
        "`segment_ids` has no effect: every token gets row 0 of the segment table. If they are "
        "given, look up the rows that they name.",
        {"tf.gather(weights.segment, segment_ids)": "weights.segment[0]"},
    ),
    Mistake(
        "second_segment_by_default",
        "Without segment_ids every token got segment 1. A single sentence is segment 0.",
        {"tf.zeros_like(token_ids)": "tf.ones_like(token_ids)"},
    ),
    Mistake(
        "embeddings_scaled",
        "The token embeddings are multiplied by √d_model. The paper of 2017 does that (3.4); BERT "
        "does not.",
        {"tf.gather(weights.token, token_ids)":
         "tf.gather(weights.token, token_ids) * weights.token.shape[-1] ** 0.5"},
    ),
    Mistake(
        "embeddings_multiplied",
        "Tokens and positions are multiplied. Add them.",
        {"tokens + positions": "tokens * positions"},
    ),
)  # fmt: skip

_MEAN = "mean = tf.math.divide_no_nan(total, count)"
_LENGTH = "tf.norm(mean, axis=-1, keepdims=True)"
SENTENCE_MISTAKES = (
    Mistake(
        "cls_pooling",
        "This is the vector of the first token, [CLS]. all-MiniLM was trained with the mean of all "
        "real tokens.",
        {_MEAN: "mean = hidden[:, 0]"},
    ),
    Mistake(
        "last_token_pooling",
        "This is the vector of the last place, which is padding in shorter sentences. Take the "
        "mean of the real tokens.",
        {_MEAN: "mean = hidden[:, -1]"},
    ),
    Mistake(
        "max_pooling",
        "This is the maximum over the tokens. Take their mean.",
        {_MEAN:
         "mean = tf.reduce_max(tf.where(mask[..., None], hidden, hidden.dtype.min), axis=1)"},
    ),
    *(
        Mistake(
            "padding_included",
            "Padding is summed too, so the vector of a sentence depends on its neighbours in the "
            "batch. Multiply `hidden` by the mask before the sum.",
            change,
        )
        # The two differ for a sentence without tokens.
        for change in (
            {"hidden * real": "hidden"},
            {"tf.cast(mask, hidden.dtype)": "tf.cast(mask | True, hidden.dtype)"},
        )
    ),
    Mistake(
        "mask_inverted",
        "The padding is averaged and the real tokens are left out. True means a real token.",
        {"tf.cast(mask, hidden.dtype)": "tf.cast(~mask, hidden.dtype)"},
    ),
    Mistake(
        "first_mask_for_all",
        "Every sentence is pooled with the mask of the first one. Each has a row of its own.",
        {"tf.cast(mask, hidden.dtype)": "tf.cast(mask[:1] & (mask | True), hidden.dtype)"},
    ),
    Mistake(
        "not_normalised",
        "The vectors do not have length 1, so a dot product is not a cosine. Divide by the length.",
        {f"tf.math.divide_no_nan(mean, {_LENGTH})": "mean"},
    ),
    Mistake(
        "normalised_over_batch",
        "Each feature was divided by its length over the batch (axis 0). Each sentence must have "
        "length 1: the last axis.",
        {_LENGTH: "tf.norm(mean, axis=0, keepdims=True)"},
    ),
    Mistake(
        "normalised_over_everything",
        "One length was taken for the whole batch. Each sentence has its own: axis=-1, "
        "keepdims=True.",
        {_LENGTH: "tf.norm(mean)"},
    ),
    Mistake(
        "divided_by_squared_length",
        "The vectors were divided by the square of their length: the root is missing.",
        {_LENGTH: "tf.reduce_sum(tf.square(mean), axis=-1, keepdims=True)"},
    ),
    Mistake(
        "absolute_sum_is_one",
        "The absolute values sum to 1 (length in the 1-norm). Use the Euclidean length.",
        {_LENGTH: "tf.norm(mean, ord=1, axis=-1, keepdims=True)"},
    ),
    Mistake(
        "tokens_normalised_first",
        "Each token was scaled to length 1 before the mean. Take the mean first, then scale.",
        {"hidden * real": "tf.math.l2_normalize(hidden, -1) * real"},
    ),
    Mistake(
        "empty_sentence_nan",
        "A sentence without real tokens gives NaN: 0 / 0. The docstring asks for zeros "
        "(tf.math.divide_no_nan, or a tf.maximum under the division).",
        {_MEAN: "mean = total / count", "tf.math.divide_no_nan(mean, ": "tf.divide(mean, "},
    ),
)  # fmt: skip

_TABLES = EmbeddingWeights(
    token=normal(20, 8, seed=61),
    position=normal(30, 8, seed=62),
    segment=normal(2, 8, seed=63),
    norm=norm_weights(64, width=8),
)
_IDS = np.array([[3, 17, 5, 5, 9], [1, 0, 19, 2, 4]], np.int32)
EMBED_CASES = (
    Case("two sequences", Call(_IDS, _TABLES)),
    Case(
        "two sentences in each",
        Call(_IDS, _TABLES, segment_ids=np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]], np.int32)),
    ),
    Case("one token", Call(np.array([[7]], np.int32), _TABLES)),
)
_HIDDEN = normal(3, 5, 8, seed=65) + 0.3
SENTENCE_CASES = (
    Case("sentences of 5, 2 and 4 tokens", Call(_HIDDEN, padding((5, 2, 4), 5)[:, 0, 0])),
    Case("one token each", Call(_HIDDEN[:, :1], np.ones((3, 1), bool))),
    Case("a sentence without tokens", Call(_HIDDEN[:2, :3], padding((3, 0), 3)[:, 0, 0])),
    Case("tokens left out in the middle", Call(_HIDDEN[:1], np.array([[1, 0, 1, 0, 1]], bool))),
)


def _sentences(attempt, hidden: np.ndarray = _HIDDEN) -> np.ndarray:
    return np.asarray(Call(hidden, SENTENCE_CASES[0].run.args[1])(attempt))


def _uses_padding(attempt) -> bool:
    other = np.where(SENTENCE_CASES[0].run.args[1][..., None], _HIDDEN, _HIDDEN + 1)
    return abs(_sentences(attempt) - _sentences(attempt, other)).max() > 1e-3


EXERCISES = (
    Exercise(
        embed_tokens,
        EMBED_MISTAKES,
        hints=(
            "Three tables, three lookups. Which one is looked up by the token, and what picks the "
            "row in the other two?",
            "tf.gather(table, ids) picks rows. The positions 0, 1, 2, … are the first rows of "
            "their table; they broadcast over the batch.",
            "Add the three, then call layer_norm with weights.norm. Without segment_ids every "
            "token is in segment 0.",
            "layer_norm(tf.gather(weights.token, token_ids) + weights.position[:length] + "
            "tf.gather(weights.segment, segment_ids), weights.norm).",
        ),
        cases=EMBED_CASES,
        compare_with="solution('embed_tokens'), and figure 2 of the BERT paper.",
        returns=("embeddings",),
        inherits=("layer_norm",),
        not_inherited=("no_epsilon",),
        symptoms=(
            Probe(
                "the order of the tokens makes no difference.",
                lambda f: abs(
                    np.asarray(Call(_IDS[:, ::-1].copy(), _TABLES)(f))[:, ::-1]
                    - np.asarray(Call(_IDS, _TABLES)(f))
                ).max()
                < 1e-5,
            ),
        ),
    ),
    Exercise(
        sentence_embedding,
        SENTENCE_MISTAKES,
        hints=(
            "Which tokens may count in the mean, and what must the sum be divided by?",
            "Turn the mask into numbers of shape (batch, length, 1): multiplied with `hidden`, "
            "they set padding to 0.",
            "After the mean, divide each row by its Euclidean length (tf.norm, axis=-1, "
            "keepdims=True). What happens if no token is real? tf.math.divide_no_nan helps.",
            "real = tf.cast(mask, hidden.dtype)[..., None]; mean = divide_no_nan(sum of hidden * "
            "real, sum of real), both over axis 1; return divide_no_nan(mean, tf.norm(mean, "
            "axis=-1, keepdims=True)).",
        ),
        cases=SENTENCE_CASES,
        compare_with="solution('sentence_embedding'), and section 3 of Sentence-BERT.",
        returns=("vectors",),
        symptoms=(
            Probe(
                "the vectors do not have length 1.",
                lambda f: (abs(np.linalg.norm(_sentences(f), axis=-1) - 1) > 1e-3).any(),
            ),
            Probe("the vectors change when the padding changes.", _uses_padding),
        ),
    ),
)
