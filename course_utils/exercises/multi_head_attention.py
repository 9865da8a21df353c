"""02: split the features into heads, merge them again, and self-attention as a whole."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from course_utils.exercise import Call, Case, Exercise, Mistake, Probe
from course_utils.exercises.self_attention import FLOAT16_REMARK, scaled_dot_product_attention
from course_utils.influence import influence
from course_utils.inputs import (
    D_MODEL,
    DROPOUT_FACTS,
    LENGTH,
    NUM_HEADS,
    SIZES,
    Twice,
    attention_weights,
    breaks_in_float16,
    causal,
    dropout_facts,
    linear_layer,
    normal,
    padding,
)
from course_utils.weights import AttentionWeights, Linear, linear, random_attention_weights


def split_heads(inputs: tf.Tensor, num_heads: int) -> tf.Tensor:
    """Give each head its own slice of every token's features.

    inputs: (batch, length, num_heads * size). Head h owns the features h * size to (h + 1) * size.
    Returns (batch, num_heads, length, size).
    """
    batch, length, width = inputs.shape
    heads = tf.reshape(inputs, (batch, length, num_heads, width // num_heads))
    return tf.transpose(heads, (0, 2, 1, 3))


def merge_heads(heads: tf.Tensor) -> tf.Tensor:
    """Put the heads of each token side by side again: the inverse of split_heads.

    heads: (batch, num_heads, length, size). Returns (batch, length, num_heads * size).
    """
    batch, num_heads, length, size = heads.shape
    tokens = tf.transpose(heads, (0, 2, 1, 3))
    return tf.reshape(tokens, (batch, length, num_heads * size))


def self_attention(
    inputs: tf.Tensor,
    key_size: int,
    value_size: int,
    num_heads: int,
    dropout_rate: float,
    *,
    weights: AttentionWeights | None = None,
    mask: tf.Tensor | None = None,
    training: bool = False,
) -> tf.Tensor:
    """Multi-head self-attention ("Attention Is All You Need", 3.2.2).

    inputs: (batch, length, d_model)
    key_size, value_size: width of one head's queries and keys, and of its values
    dropout_rate: share of attention weights dropped, only if `training`
    weights: the four projections; None makes fresh ones with random_attention_weights(
             d_model, key_size, value_size, num_heads)
    mask: boolean, broadcastable to (batch, num_heads, length, length); True = may look.
          A token that may look nowhere gets zeros from attention, before the output projection.
    Returns (batch, length, d_model).
    """
    d_model = inputs.shape[-1]
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)
    query = split_heads(linear(inputs, weights.query), num_heads)
    key = split_heads(linear(inputs, weights.key), num_heads)
    value = split_heads(linear(inputs, weights.value), num_heads)
    rate = dropout_rate if training else 0.0
    heads, _ = scaled_dot_product_attention(query, key, value, mask, rate)
    return linear(merge_heads(heads), weights.output)


SPLIT_MISTAKES = (
    Mistake(
        "split_without_transpose",
        "The numbers were cut up in the order in which they lie in memory, by one reshape to "
        "(batch, num_heads, length, size). So head 0 holds all features of the first tokens, "
        "not a slice of every token. First reshape to (batch, length, num_heads, size), then "
        "swap the two middle axes.",
        {"(batch, length, num_heads, width // num_heads)":
         "(batch, num_heads, length, width // num_heads)",
         "tf.transpose(heads, (0, 2, 1, 3))": "heads"},
    ),
    Mistake(
        "heads_axis_not_moved",
        "The features are split, but the heads still stand after the tokens: (batch, length, "
        "num_heads, size). Attention works on the last two axes, so swap the middle ones.",
        {"tf.transpose(heads, (0, 2, 1, 3))": "heads"},
    ),
    Mistake(
        "heads_interleaved",
        "Head h got every num_heads-th feature (h, h + num_heads, …). Give it a run of "
        "neighbours, h * size to (h + 1) * size: num_heads comes before size in the reshape.",
        {"(batch, length, num_heads, width // num_heads)":
         "(batch, length, width // num_heads, num_heads)", "(0, 2, 1, 3)": "(0, 3, 1, 2)"},
    ),
    Mistake(
        "heads_before_batch",
        "The heads became the first axis, before the batch. Keep the batch first: (batch, "
        "num_heads, length, size).",
        {"(0, 2, 1, 3)": "(2, 0, 1, 3)"},
    ),
    Mistake(
        "head_matrix_transposed",
        "Length and size are swapped: each head is (size, length). It must be (length, size).",
        {"(0, 2, 1, 3)": "(0, 2, 3, 1)"},
    ),
    Mistake(
        "heads_reversed",
        "The heads come in reverse order: head 0 must own the first features.",
        {"tf.transpose(heads,": "tf.transpose(heads[:, :, ::-1],"},
    ),
    Mistake(
        "heads_joined_with_batch",
        "Batch and heads were joined into one axis. Keep four axes, or a mask for each sequence "
        "meets the wrong head.",
        {"return tf.transpose(heads, (0, 2, 1, 3))":
         "return tf.reshape(tf.transpose(heads, (0, 2, 1, 3)), (-1, length, width // num_heads))"},
    ),
    Mistake(
        "heads_copied",
        "Every head got the same slice, the first one. Head h owns the features h * size to "
        "(h + 1) * size.",
        {"return tf.transpose(heads,": "return tf.transpose(heads[:, :, :1] + 0 * heads,"},
    ),
)  # fmt: skip

MERGE_MISTAKES = (
    Mistake(
        "merge_without_transpose",
        "The heads were reshaped without moving the token axis back in front of them, so one "
        "output token mixes rows of different tokens. Transpose (0, 2, 1, 3) first.",
        {"tf.transpose(heads, (0, 2, 1, 3))": "heads"},
    ),
    Mistake(
        "merge_interleaved",
        "The features of the heads are shuffled together (feature 0 of all heads first). Heads "
        "stand side by side: all features of head 0, then all of head 1.",
        {"(0, 2, 1, 3)": "(0, 2, 3, 1)"},
    ),
    Mistake(
        "heads_averaged",
        "The heads were averaged. Put them side by side; W_O mixes them later.",
        {"return tf.reshape(tokens, (batch, length, num_heads * size))":
         "return tf.reduce_mean(tokens, axis=2)"},
    ),
    Mistake(
        "heads_summed",
        "The heads were added up. Put them side by side; W_O mixes them later.",
        {"return tf.reshape(tokens, (batch, length, num_heads * size))":
         "return tf.reduce_sum(tokens, axis=2)"},
    ),
    Mistake(
        "heads_along_length",
        "The heads were put one after the other along the length, as if they were more tokens. "
        "They belong side by side on the last axis.",
        {"return tf.reshape(tokens, (batch, length, num_heads * size))":
         "return tf.reshape(heads, (batch, num_heads * length, size))"},
    ),
    Mistake(
        "merge_reversed",
        "The heads are merged in reverse order: head 0 comes first.",
        {"tf.transpose(heads,": "tf.transpose(heads[:, ::-1],"},
    ),
)  # fmt: skip

SELF_ATTENTION_MISTAKES = (
    Mistake(
        "scale_by_d_model",
        "The scores are divided by √d_model, the width of the inputs. One head's q·k adds up "
        "key_size products: divide by √key_size.",
        {"scaled_dot_product_attention(query,":
         "scaled_dot_product_attention(query * (key_size / d_model) ** 0.5,"},
    ),
    Mistake(
        "one_big_head",
        "This is one head of width num_heads · key_size: there is one row of attention weights for "
        "each token, not one for each head. Split queries, keys and values with split_heads.",
        {"linear(inputs, weights.query), num_heads)": "linear(inputs, weights.query), 1)",
         "linear(inputs, weights.key), num_heads)": "linear(inputs, weights.key), 1)",
         "linear(inputs, weights.value), num_heads)": "linear(inputs, weights.value), 1)"},
    ),
    Mistake(
        "no_output_projection",
        "The heads are put side by side but never mixed: the output projection is missing. Apply "
        "weights.output at the end.",
        {"return linear(merge_heads(heads), weights.output)": "return merge_heads(heads)"},
    ),
    Mistake(
        "output_bias_unused",
        "The bias of the output projection is not added (`linear` does it).",
        {"linear(merge_heads(heads), weights.output)":
         "tf.matmul(merge_heads(heads), weights.output.kernel)"},
    ),
    Mistake(
        "query_bias_unused",
        "The bias of the query projection is not added (`linear` does it).",
        {"linear(inputs, weights.query)": "tf.matmul(inputs, weights.query.kernel)"},
    ),
    Mistake(
        "value_bias_unused",
        "The bias of the value projection is not added (`linear` does it).",
        {"linear(inputs, weights.value)": "tf.matmul(inputs, weights.value.kernel)"},
    ),
    Mistake(
        "biases_unused",
        "The projections' biases are not added: use kernel and bias, as `linear` does.",
        {"linear(inputs, weights.query)": "tf.matmul(inputs, weights.query.kernel)",
         "linear(inputs, weights.key)": "tf.matmul(inputs, weights.key.kernel)",
         "linear(inputs, weights.value)": "tf.matmul(inputs, weights.value.kernel)",
         "linear(merge_heads(heads), weights.output)":
         "tf.matmul(merge_heads(heads), weights.output.kernel)"},
    ),
    Mistake(
        "query_projection_for_key",
        "The keys are made with the query projection, so token i scores j as j scores i. Use "
        "weights.key.",
        {"weights.key)": "weights.query)"},
    ),
    Mistake(
        "key_projection_for_query",
        "The queries are made with the key projection. Use weights.query.",
        {"weights.query)": "weights.key)"},
    ),
    Mistake(
        "query_and_key_swapped",
        "The scores are transposed, that of (i, j) stands at (j, i): queries and keys are swapped. "
        "The query comes first.",
        {"attention(query, key,": "attention(key, query,"},
    ),
    Mistake(
        "mask_transposed",
        "The mask's last two axes are swapped: it hides queries where it should hide keys.",
        {"key, value, mask,": "key, value, None if mask is None else "
         "tf.linalg.matrix_transpose(mask if mask.shape[-2] > 1 else "
         "tf.repeat(mask, mask.shape[-1], -2)),"},
    ),
    Mistake(
        "first_mask_for_all",
        "Every sequence of the batch is masked with the first one's mask. Keep the mask's batch "
        "axis.",
        {"key, value, mask,": "key, value, None if mask is None else mask[:1],"},
    ),
    Mistake(
        "always_causal",
        "The future is hidden although no mask asks for it. Hide only what `mask` hides.",
        {"key, value, mask,": "key, value, tf.linalg.band_part(tf.ones((inputs.shape[1],) * 2, "
         "tf.bool), -1, 0) & (True if mask is None else mask),"},
    ),
    Mistake(
        "dropout_always_on",
        "Two calls with the same inputs differ although `training` is False: dropout must act "
        "only while training.",
        {"dropout_rate if training else 0.0": "dropout_rate"},
    ),
    Mistake(
        "inputs_added",
        "The inputs are added to the output. Leave that out here: the residual connection belongs "
        "to encoder_block.",
        {"return linear(merge_heads(heads), weights.output)":
         "return inputs + linear(merge_heads(heads), weights.output)"},
    ),
    Mistake(
        "kernels_transposed_reading",
        "The queries are dealt out to the heads one feature at a time, unlike the keys. Split them "
        "with split_heads: head h owns the columns h * key_size to (h + 1) * key_size.",
        {"query = split_heads(linear(inputs, weights.query), num_heads)":
         "query = tf.transpose(tf.reshape(linear(inputs, weights.query), "
         "(inputs.shape[0], inputs.shape[1], key_size, num_heads)), (0, 3, 1, 2))"},
    ),
)  # fmt: skip

_INPUTS = normal(2, LENGTH, D_MODEL, seed=11)
_WEIGHTS = attention_weights(12)
# About one key in five is hidden, in another place for each head, and no row is empty.
_HEADS_MASK = np.random.default_rng(13).random((2, NUM_HEADS, LENGTH, LENGTH)) < 0.8
_HEADS_MASK |= np.eye(LENGTH, dtype=bool)
_EMPTY_ROW_MASK = np.broadcast_to(causal(LENGTH, LENGTH), (2, 1, LENGTH, LENGTH)).copy()
_EMPTY_ROW_MASK[0, 0, 1] = False


class _Dropout(Call):
    """One head whose output is its attention weights, twice side by side."""

    returns = DROPOUT_FACTS

    def __call__(self, attempt):
        length = self.args[0].shape[1]
        without, first, second = (
            np.asarray(Call(*self.args, 2 * length, 1, rate, **self.kwargs)(attempt))
            for rate in (0.0, 0.25, 0.25)
        )
        return dropout_facts(without, first, second, rate=0.25)


def _attention_seen_in_output(length: int) -> AttentionWeights:
    """Inputs are unit vectors, values the identity twice: the output is [weights, weights]."""
    identity = np.eye(length, dtype=np.float32)
    twice = np.concatenate([identity, identity], axis=1)
    return AttentionWeights(
        query=linear_layer(2 * length, 6, seed=14, bias=False),
        key=linear_layer(2 * length, 6, seed=15, bias=False),
        value=Linear(np.concatenate([twice, 0 * twice]), None),
        output=Linear(np.eye(2 * length, dtype=np.float32), None),
    )


def _call(inputs: np.ndarray = _INPUTS, weights: AttentionWeights = _WEIGHTS, **mask) -> Call:
    return Call(inputs, *SIZES, 0.0, weights=weights, **mask)


_LONG = 40
SPLIT_CASES = (
    Case("three heads", Call(normal(2, 5, 12, seed=16), 3)),
    Case("one head", Call(normal(2, 4, 6, seed=17), 1)),
    Case("heads of size 1", Call(normal(1, 3, 4, seed=18), 4)),
    Case("one token", Call(normal(3, 1, 10, seed=19), 2)),
)
MERGE_CASES = (
    Case("three heads", Call(normal(2, 3, 5, 4, seed=20))),
    Case("one head", Call(normal(2, 1, 4, 6, seed=21))),
    Case("heads of size 1", Call(normal(1, 4, 3, 1, seed=22))),
    Case("one token", Call(normal(3, 2, 1, 5, seed=23))),
)
SELF_ATTENTION_CASES = (
    Case("no mask", _call()),
    Case("padding mask", _call(mask=padding((3, 5), LENGTH))),
    Case("causal mask", _call(mask=causal(LENGTH, LENGTH))),
    Case("another mask in each head", _call(mask=_HEADS_MASK)),
    Case("a token that may look nowhere", _call(mask=_EMPTY_ROW_MASK)),
    Case("projections without bias", _call(weights=attention_weights(24, bias=False))),
    Case("one token", _call(normal(1, 1, D_MODEL, seed=25))),
    Case("large scores", _call(40 * _INPUTS)),
    Case("a dropout rate, but not training", Twice(_INPUTS, *SIZES, 0.5, weights=_WEIGHTS)),
    Case("the article's call, without weights", Twice(_INPUTS, *SIZES, 0.0)),
    Case(
        "dropout while training",
        _Dropout(
            np.eye(_LONG, 2 * _LONG, dtype=np.float32)[None],
            6,
            weights=_attention_seen_in_output(_LONG),
            training=True,
        ),
    ),
)


def article_call(attempt, inputs: np.ndarray) -> np.ndarray:
    """The call that the article shows: no weights, no mask."""
    return np.asarray(attempt(tf.constant(inputs), *SIZES, 0.0))


def _looks_at_no_other_token(attempt) -> bool:
    changes = influence(lambda batch: attempt(batch, *SIZES, 0.0), _INPUTS[0])
    return (changes[~np.eye(LENGTH, dtype=bool)] < 1e-6).all()


SELF_ATTENTION_SYMPTOMS = (
    Probe(
        "the output is not (batch, length, d_model), as wide as the inputs.",
        lambda f: article_call(f, _INPUTS).shape != _INPUTS.shape,
    ),
    Probe(
        "a token's output does not change when another token changes.", _looks_at_no_other_token
    ),
    Probe(
        "two calls with the same inputs and weights, not training, differ.",
        lambda f: not SELF_ATTENTION_CASES[8].run(f)[2],
    ),
)

EXERCISES = (
    Exercise(
        split_heads,
        SPLIT_MISTAKES,
        hints=(
            "With 12 features and 3 heads: which features of token 0 belong to head 1? And of "
            "token 4?",
            "Two steps: cut the last axis in two (num_heads, size), then bring the heads in front "
            "of the tokens.",
            "A reshape never moves numbers; it only cuts the same row of numbers in another way. "
            "Moving an axis takes tf.transpose. Which order of axes puts axis 2 at place 1?",
            "tf.reshape(inputs, (batch, length, num_heads, width // num_heads)), then "
            "tf.transpose(..., (0, 2, 1, 3)).",
        ),
        cases=SPLIT_CASES,
        compare_with="solution('split_heads'), and einops: rearrange(x, 'b t (h s) -> b h t s').",
        returns=("heads",),
    ),
    Exercise(
        merge_heads,
        MERGE_MISTAKES,
        hints=(
            "Which of the four axes must come next to each other before a reshape may join them?",
            "It is split_heads backwards: first move the heads behind the tokens, then join heads "
            "and size.",
            "tf.transpose(heads, (0, 2, 1, 3)), then tf.reshape to (batch, length, num_heads * "
            "size).",
        ),
        cases=MERGE_CASES,
        compare_with="solution('merge_heads'); merge_heads(split_heads(x, n)) must give x.",
        returns=("tokens",),
    ),
    Exercise(
        self_attention,
        SELF_ATTENTION_MISTAKES,
        hints=(
            "Which four projections does `weights` hold, and which of them come before attention, "
            "which after?",
            "linear(inputs, weights.query) makes the queries of all heads at once. What turns "
            "them into (batch, num_heads, length, key_size)?",
            "scaled_dot_product_attention does the middle part, mask and dropout included. Its "
            "dropout_rate must be 0 unless `training`. What puts the heads together again?",
            "query, key, value = split_heads(linear(inputs, each projection), num_heads); heads, _ "
            "= scaled_dot_product_attention(query, key, value, mask, dropout_rate if training "
            "else 0.0); return linear(merge_heads(heads), weights.output). Make weights with "
            "random_attention_weights if they are None.",
        ),
        cases=SELF_ATTENTION_CASES,
        compare_with="solution('self_attention'), and keras.layers.MultiHeadAttention, which "
        "splits with einsum and keeps the heads as an axis of its kernels.",
        symptoms=SELF_ATTENTION_SYMPTOMS,
        remarks=(Probe(FLOAT16_REMARK, breaks_in_float16(SELF_ATTENTION_CASES[1].run)),),
        inherits=("scaled_dot_product_attention", "split_heads", "merge_heads"),
        not_inherited=(
            "key_for_value", "returns_swapped", "returns_scores", "heads_axis_not_moved",
            "heads_before_batch", "head_matrix_transposed", "heads_joined_with_batch",
            "heads_averaged", "heads_summed", "heads_along_length",
        ),
        pairs_with_inherited=True,
    ),
)
