"""Catalogued mistakes made in other styles than the reference's, with the names to be given.

The catalogue holds changes of the references; a learner changes nothing there, but writes the
same mistake into a loop, an einsum, NumPy, or a Keras layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from course_utils.weights import linear, random_attention_weights, random_block_weights

from .correct_blocks import (
    block_of_einsums,
    gelu_by_erf,
    gelu_by_tanh,
    normed_by_hand,
    normed_by_moments,
)
from .correct_variants import (
    ZeroingAttention,
    _keras_attention,
    fused_projection,
    head_by_head,
    matmul_written_out,
    numpy_triple_loop,
)


class Written(NamedTuple):
    exercise: str
    answer: Callable
    mistakes: tuple[str, ...]


WRITTEN: list[Written] = []


def written(exercise: str, *mistakes: str) -> Callable[[Callable], Callable]:
    """Register a wrong answer with the names of its mistakes, in the catalogue's order."""

    def register(answer: Callable) -> Callable:
        WRITTEN.append(Written(exercise, answer, mistakes))
        return answer

    return register


# ---- softmax ----


@written("softmax", "unstable_softmax")
def numpy_without_maximum(scores):
    e = np.exp(scores.numpy())
    return e / e.sum(-1, keepdims=True)


@written("softmax", "softmax_over_wrong_axis")
def the_library_s_over_axis_0(scores):
    return tf.nn.softmax(scores, axis=0)


@written("softmax", "not_normalised")
def only_exponentials(scores):
    return np.exp(scores - np.max(scores, axis=-1, keepdims=True))


@written("softmax", "sigmoid_for_softmax")
def logistic(scores):
    return 1 / (1 + tf.exp(-scores))


@written("softmax", "log_softmax")
def with_logarithm(scores):
    return tf.nn.log_softmax(scores)


@written("softmax", "softmin")
def turned_over(scores):
    return keras.ops.softmax(-scores)


# ---- scaled_dot_product_attention ----


def shares_of(scores, mask, fill=-1e9):
    """Softmax with hidden keys, zeros where nothing may be seen."""
    if mask is None:
        return tf.nn.softmax(scores)
    return tf.where(mask, tf.nn.softmax(tf.where(mask, scores, fill)), 0.0)


def attended(shares, value, rate):
    return tf.einsum("bhqk,bhkv->bhqv", tf.nn.dropout(shares, rate), value), shares


@written("scaled_dot_product_attention", "no_scale")
def einsum_without_scale(query, key, value, mask=None, dropout_rate=0.0):
    return attended(shares_of(tf.einsum("bhqd,bhkd->bhqk", query, key), mask), value, dropout_rate)


@written("scaled_dot_product_attention", "scale_by_key_size")
def numpy_mean_of_products(query, key, value, mask=None, dropout_rate=0.0):
    """np.mean of the products: divided by key_size."""
    q, k = query.numpy()[:, :, :, None], key.numpy()[:, :, None]
    return attended(shares_of(tf.constant((q * k).mean(-1)), mask), value, dropout_rate)


@written("scaled_dot_product_attention", "scale_by_length")
def square_root_of_len(query, key, value, mask=None, dropout_rate=0.0):
    """len(key) counts keys."""
    scores = [
        [tf.matmul(q, k, transpose_b=True) / math.sqrt(len(k)) for q, k in zip(qs, ks, strict=True)]
        for qs, ks in zip(query, key, strict=True)
    ]
    return attended(shares_of(tf.stack(list(map(tf.stack, scores))), mask), value, dropout_rate)


@written("scaled_dot_product_attention", "softmax_over_queries")
def columns_in_numpy(query, key, value, mask=None, dropout_rate=0.0):
    scores = query.numpy() @ key.numpy().swapaxes(2, 3) / np.sqrt(np.float32(key.shape[-1]))
    if mask is not None:
        scores = np.where(mask, scores, np.float32(-1e9))
    e = np.exp(scores - scores.max(axis=2, keepdims=True))
    shares = e / e.sum(axis=2, keepdims=True)
    if mask is not None:
        shares = np.where(mask, shares, np.float32(0))
    return attended(tf.constant(shares), value, dropout_rate)


@written("scaled_dot_product_attention", "mask_inverted")
def true_means_hidden_as_in_pytorch(query, key, value, mask=None, dropout_rate=0.0):
    scores = query @ tf.transpose(key, (0, 1, 3, 2)) / key.shape[-1] ** 0.5
    if mask is not None:
        scores = tf.where(mask, -np.inf, scores)
    shares = tf.nn.softmax(scores)
    return attended(tf.where(tf.math.is_nan(shares), 0.0, shares), value, dropout_rate)


@written("scaled_dot_product_attention", "mask_after_softmax")
def weights_times_mask(query, key, value, mask=None, dropout_rate=0.0):
    shares = tf.nn.softmax(tf.einsum("bhqd,bhkd->bhqk", query, key) * key.shape[-1] ** -0.5)
    if mask is not None:
        shares *= tf.cast(mask, tf.float32)
    return attended(shares, value, dropout_rate)


@written("scaled_dot_product_attention", "mask_near_zero")
def scores_times_mask(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.linalg.matmul(query, key, adjoint_b=True) / key.shape[-1] ** 0.5
    if mask is not None:
        scores = scores * tf.cast(mask, scores.dtype)
    return attended(tf.nn.softmax(scores), value, dropout_rate)


@written("scaled_dot_product_attention", "mask_ignored")
def a_small_minus_in_the_exponent(query, key, value, mask=None, dropout_rate=0.0):
    """−1e-9 for −1e9, added."""
    scores = tf.linalg.matmul(query, key, adjoint_b=True) / key.shape[-1] ** 0.5
    if mask is not None:
        scores += -1e-9 * (1 - tf.cast(mask, scores.dtype))
    return attended(tf.nn.softmax(scores), value, dropout_rate)


@written("scaled_dot_product_attention", "row_of_nothing_nan")
def infinity_as_everywhere(query, key, value, mask=None, dropout_rate=0.0):
    scores = query @ tf.transpose(key, (0, 1, 3, 2)) / key.shape[-1] ** 0.5
    if mask is not None:
        scores = tf.where(mask, scores, -np.inf)
    return attended(tf.nn.softmax(scores), value, dropout_rate)


@written("scaled_dot_product_attention", "row_of_nothing_uniform")
def the_tutorial_s_additive_mask(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query, key, transpose_b=True) / tf.sqrt(float(key.shape[-1]))
    if mask is not None:
        scores += (1.0 - tf.cast(mask, tf.float32)) * -1e9
    return attended(tf.nn.softmax(scores), value, dropout_rate)


@written("scaled_dot_product_attention", "row_of_nothing_uniform")
def keras_softmax_layer_with_mask(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query, key, transpose_b=True) / tf.sqrt(float(key.shape[-1]))
    return attended(tf.keras.layers.Softmax()(scores, mask), value, dropout_rate)


@written("scaled_dot_product_attention", "unstable_softmax")
def exponentials_times_mask(query, key, value, mask=None, dropout_rate=0.0):
    e = tf.exp(tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5)
    if mask is not None:
        e = tf.where(mask, e, 0.0)
    total = tf.reduce_sum(e, -1, keepdims=True)
    shares = e / total if mask is None else tf.where(mask, e / total, 0.0)
    return attended(shares, value, dropout_rate)


@written("scaled_dot_product_attention", "returns_swapped")
def weights_come_first(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query * key.shape[-1] ** -0.5, key, transpose_b=True)
    output, shares = attended(shares_of(scores, mask), value, dropout_rate)
    return shares, output


@written("scaled_dot_product_attention", "dropout_not_rescaled")
def dropout_by_hand(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(key.shape[-1])
    shares = shares_of(scores, mask)
    kept = shares * tf.cast(tf.random.uniform(shares.shape) >= dropout_rate, tf.float32)
    return kept @ value, shares


@written("scaled_dot_product_attention", "dropout_before_softmax")
def keras_dropout_on_scores(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(key.shape[-1])
    scores = tf.keras.layers.Dropout(dropout_rate)(scores, training=True)
    return attended(shares_of(scores, mask), value, 0.0)


@written("scaled_dot_product_attention", "sigmoid_for_softmax")
def gates(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(key.shape[-1])
    if mask is not None:
        scores = tf.where(mask, scores, -1e9)
    return attended(1 / (1 + tf.exp(-scores)), value, dropout_rate)


@written("scaled_dot_product_attention", "no_scale", "cosine_scores")
def cosine_similarity(query, key, value, mask=None, dropout_rate=0.0):
    q = query / tf.norm(query, axis=-1, keepdims=True)
    k = key / tf.norm(key, axis=-1, keepdims=True)
    return attended(shares_of(q @ tf.transpose(k, (0, 1, 3, 2)), mask), value, dropout_rate)


@written("scaled_dot_product_attention", "no_scale", "row_of_nothing_uniform")
def no_scale_in_loops(query, key, value, mask=None, dropout_rate=0.0):
    full = (*query.shape[:3], key.shape[2])
    may = np.broadcast_to(True if mask is None else mask, full)
    shares = np.zeros(full, np.float32)
    query, key = query.numpy(), key.numpy()
    for b, h, i in np.ndindex(full[:3]):
        row = np.array([np.dot(query[b, h, i], key[b, h, j]) for j in range(full[3])])
        row = np.where(may[b, h, i], row, -1e9)
        e = np.exp(row - row.max())
        shares[b, h, i] = e / e.sum()
    return attended(tf.constant(shares), value, dropout_rate)


# ---- attention_mask ----


@written("attention_mask", "causal_looks_ahead")
def upper_triangle(lengths, length, causal=False):
    mask = np.triu(np.ones((length, length), bool)) if causal else np.ones((length, length), bool)
    return mask if lengths is None else mask & tf.sequence_mask(lengths, length)[:, None, None]


@written("attention_mask", "causal_without_self")
def strictly_lower_triangle(lengths, length, causal=False):
    mask = np.tril(np.ones((length, length), bool), -1 if causal else length)
    return mask if lengths is None else mask & tf.sequence_mask(lengths, length)[:, None, None]


@written("attention_mask", "padding_on_queries")
def sequence_mask_on_the_wrong_axis(lengths, length, causal=False):
    mask = tf.linalg.band_part(tf.ones((length, length), tf.bool), -1, 0 if causal else -1)
    if lengths is None:
        return mask
    return mask & tf.sequence_mask(lengths, length)[:, None, :, None]


@written("attention_mask", "mask_of_numbers")
def keras_2_mask_of_ones(lengths, length, causal=False):
    mask = tf.linalg.band_part(tf.ones((length, length)), -1, 0 if causal else -1)
    if lengths is None:
        return mask
    return mask * tf.sequence_mask(lengths, length, tf.float32)[:, None, None]


# ---- split_heads, merge_heads ----


@written("split_heads", "split_without_transpose")
def one_numpy_reshape(inputs, num_heads):
    return np.reshape(inputs, (inputs.shape[0], num_heads, inputs.shape[1], -1))


@written("split_heads", "heads_interleaved")
def every_third_feature(inputs, num_heads):
    return tf.stack([inputs[..., h::num_heads] for h in range(num_heads)], axis=1)


@written("merge_heads", "merge_without_transpose")
def one_tf_reshape(heads):
    return tf.reshape(heads, (heads.shape[0], heads.shape[2], -1))


@written("merge_heads", "merge_interleaved")
def stacked_last(heads):
    stacked = tf.stack(tf.unstack(heads, axis=1), axis=-1)
    return tf.reshape(stacked, (*stacked.shape[:2], -1))


# ---- self_attention ----


@written("self_attention", "no_output_projection")
def loops_that_only_concatenate(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Head by head, put side by side, and that is all."""
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    width = num_heads * value_size
    identity = weights.output._replace(kernel=tf.eye(width), bias=None)
    return head_by_head(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights._replace(output=identity), mask=mask, training=training,
    )  # fmt: skip


@written("self_attention", "mask_inverted")
def keras_layer_with_pytorch_s_mask(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    d_model = inputs.shape[-1]
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)

    class layers:
        def MultiHeadAttention(heads, size, value_dim):
            return ZeroingAttention(heads, size, value_dim=value_dim, dropout=dropout_rate)

    layer = _keras_attention(layers, weights, d_model, key_size, value_size, num_heads)
    hidden = None if mask is None else ~mask
    return layer(inputs, inputs, attention_mask=hidden, training=training)


@written("self_attention", "row_of_nothing_uniform")
def keras_layer_as_it_is(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Right but for a token that may look nowhere."""
    d_model = inputs.shape[-1]
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)

    class layers:
        def MultiHeadAttention(heads, size, value_dim):
            layer = tf.keras.layers.MultiHeadAttention
            return layer(heads, size, value_dim=value_dim, dropout=dropout_rate)

    layer = _keras_attention(layers, weights, d_model, key_size, value_size, num_heads)
    return layer(inputs, inputs, attention_mask=mask, training=training)


@written("self_attention", "query_and_key_swapped")
def fused_in_the_wrong_order(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Keys, queries, values in the fused kernel, read as queries, keys, values."""
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    return fused_projection(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights._replace(query=weights.key, key=weights.query),
        mask=mask, training=training,
    )  # fmt: skip


def einsum_attention(x, sizes, weights, mask, rate, scale, heads):
    """With einsum; `heads` splits a projection into (batch, num_heads, length, size)."""
    key_size, value_size, num_heads = sizes
    if weights is None:
        weights = random_attention_weights(x.shape[-1], key_size, value_size, num_heads)
    q, k, v = (heads(linear(x, layer)) for layer in weights[:3])
    shares = shares_of(tf.einsum("bhqd,bhkd->bhqk", q, k) * scale, mask)
    mixed = tf.einsum("bhqk,bhkv->bqhv", tf.nn.dropout(shares, rate), v)
    return linear(tf.reshape(mixed, (*mixed.shape[:2], -1)), weights.output)


@written("self_attention", "scale_by_d_model")
def scaled_by_the_width_of_the_inputs(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    def heads(x):
        return tf.stack(tf.split(x, num_heads, axis=-1), 1)

    sizes, rate = (key_size, value_size, num_heads), dropout_rate * training
    scale = inputs.shape[-1] ** -0.5
    return einsum_attention(inputs, sizes, weights, mask, rate, scale, heads)


@written("self_attention", "dropout_always_on")
def dropout_whatever_training_says(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    def heads(x):
        return tf.stack(tf.split(x, num_heads, axis=-1), 1)

    sizes = (key_size, value_size, num_heads)
    return einsum_attention(inputs, sizes, weights, mask, dropout_rate, key_size**-0.5, heads)


@written("self_attention", "split_without_transpose")
def heads_by_one_reshape(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    def heads(x):
        return tf.reshape(x, (x.shape[0], num_heads, x.shape[1], -1))

    sizes, rate = (key_size, value_size, num_heads), dropout_rate * training
    return einsum_attention(inputs, sizes, weights, mask, rate, key_size**-0.5, heads)


@written("self_attention", "heads_interleaved")
def heads_by_strides(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    def heads(x):
        return tf.stack([x[..., h::num_heads] for h in range(num_heads)], axis=1)

    sizes, rate = (key_size, value_size, num_heads), dropout_rate * training
    return einsum_attention(inputs, sizes, weights, mask, rate, key_size**-0.5, heads)


@written("self_attention", "no_scale")
def einsum_self_attention_without_scale(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    def heads(x):
        return tf.transpose(tf.reshape(x, (*x.shape[:2], num_heads, -1)), (0, 2, 1, 3))

    sizes, rate = (key_size, value_size, num_heads), dropout_rate * training
    return einsum_attention(inputs, sizes, weights, mask, rate, 1.0, heads)


@written("self_attention", "biases_unused")
def kernels_alone_in_numpy(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    bare = weights._make(layer._replace(bias=None) for layer in weights)
    return numpy_triple_loop(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=bare, mask=mask, training=training,
    )  # fmt: skip


@written("self_attention", "scale_by_d_model", "no_output_projection")
def two_mistakes_at_once(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    def heads(x):
        return tf.stack(tf.split(x, num_heads, axis=-1), 1)

    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    eye = weights.output._replace(kernel=tf.eye(num_heads * value_size), bias=None)
    sizes, rate = (key_size, value_size, num_heads), dropout_rate * training
    scale = inputs.shape[-1] ** -0.5
    weights = weights._replace(output=eye)
    return einsum_attention(inputs, sizes, weights, mask, rate, scale, heads)


# ---- positional_encoding, layer_norm, feed_forward ----


@written("positional_encoding", "sin_and_cos_in_halves")
def the_tutorial_s_concat(length, d_model):
    half = (d_model + 1) // 2
    angles = np.arange(length)[:, None] / 10000 ** (2 * np.arange(half)[None] / d_model)
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    return tf.cast(table[:, :d_model], tf.float32)


@written("positional_encoding", "positions_from_one")
def counted_from_one(length, d_model):
    return tf.constant(
        [
            [(math.cos if c % 2 else math.sin)(p / 10000 ** (c // 2 * 2 / d_model))
             for c in range(d_model)]
            for p in range(1, length + 1)
        ]
    )  # fmt: skip


@written("positional_encoding", "exponent_per_column")
def a_frequency_for_each_column(length, d_model):
    table = np.zeros((length, d_model), np.float32)
    for c in range(d_model):
        wave = np.cos if c % 2 else np.sin
        table[:, c] = wave(np.arange(length) * math.exp(-math.log(10000) * c / d_model))
    return table


@written("layer_norm", "sample_variance")
def with_ddof_1(inputs, weights):
    x = inputs.numpy()
    variance = x.var(-1, ddof=1, keepdims=True)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + weights.epsilon)
    return tf.constant(x * weights.scale + weights.offset)


@written("layer_norm", "norm_over_batch")
def batch_norm_by_the_library(inputs, weights):
    mean, variance = tf.nn.moments(inputs, [0])
    return tf.nn.batch_normalization(
        inputs, mean, variance, weights.offset, weights.scale, weights.epsilon
    )


@written("layer_norm", "epsilon_not_used")
def keras_norm_with_its_own_epsilon(inputs, weights):
    layer = tf.keras.layers.LayerNormalization()
    layer.build(inputs.shape)
    layer.set_weights([weights.scale.numpy(), weights.offset.numpy()])
    return layer(inputs)


@written("layer_norm", "no_mean")
def root_mean_square_norm(inputs, weights):
    size = tf.sqrt(tf.reduce_mean(inputs**2, axis=-1, keepdims=True) + weights.epsilon)
    return inputs / size * weights.scale + weights.offset


@written("feed_forward", "relu_for_gelu")
def keras_dense_with_relu(inputs, layer_in, layer_out):
    hidden = keras.ops.relu(linear(inputs, layer_in))
    return linear(hidden, layer_out)


@written("feed_forward", "activation_at_the_end")
def gelu_after_both(inputs, layer_in, layer_out):
    for layer in (layer_in, layer_out):
        inputs = gelu_by_erf(linear(inputs, layer))
    return inputs


@written("feed_forward", "inner_bias_unused")
def rough_gelu_and_a_forgotten_bias(inputs, layer_in, layer_out):
    """An alternative that is right, the tanh GELU, beside a mistake."""
    return linear(gelu_by_tanh(inputs @ layer_in.kernel), layer_out)


# ---- encoder_block, transformer_forward ----


def sub_layers(inputs, sizes, rate, weights, mask, training):
    """Weights, and the two halves of a block as functions."""
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], *sizes)

    def attend(x):
        return matmul_written_out(
            x, *sizes, rate, weights=weights.attention, mask=mask, training=training
        )

    def feed(x, activate=gelu_by_erf):
        return linear(activate(linear(x, weights.feed_forward_in)), weights.feed_forward_out)

    return weights, attend, feed


@written("encoder_block", "pre_ln")
def gpt_2_s_block(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    sizes = (key_size, value_size, num_heads)
    w, attend, feed = sub_layers(inputs, sizes, dropout_rate, weights, mask, training)
    x = inputs + attend(normed_by_moments(inputs, w.attention_norm))
    return x + feed(normed_by_moments(x, w.feed_forward_norm))


@written("encoder_block", "no_attention_residual")
def only_one_residual(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    sizes = (key_size, value_size, num_heads)
    w, attend, feed = sub_layers(inputs, sizes, dropout_rate, weights, mask, training)
    x = normed_by_hand(attend(inputs), w.attention_norm)
    return normed_by_hand(x + feed(x), w.feed_forward_norm)


@written("encoder_block", "one_norm_twice")
def a_loop_over_the_halves_with_one_norm(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    sizes = (key_size, value_size, num_heads)
    w, *halves = sub_layers(inputs, sizes, dropout_rate, weights, mask, training)
    for half in halves:
        inputs = normed_by_moments(inputs + half(inputs), w.attention_norm)
    return inputs


@written("encoder_block", "relu_for_gelu")
def the_paper_s_activation(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    sizes = (key_size, value_size, num_heads)
    w, attend, feed = sub_layers(inputs, sizes, dropout_rate, weights, mask, training)
    x = normed_by_hand(inputs + attend(inputs), w.attention_norm)
    return normed_by_hand(x + feed(x, tf.nn.relu), w.feed_forward_norm)


@written("encoder_block", "feed_forward_reads_inputs")
def both_halves_read_the_inputs(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    sizes = (key_size, value_size, num_heads)
    w, attend, feed = sub_layers(inputs, sizes, dropout_rate, weights, mask, training)
    x = normed_by_hand(inputs + attend(inputs), w.attention_norm)
    return normed_by_hand(x + feed(inputs), w.feed_forward_norm)


@written("encoder_block", "mask_not_passed")
def keras_style_block_that_forgets_the_mask(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    return block_of_einsums(
        inputs, key_size, value_size, num_heads, dropout_rate, weights=weights, training=training
    )


def stacked(block_of, inputs, num_layers, sizes_and_rate, weights, mask, training):
    """A loop over blocks; `block_of(weights, layer)` picks a layer's weights."""
    for layer in range(num_layers):
        inputs = block_of_einsums(
            inputs, *sizes_and_rate, weights=weights and block_of(weights, layer),
            mask=mask, training=training,
        )  # fmt: skip
    return inputs


@written("transformer_forward", "one_layer_for_all")
def the_same_layer_in_a_list(
    inputs, num_layers, *sizes_and_rate, weights=None, mask=None, training=False
):
    """[layer] * num_layers."""
    if weights is None:
        weights = [random_block_weights(inputs.shape[-1], *sizes_and_rate[:3])]
    return stacked(
        lambda blocks, layer: ([blocks[0]] * num_layers)[layer],
        inputs, num_layers, sizes_and_rate, weights, mask, training,
    )  # fmt: skip


@written("transformer_forward", "layers_reversed")
def popped_from_the_end(
    inputs, num_layers, *sizes_and_rate, weights=None, mask=None, training=False
):
    left = list(weights or [])
    return stacked(
        lambda *_: left.pop(), inputs, num_layers, sizes_and_rate, weights, mask, training
    )


@written("transformer_forward", "only_the_first_layer")
def return_inside_the_loop(
    inputs, num_layers, *sizes_and_rate, weights=None, mask=None, training=False
):
    for layer in range(num_layers):
        return block_of_einsums(
            inputs, *sizes_and_rate, weights=weights and weights[layer],
            mask=mask, training=training,
        )  # fmt: skip


@written("transformer_forward", "layers_read_inputs")
def every_layer_from_the_start(
    inputs, num_layers, *sizes_and_rate, weights=None, mask=None, training=False
):
    outputs = [
        block_of_einsums(inputs, *sizes_and_rate, weights=block, mask=mask, training=training)
        for block in weights or [None] * num_layers
    ]
    return outputs[-1]


# ---- embed_tokens, sentence_embedding ----


@written("embed_tokens", "no_positions")
def bag_of_words(token_ids, weights, segment_ids=None):
    segments = tf.zeros_like(token_ids) if segment_ids is None else segment_ids
    x = weights.token.numpy()[token_ids] + weights.segment.numpy()[segments]
    return normed_by_moments(tf.constant(x), weights.norm)


@written("sentence_embedding", "cls_pooling")
def the_first_vector(hidden, mask):
    return tf.linalg.l2_normalize(hidden[:, 0], axis=1)


@written("sentence_embedding", "not_normalised")
def mean_in_numpy(hidden, mask):
    real = np.asarray(mask)[..., None].astype("float32")
    return (hidden * real).numpy().sum(1) / np.maximum(real.sum(1), 1)


# ---- learning_rate, classification_head, train_step, macro_f1 ----


@written("learning_rate", "falls_below_last")
def two_lines_without_an_end(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    if step == total_steps:
        return last
    if step < warmup_steps:
        return np.interp(step, [0, warmup_steps], [first, peak])
    slope = (last - peak) / max(total_steps - warmup_steps, 1e-9)
    if total_steps == warmup_steps:
        return last
    return peak + slope * (step - warmup_steps)


@written("learning_rate", "warmup_one_step_early")
def counts_from_one(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    if step >= total_steps:
        return last
    up = min(1.0, (step + 1) / warmup_steps) if step < warmup_steps else 1.0
    down = max(0, step - warmup_steps) / max(1, total_steps - warmup_steps)
    return first + (peak - first) * up if step < warmup_steps else peak - (peak - last) * down


@written("learning_rate", "cosine_decay")
def half_a_cosine(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    if step >= total_steps:
        return last
    if step < warmup_steps:
        return first + (peak - first) / warmup_steps * step
    angle = math.pi * (step - warmup_steps) / (total_steps - warmup_steps)
    return last + (peak - last) * 0.5 * (1 + math.cos(angle))


@written("learning_rate", "rate_stays_at_peak")
def warm_up_alone(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    if step >= total_steps:
        return last
    share = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    return first * (1 - share) + peak * share


@written("classification_head", "mean_pooling")
def mean_of_all_tokens(hidden, weights, dropout_rate=0.0, training=False):
    mean = tf.einsum("bld->bd", hidden) / hidden.shape[1]
    pooled = tf.math.tanh(mean @ weights.pooler.kernel + weights.pooler.bias)
    pooled = tf.nn.dropout(pooled, dropout_rate) if training else pooled
    return pooled @ weights.projection.kernel + weights.projection.bias


@written("classification_head", "softmax_in_head")
def keras_with_an_activation(hidden, weights, dropout_rate=0.0, training=False):
    pooled = keras.activations.tanh(linear(hidden[:, 0], weights.pooler))
    pooled = keras.layers.Dropout(dropout_rate)(pooled, training=training)
    return keras.activations.softmax(linear(pooled, weights.projection))


@written("classification_head", "dropout_always_on")
def without_a_switch(hidden, weights, dropout_rate=0.0, training=False):
    pooled = tf.tanh(linear(hidden, weights.pooler)[:, 0])
    return linear(tf.nn.dropout(pooled, dropout_rate), weights.projection)


@written("classification_head", "no_tanh")
def two_linear_layers(hidden, weights, dropout_rate=0.0, training=False):
    rows = tf.unstack(hidden[:, 0])
    pooled = tf.stack([tf.linalg.matvec(weights.pooler.kernel, row, transpose_a=True)
                       + weights.pooler.bias for row in rows])  # fmt: skip
    if training:
        pooled = tf.nn.dropout(pooled, dropout_rate)
    return linear(pooled, weights.projection)


@written("train_step", "clipped_one_by_one")
def keras_clipnorm(model, weights, inputs, labels, rate, max_norm=1.0):
    variables = [tf.Variable(w) for w in weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(inputs, variables))
        )
    for v, g in zip(variables, tape.gradient(loss, variables), strict=True):
        norm = tf.sqrt(tf.reduce_sum(g * g))
        v.assign_sub(rate * g * tf.minimum(1.0, max_norm / norm))
    return loss, tuple(tf.convert_to_tensor(v) for v in variables)


@written("train_step", "no_clipping")
def plain_descent(model, weights, inputs, labels, rate, max_norm=1.0):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        scores = tf.nn.log_softmax(model(inputs, weights))
        loss = -tf.reduce_mean(tf.reduce_sum(tf.one_hot(labels, scores.shape[-1]) * scores, -1))
    return loss, [
        w - rate * g for w, g in zip(weights, tape.gradient(loss, weights), strict=True)
    ]


@written("train_step", "losses_added")
def total_loss(model, weights, inputs, labels, rate, max_norm=1.0):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        scores = model(inputs, weights)
        right = tf.gather(scores, labels, axis=1, batch_dims=1)
        loss = tf.reduce_sum(tf.reduce_logsumexp(scores, axis=1) - right)
    g = tape.gradient(loss, weights)
    factor = tf.minimum(1.0, max_norm / tf.linalg.global_norm(g))
    return loss, [w - rate * factor * part for w, part in zip(weights, g, strict=True)]


@written("train_step", "loss_after_the_step")
def looks_again(model, weights, inputs, labels, rate, max_norm=1.0):
    def loss_of(w):
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(inputs, w))
        )

    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = loss_of(weights)
    g, _ = tf.clip_by_global_norm(tape.gradient(loss, weights), max_norm)
    new = tf.nest.map_structure(lambda w, part: w - rate * part, tuple(weights), tuple(g))
    return loss_of(new), new


@written("macro_f1", "accuracy")
def micro_average_written_out(labels, predictions, num_classes):
    return tf.reduce_mean(tf.cast(tf.equal(labels, predictions), tf.float64))


@written("macro_f1", "never_predicted_nan")
def precision_and_recall_unguarded(labels, predictions, num_classes):
    scores = []
    for c in range(num_classes):
        true, said = np.asarray(labels) == c, np.asarray(predictions) == c
        if not true.any() and not said.any():
            continue
        precision, recall = (true & said).sum() / said.sum(), (true & said).sum() / true.sum()
        scores.append(2 * precision * recall / (precision + recall))
    return np.mean(scores)


@written("macro_f1", "absent_class_counts_0")
def confusion_matrix_with_an_epsilon(labels, predictions, num_classes):
    matrix = tf.cast(tf.math.confusion_matrix(labels, predictions, num_classes), tf.float64)
    total = tf.reduce_sum(matrix, 0) + tf.reduce_sum(matrix, 1)
    return tf.reduce_mean(2 * tf.linalg.diag_part(matrix) / (total + 1e-9))


@written("macro_f1", "f1_of_the_means")
def f1_of_macro_precision_and_recall(labels, predictions, num_classes):
    from sklearn.metrics import precision_score, recall_score

    both = labels, predictions
    p = precision_score(*both, average="macro", zero_division=0)
    r = recall_score(*both, average="macro", zero_division=0)
    return 2 * p * r / (p + r) if p + r else 0.0
