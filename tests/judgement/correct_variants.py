"""Right answers in other styles than the reference's, by exercise; every one must pass.

This module holds the attention exercises and the small ones; correct_blocks.py the encoder.
"""

from __future__ import annotations

import math
from collections import defaultdict, namedtuple
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from course_utils.weights import linear, random_attention_weights

CORRECT: dict[str, list[Callable]] = defaultdict(list)


def correct(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to an exercise; its own name says what its style is."""

    def register(answer: Callable) -> Callable:
        CORRECT[exercise].append(answer)
        return answer

    return register


# ---- softmax ----


@correct("softmax")
def by_the_library(scores):
    return tf.nn.softmax(scores)


@correct("softmax")
def by_log_sum_exp(scores):
    return tf.exp(scores - tf.math.reduce_logsumexp(scores, -1, keepdims=True))


@correct("softmax")
def numpy_in_numpy_out(scores):
    scores = np.array(scores)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@correct("softmax")
def row_by_row(scores):
    rows = tf.reshape(scores, (-1, scores.shape[-1]))
    done = []
    for row in rows:
        e = tf.exp(row - max(row.numpy()))
        done.append(e / sum(e))
    return tf.reshape(tf.stack(done), scores.shape)


@correct("softmax")
@tf.function
def compiled(scores):
    top = tf.stop_gradient(tf.reduce_max(scores, axis=-1, keepdims=True))
    e = tf.math.exp(scores - top)
    return tf.math.divide(e, tf.math.reduce_sum(e, axis=-1, keepdims=True))


@correct("softmax")
def by_ratios(scores):
    gaps = scores[..., None, :] - scores[..., :, None]
    return 1 / tf.reduce_sum(tf.exp(gaps), axis=-1)


CORRECT["softmax"].append(keras.ops.softmax)


# ---- scaled_dot_product_attention ----

Attention = namedtuple("Attention", "output weights")


def dropped(weights, rate):
    return tf.nn.dropout(weights, rate) if rate else weights


@correct("scaled_dot_product_attention")
def einsum_and_dtype_min(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.einsum("bhqd,bhkd->bhqk", query, key) * query.shape[-1] ** -0.5
    if mask is None:
        mask = tf.ones_like(scores, dtype=tf.bool)
    scores = tf.where(mask, scores, query.dtype.min)
    weights = tf.where(mask, tf.nn.softmax(scores), 0)
    return tf.einsum("bhqk,bhkv->bhqv", dropped(weights, dropout_rate), value), weights


@correct("scaled_dot_product_attention")
def minus_infinity_and_nan_to_zero(query, key, value, mask=None, dropout_rate=0.0):
    scores = query @ tf.transpose(key, (0, 1, 3, 2)) / math.sqrt(key.shape[-1])
    if mask is not None:
        scores = tf.where(mask, scores, -np.inf)
    weights = tf.nn.softmax(scores)
    weights = tf.where(tf.math.is_nan(weights), tf.zeros_like(weights), weights)
    return dropped(weights, dropout_rate) @ value, weights


@correct("scaled_dot_product_attention")
def minus_a_billion(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query / query.shape[-1] ** 0.5, key, transpose_b=True)
    if mask is not None:
        scores = tf.where(mask, scores, -1e9)
    weights = tf.nn.softmax(scores, axis=-1)
    if mask is not None:
        weights *= tf.cast(mask, weights.dtype)
    return tf.matmul(dropped(weights, dropout_rate), value), weights


@correct("scaled_dot_product_attention")
def additive_mask(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query, key, transpose_b=True)
    scores = scores * tf.math.rsqrt(tf.cast(tf.shape(query)[-1], query.dtype))
    open_ = tf.cast(True if mask is None else mask, scores.dtype)
    weights = tf.nn.softmax(scores + (1 - open_) * -1e9)
    weights = weights * tf.reduce_max(tf.broadcast_to(open_, scores.shape), -1, keepdims=True)
    return tf.matmul(dropped(weights, dropout_rate), value), weights


@correct("scaled_dot_product_attention")
def exp_times_mask_over_sum(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query, key, transpose_b=True) / np.sqrt(key.shape[-1]).astype("float32")
    may = tf.ones_like(scores, tf.bool) if mask is None else tf.broadcast_to(mask, scores.shape)
    low = tf.reduce_min(scores, -1, keepdims=True)
    top = tf.reduce_max(tf.where(may, scores, low), -1, keepdims=True)
    e = tf.exp(tf.minimum(scores - top, 0)) * tf.cast(may, scores.dtype)
    weights = tf.math.divide_no_nan(e, tf.reduce_sum(e, -1, keepdims=True))
    return tf.matmul(dropped(weights, dropout_rate), value), weights


@correct("scaled_dot_product_attention")
def loops_over_batch_and_heads(query, key, value, mask=None, dropout_rate=0.0):
    batch, heads, length, size = query.shape
    full = (batch, heads, length, key.shape[2])
    may = np.ones(full, bool) if mask is None else np.broadcast_to(mask, full)
    outputs, all_weights = [], []
    for b in range(batch):
        for h in range(heads):
            scores = tf.matmul(query[b, h], tf.transpose(key[b, h])) / size**0.5
            weights = tf.nn.softmax(tf.where(may[b, h], scores, -1e30))
            weights = tf.where(may[b, h], weights, 0.0)
            all_weights.append(weights)
            outputs.append(tf.matmul(dropped(weights, dropout_rate), value[b, h]))
    output = tf.reshape(tf.stack(outputs), (*full[:3], value.shape[-1]))
    return output, tf.reshape(tf.stack(all_weights), full)


@correct("scaled_dot_product_attention")
def loops_over_queries(query, key, value, mask=None, dropout_rate=0.0):
    rows = []
    full = (*query.shape[:3], key.shape[2])
    may = None if mask is None else tf.broadcast_to(mask, full)
    for i in range(query.shape[2]):
        row = tf.reduce_sum(query[:, :, i, None] * key, axis=-1) / key.shape[-1] ** 0.5
        if may is None:
            rows.append(tf.nn.softmax(row))
        else:
            row = tf.nn.softmax(tf.where(may[:, :, i], row, row.dtype.min))
            rows.append(tf.where(may[:, :, i], row, tf.zeros_like(row)))
    weights = tf.stack(rows, axis=2)
    kept = dropped(weights, dropout_rate)
    return tf.reduce_sum(kept[..., None] * value[:, :, None], axis=3), weights


@correct("scaled_dot_product_attention")
def numpy_inside(query, key, value, mask=None, dropout_rate=0.0):
    q, k, v = (np.asarray(x, np.float64) for x in (query, key, value))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(k.shape[-1])
    may = np.broadcast_to(True if mask is None else mask, scores.shape)
    scores = np.where(may, scores, -np.inf)
    top = scores.max(-1, keepdims=True, initial=-1e300)
    e = np.exp(scores - top)
    total = e.sum(-1, keepdims=True)
    weights = e / np.where(total == 0, 1, total)
    kept = weights
    if dropout_rate:
        keep = np.random.default_rng().random(weights.shape) >= dropout_rate
        kept = weights * keep / (1 - dropout_rate)
    return tf.constant(kept @ v, query.dtype), tf.constant(weights, query.dtype)


@correct("scaled_dot_product_attention")
def numpy_returned(query, key, value, mask=None, dropout_rate=0.0):
    q, k, v = query.numpy(), key.numpy(), value.numpy()
    scores = np.einsum("...qd,...kd->...qk", q, k) / np.sqrt(np.array(k.shape[-1], k.dtype))
    if mask is not None:
        scores = np.where(mask, scores, np.finfo(scores.dtype).min)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    weights = e / e.sum(-1, keepdims=True)
    if mask is not None:
        weights = weights * np.asarray(mask)
    if dropout_rate:
        weights = weights * np.random.binomial(1, 1 - dropout_rate, weights.shape)
        weights = (weights / (1 - dropout_rate)).astype(q.dtype)
    return weights @ v, weights


@correct("scaled_dot_product_attention")
@tf.function
def decorated_with_tf_function(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query, key, transpose_b=True)
    scores /= tf.sqrt(tf.cast(tf.shape(key)[-1], scores.dtype))
    if mask is not None:
        scores = tf.where(mask, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores)
    if mask is not None:
        weights = tf.where(mask, weights, tf.zeros_like(weights))
    return tf.matmul(tf.nn.dropout(weights, dropout_rate), value), weights


class AttentionModule(tf.Module):
    """An instance is the answer: it can be called and has a name."""

    __name__ = "scaled_dot_product_attention"

    def __call__(self, query, key, value, mask=None, dropout_rate=0.0):
        scores = self.scores(query, key)
        weights = tf.nn.softmax(scores)
        if mask is not None:
            floor = tf.zeros_like(scores) + scores.dtype.min
            weights = tf.nn.softmax(tf.where(mask, scores, floor)) * tf.cast(mask, scores.dtype)
        return tf.linalg.matmul(dropped(weights, dropout_rate), value), weights

    @staticmethod
    def scores(query, key):
        return tf.linalg.matmul(query, key, adjoint_b=True) / math.sqrt(query.shape[3])


CORRECT["scaled_dot_product_attention"].append(AttentionModule())
CORRECT["scaled_dot_product_attention"].append(
    lambda query, key, value, mask=None, dropout_rate=0.0: (
        lambda weights: (tf.matmul(dropped(weights, dropout_rate), value), weights)
    )(
        tf.math.multiply_no_nan(
            tf.nn.softmax(
                tf.where(
                    True if mask is None else mask,
                    tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5,
                    query.dtype.min,
                )
            ),
            tf.cast(True if mask is None else mask, query.dtype),
        )
    )
)


@correct("scaled_dot_product_attention")
def any_keywords(query, key, value, mask=None, **options):
    size = float(key.shape[-1])
    scores = tf.linalg.einsum("...ij,...kj->...ik", query, key) / size**0.5
    weights = tf.keras.layers.Softmax()(scores, mask)  # the layer takes a mask itself
    if mask is not None:
        weights = tf.where(mask, weights, 0.0)
    return dropped(weights, options.get("dropout_rate")) @ value, weights


@correct("scaled_dot_product_attention")
def one_thread_per_sample(query, key, value, mask=None, dropout_rate=0.0):
    full = (*query.shape[:3], key.shape[2])
    may = tf.ones(full, tf.bool) if mask is None else tf.broadcast_to(mask, full)

    def sample(parts):
        q, k, may_look = parts
        scores = tf.matmul(q, k, transpose_b=True) / k.shape[-1] ** 0.5
        weights = tf.nn.softmax(tf.where(may_look, scores, scores.dtype.min))
        return tf.where(may_look, weights, tf.zeros_like(weights))

    weights = tf.vectorized_map(sample, (query, key, may))
    return tf.matmul(dropped(weights, dropout_rate), value), weights


@correct("scaled_dot_product_attention")
def running_softmax_over_keys(query, key, value, mask=None, dropout_rate=0.0):
    """One key at a time, as FlashAttention does; the weights once more at the end."""
    full = (*query.shape[:3], key.shape[2])
    may = tf.ones(full, tf.bool) if mask is None else tf.broadcast_to(mask, full)
    top = tf.fill(full[:3], query.dtype.min)
    total, output = tf.zeros_like(top), tf.zeros((*full[:3], value.shape[-1]), query.dtype)
    scores = []
    for j in range(full[3]):
        score = tf.einsum("bhqd,bhd->bhq", query, key[:, :, j]) / key.shape[-1] ** 0.5
        scores.append(score)
        new_top = tf.where(may[..., j], tf.maximum(top, score), top)
        shrink = tf.exp(top - new_top)
        part = tf.where(may[..., j], tf.exp(tf.minimum(score - new_top, 0)), 0)
        total = total * shrink + part
        output = output * shrink[..., None] + part[..., None] * value[:, :, None, j]
        top = new_top
    e = tf.exp(tf.minimum(tf.stack(scores, -1) - top[..., None], 0)) * tf.cast(may, query.dtype)
    weights = tf.math.divide_no_nan(e, total[..., None])
    if dropout_rate:
        return tf.matmul(tf.nn.dropout(weights, dropout_rate), value), weights
    return tf.math.divide_no_nan(output, total[..., None]), weights


@correct("scaled_dot_product_attention")
def log_space_and_a_named_tuple(query, key, value, mask=None, dropout_rate=0.0):
    scores = tf.matmul(query * key.shape[-1] ** -0.5, key, transpose_b=True)
    may = tf.ones_like(scores, tf.bool) if mask is None else mask
    scores = tf.where(may, scores, scores.dtype.min / 2)
    weights = tf.exp(scores - tf.reduce_logsumexp(scores, axis=-1, keepdims=True))
    weights = tf.where(may, weights, tf.zeros_like(weights))
    weights = dropped(weights, dropout_rate)
    return Attention(tf.matmul(weights, value), weights)


@correct("scaled_dot_product_attention")
def keras_3_operations_and_a_list(query, key, value, mask=None, dropout_rate=0.0):
    ops = keras.ops
    scores = ops.matmul(query, ops.swapaxes(key, -1, -2)) / ops.sqrt(float(key.shape[-1]))
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    weights = ops.softmax(scores, axis=-1)
    if mask is not None:
        weights = ops.where(mask, weights, 0.0)
    if dropout_rate:
        weights = keras.random.dropout(weights, dropout_rate)
    return [ops.matmul(weights, value), weights]


# ---- attention_mask ----


@correct("attention_mask")
def band_part_and_sequence_mask(lengths, length, causal=False):
    mask = tf.ones((length, length), tf.bool)[None, None]
    if causal:
        mask = tf.linalg.band_part(mask, -1, 0)
    if lengths is not None:
        mask &= tf.sequence_mask(lengths, length)[:, None, None, :]
    return mask


@correct("attention_mask")
def smallest_shapes(lengths, length, causal=False):
    padding = None if lengths is None else tf.sequence_mask(lengths, length)[:, None, None]
    past = tf.cast(np.tri(length), tf.bool) if causal else tf.ones((1, length), tf.bool)
    return past if padding is None else padding & past if causal else padding


@correct("attention_mask")
def numpy_mask_returned(lengths, length, causal=False):
    mask = np.tril(np.ones((length, length), bool)) if causal else np.ones((length, length), bool)
    if lengths is None:
        return mask
    return mask & (np.arange(length) < np.asarray(lengths)[:, None, None, None])


@correct("attention_mask")
def mask_by_loops(lengths, length, causal=False):
    counts = [length] if lengths is None else [int(n) for n in lengths]
    return tf.constant(
        [
            [[[j < n and (not causal or j <= i) for j in range(length)] for i in range(length)]]
            for n in counts
        ]
    )


@correct("attention_mask")
def logical_functions(lengths, length, causal=False):
    i = tf.reshape(tf.range(length), (1, 1, length, 1))
    j = tf.reshape(tf.range(length), (1, 1, 1, length))
    mask = tf.logical_or(tf.logical_not(causal), tf.less_equal(j, i))
    if lengths is not None:
        counts = tf.cast(lengths, tf.int32)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        mask = tf.logical_and(mask, tf.less(j, counts))
    return mask & tf.ones((length, length), tf.bool)


# ---- split_heads and merge_heads ----


@correct("split_heads")
def split_and_stack(inputs, num_heads):
    return tf.stack(tf.split(inputs, num_heads, axis=-1), axis=1)


@correct("split_heads")
def split_by_slices(inputs, num_heads):
    size = inputs.shape[-1] // num_heads
    return tf.stack([inputs[..., h * size : (h + 1) * size] for h in range(num_heads)], 1)


@correct("split_heads")
def split_by_einsum(inputs, num_heads):
    b, n, width = tf.unstack(tf.shape(inputs))
    heads = tf.reshape(inputs, [b, n, num_heads, width // num_heads])
    return tf.einsum("bnhd->bhnd", heads)


@correct("split_heads")
def split_in_numpy(inputs, num_heads):
    b, n, _ = inputs.shape
    return np.array(inputs).reshape(b, n, num_heads, -1).swapaxes(1, 2)


@correct("split_heads")
@tf.function
def split_by_keras(inputs, num_heads):
    heads = tf.keras.layers.Reshape((inputs.shape[1], num_heads, -1))(inputs)
    return tf.keras.layers.Permute((2, 1, 3))(heads)


@correct("merge_heads")
def unstack_and_concat(heads):
    return tf.concat(tf.unstack(heads, axis=1), axis=-1)


@correct("merge_heads")
def merge_head_by_head(heads):
    return tf.concat([heads[:, h] for h in range(heads.shape[1])], -1)


@correct("merge_heads")
def merge_by_einsum(heads):
    _, h, n, size = heads.shape
    return tf.reshape(tf.einsum("bhns->bnhs", heads), [-1, n, h * size])


@correct("merge_heads")
def merge_in_numpy(heads):
    heads = np.asarray(heads)
    return np.concatenate([heads[:, h] for h in range(heads.shape[1])], axis=2)


@correct("merge_heads")
def merge_by_experimental_numpy(heads):
    tokens = tf.experimental.numpy.moveaxis(heads, 1, 2)
    return tf.reshape(tokens, (*tokens.shape[:2], math.prod(tokens.shape[2:])))


# ---- self_attention ----


def own_glorot_weights(d_model, key_size, value_size, num_heads):
    """Fresh weights as Keras makes them, in the course's tuples."""
    shapes = random_attention_weights(d_model, key_size, value_size, num_heads)
    make = tf.keras.initializers.GlorotUniform  # an object each: one object repeats itself
    return shapes._replace(
        **{name: part._replace(kernel=make()(part.kernel.shape))
           for name, part in shapes._asdict().items()}
    )  # fmt: skip


@correct("self_attention")
def matmul_written_out(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    batch, length, d_model = inputs.shape
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)
    q = tf.reshape(linear(inputs, weights.query), (batch, length, num_heads, key_size))
    k = tf.reshape(linear(inputs, weights.key), (batch, length, num_heads, key_size))
    v = tf.reshape(linear(inputs, weights.value), (batch, length, num_heads, value_size))
    q, k, v = (tf.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
    scores = tf.matmul(q, k, transpose_b=True) / key_size**0.5
    if mask is not None:
        scores = tf.where(mask, scores, -1e9)
    attention = tf.nn.softmax(scores)
    if mask is not None:
        attention = tf.where(mask, attention, 0.0)
    if training:
        attention = tf.nn.dropout(attention, dropout_rate)
    heads = tf.transpose(tf.matmul(attention, v), (0, 2, 1, 3))
    return linear(tf.reshape(heads, (batch, length, num_heads * value_size)), weights.output)


@correct("self_attention")
def einsum_with_split_kernels(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    d_model = inputs.shape[-1]
    if weights is None:
        weights = own_glorot_weights(d_model, key_size, value_size, num_heads)

    def project(layer, size):
        kernel = tf.reshape(layer.kernel, (d_model, num_heads, size))
        bias = 0 if layer.bias is None else tf.reshape(layer.bias, (num_heads, 1, size))
        return tf.einsum("btm,mhs->bhts", inputs, kernel) + bias

    q, k = project(weights.query, key_size), project(weights.key, key_size)
    v = project(weights.value, value_size)
    scores = tf.einsum("bhqs,bhks->bhqk", q, k) / tf.sqrt(tf.cast(key_size, q.dtype))
    may = tf.ones_like(scores, tf.bool) if mask is None else mask
    shares = tf.nn.softmax(tf.where(may, scores, -np.inf))
    shares = tf.where(may, shares, tf.zeros_like(shares))
    if training and dropout_rate > 0:
        keep = tf.random.uniform(shares.shape) >= dropout_rate
        shares = tf.where(keep, shares / (1 - dropout_rate), 0.0)
    out = tf.reshape(weights.output.kernel, (num_heads, value_size, d_model))
    output = tf.einsum("bhqk,bhkv,hvm->bqm", shares, v, out)
    return output if weights.output.bias is None else output + weights.output.bias


@correct("self_attention")
def fused_projection(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    d_model = inputs.shape[-1]
    weights = weights or random_attention_weights(d_model, key_size, value_size, num_heads)
    kernel = tf.concat([layer.kernel for layer in weights[:3]], axis=1)
    projected = inputs @ kernel
    biases = [
        tf.zeros(layer.kernel.shape[1]) if layer.bias is None else layer.bias
        for layer in weights[:3]
    ]
    projected += tf.concat(biases, axis=0)
    sizes = [num_heads * key_size, num_heads * key_size, num_heads * value_size]
    q, k, v = (
        tf.stack(tf.split(part, num_heads, -1), 1) for part in tf.split(projected, sizes, -1)
    )
    scores = tf.matmul(q, k, transpose_b=True) * (1 / math.sqrt(key_size))
    if mask is not None:
        scores += tf.where(mask, 0.0, -1e9)
    shares = tf.nn.softmax(scores, -1)
    if mask is not None:
        shares *= tf.cast(mask, shares.dtype)
    shares = tf.nn.dropout(shares, dropout_rate if training else 0.0)
    merged = tf.concat(tf.unstack(shares @ v, axis=1), axis=-1)
    return linear(merged, weights.output)


@correct("self_attention")
def head_by_head(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Each head has its own slice of the kernels and adds its own share to the output."""
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    batch, length = inputs.shape[:2]
    may = None if mask is None else tf.broadcast_to(mask, (batch, num_heads, length, length))
    total = 0
    for h in range(num_heads):
        of_keys = slice(h * key_size, (h + 1) * key_size)
        of_values = slice(h * value_size, (h + 1) * value_size)
        q = linear(inputs, weights.query)[..., of_keys]
        k = linear(inputs, weights.key)[..., of_keys]
        v = linear(inputs, weights.value)[..., of_values]
        scores = tf.matmul(q, k, transpose_b=True) / key_size**0.5
        if may is not None:
            scores = tf.where(may[:, h], scores, scores.dtype.min)
        shares = tf.nn.softmax(scores)
        if may is not None:
            shares = tf.where(may[:, h], shares, 0.0)
        if training:
            shares = tf.nn.dropout(shares, rate=dropout_rate)
        total += shares @ v @ weights.output.kernel[of_values]
    return total if weights.output.bias is None else total + weights.output.bias


@correct("self_attention")
def numpy_triple_loop(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    x = np.asarray(inputs, np.float64)
    batch, length, d_model = x.shape
    weights = weights or random_attention_weights(d_model, key_size, value_size, num_heads)

    def project(layer, v):
        return v @ np.asarray(layer.kernel) + (0 if layer.bias is None else np.asarray(layer.bias))

    q, k, v = (project(layer, x) for layer in weights[:3])
    may = np.broadcast_to(True if mask is None else mask, (batch, num_heads, length, length))
    merged = np.zeros((batch, length, num_heads * value_size))
    for b in range(batch):
        for h in range(num_heads):
            ks = slice(h * key_size, (h + 1) * key_size)
            vs = slice(h * value_size, (h + 1) * value_size)
            for i in range(length):
                allowed = np.flatnonzero(may[b, h, i])
                if allowed.size:
                    scores = k[b, allowed, ks] @ q[b, i, ks] / math.sqrt(key_size)
                    e = np.exp(scores - scores.max())
                    share = e / e.sum()
                    if training and dropout_rate:
                        kept = np.random.random(share.size) >= dropout_rate
                        share = share * kept / (1 - dropout_rate)
                    merged[b, i, vs] = share @ v[b, allowed, vs]
    return tf.constant(project(weights.output, merged), inputs.dtype)


def _keras_attention(layers, weights, d_model, key_size, value_size, num_heads):
    """A Keras MultiHeadAttention that holds the course's weights."""
    layer = layers.MultiHeadAttention(num_heads, key_size, value_dim=value_size)
    probe = tf.zeros((1, 1, d_model))
    layer(probe, probe)
    sizes = (key_size, key_size, value_size)
    values = []
    for part, size in zip(weights[:3], sizes, strict=True):
        bias = tf.zeros(num_heads * size) if part.bias is None else part.bias
        values += [
            tf.reshape(part.kernel, (d_model, num_heads, size)),
            tf.reshape(bias, (num_heads, size)),
        ]
    out = weights.output
    values.append(tf.reshape(out.kernel, (num_heads, value_size, d_model)))
    values.append(tf.zeros(d_model) if out.bias is None else out.bias)
    layer.set_weights([np.asarray(value) for value in values])
    return layer


class ZeroingAttention(tf.keras.layers.MultiHeadAttention):
    """Keras 2's layer; a query that may look nowhere gets zeros instead of a plain mean."""

    def _masked_softmax(self, attention_scores, attention_mask=None):
        shares = super()._masked_softmax(attention_scores, attention_mask)
        return shares if attention_mask is None else shares * tf.cast(attention_mask, shares.dtype)


@correct("self_attention")
def keras_2_layer_given_the_weights(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    d_model = inputs.shape[-1]
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)

    class layers:
        def MultiHeadAttention(heads, size, value_dim):
            return ZeroingAttention(heads, size, value_dim=value_dim, dropout=dropout_rate)

    layer = _keras_attention(layers, weights, d_model, key_size, value_size, num_heads)
    return layer(inputs, inputs, attention_mask=mask, training=training)


@correct("self_attention")
def keras_3_layer_given_the_weights(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Keras 3's layer where nothing is hidden or dropped; by hand where it is."""
    if mask is not None or training:
        return matmul_written_out(
            inputs, key_size, value_size, num_heads, dropout_rate,
            weights=weights, mask=mask, training=training,
        )  # fmt: skip
    d_model = inputs.shape[-1]
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)
    layer = _keras_attention(keras.layers, weights, d_model, key_size, value_size, num_heads)
    return layer(inputs, inputs)


@correct("self_attention")
def dense_layers_given_the_weights(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)

    def dense(layer, x):
        has_bias = layer.bias is not None
        keras_layer = tf.keras.layers.Dense(layer.kernel.shape[1], use_bias=has_bias)
        keras_layer.build(x.shape)
        keras_layer.set_weights([np.asarray(part) for part in layer if part is not None])
        return keras_layer(x)

    def heads(x):
        return tf.transpose(tf.reshape(x, (*x.shape[:2], num_heads, -1)), [0, 2, 1, 3])

    q, k, v = (heads(dense(layer, inputs)) for layer in weights[:3])
    scores = tf.einsum("bhqd,bhkd->bhqk", q, k) / np.float32(np.sqrt(key_size))
    if mask is None:
        shares = tf.keras.layers.Softmax()(scores)
    else:
        shares = tf.keras.layers.Softmax()(scores, mask) * tf.cast(mask, scores.dtype)
    shares = tf.keras.layers.Dropout(dropout_rate)(shares, training=training)
    merged = tf.concat(tf.unstack(tf.matmul(shares, v), axis=1), -1)
    return dense(weights.output, merged)


@correct("self_attention")
@tf.function
def decorated_self_attention(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    return matmul_written_out(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights, mask=mask, training=training,
    )  # fmt: skip


@correct("self_attention")
def heads_folded_into_the_batch(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """As in Kyubyong's code: split, stack on the batch axis; the mask repeated to match."""
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    batch, length, _ = inputs.shape
    q, k, v = (
        tf.concat(tf.split(linear(inputs, layer), num_heads, axis=-1), axis=0)
        for layer in weights[:3]
    )
    scores = tf.matmul(q, k, transpose_b=True) / key_size**0.5
    may = tf.broadcast_to(True if mask is None else mask, (batch, num_heads, length, length))
    may = tf.concat(tf.unstack(may, axis=1), axis=0)
    shares = tf.nn.softmax(tf.where(may, scores, tf.fill(scores.shape, scores.dtype.min)))
    shares = dropped(tf.where(may, shares, 0.0), dropout_rate if training else 0.0)
    merged = tf.concat(tf.split(tf.matmul(shares, v), num_heads, axis=0), axis=-1)
    return linear(merged, weights.output)


@correct("self_attention")
def numpy_result_returned(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    out = numpy_triple_loop(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights, mask=mask, training=training,
    )  # fmt: skip
    return out.numpy()


class SelfAttention(tf.Module):
    """Keeps its settings nowhere: everything comes with the call."""

    __name__ = "self_attention"

    def __call__(
        self, inputs, key_size, value_size, num_heads, dropout_rate,
        weights=None, mask=None, training=False,
    ):  # fmt: skip
        w = weights or own_glorot_weights(inputs.shape[-1], key_size, value_size, num_heads)
        q, k, v = (self.heads(linear(inputs, layer), num_heads) for layer in w[:3])
        shares = self.shares(tf.linalg.matmul(q, k, adjoint_b=True), key_size, mask)
        if training:
            seed = tf.random.uniform((2,), maxval=2**31 - 1, dtype=tf.int32)
            shares = tf.nn.experimental.stateless_dropout(shares, dropout_rate, seed=seed)
        mixed = tf.linalg.matmul(shares, v)
        return linear(self.merge(mixed), w.output)

    @staticmethod
    def heads(x, num_heads):
        return tf.stack(tf.split(x, num_heads, -1), -3)

    @staticmethod
    def merge(x):
        return tf.concat(tf.unstack(x, axis=-3), -1)

    @staticmethod
    def shares(scores, key_size, mask):
        scores = scores / key_size**0.5
        top = tf.reduce_max(scores, -1, keepdims=True)
        if mask is None:
            e = tf.exp(scores - top)
        else:
            top = tf.reduce_max(tf.where(mask, scores, scores.dtype.min), -1, keepdims=True)
            e = tf.where(mask, tf.exp(tf.where(mask, scores - top, 0.0)), 0.0)
        return tf.math.divide_no_nan(e, tf.reduce_sum(e, -1, keepdims=True))


CORRECT["self_attention"].append(SelfAttention())


@correct("self_attention")
def one_matrix_for_queries_and_keys(
    inputs, key_size, value_size, num_heads, dropout_rate, **options
):
    """Scores as a bilinear form x A xᵀ of tokens with a 1 appended, which carries the biases."""
    batch, length, d_model = inputs.shape
    weights, mask = options.get("weights"), options.get("mask")
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)

    def kernel(layer, size):
        bias = tf.zeros(num_heads * size) if layer.bias is None else layer.bias
        whole = tf.concat([layer.kernel, bias[None]], axis=0)
        return tf.reshape(whole, (d_model + 1, num_heads, size))

    x = tf.concat([inputs, tf.ones((batch, length, 1), inputs.dtype)], axis=-1)
    form = tf.einsum("mhs,nhs->hmn", kernel(weights.query, key_size), kernel(weights.key, key_size))
    scores = tf.einsum("bqm,hmn,bkn->bhqk", x, form, x) / key_size**0.5
    may = tf.ones_like(scores, tf.bool) if mask is None else mask
    shares = tf.where(may, tf.nn.softmax(tf.where(may, scores, scores.dtype.min)), 0.0)
    if options.get("training"):
        shares = tf.nn.dropout(shares, dropout_rate)
    mixed = tf.einsum("bhqk,bkm->bhqm", shares, x)  # average the tokens first, project them later
    merged = tf.einsum("bhqm,mhv->bqhv", mixed, kernel(weights.value, value_size))
    return linear(tf.reshape(merged, (batch, length, num_heads * value_size)), weights.output)


@correct("self_attention")
def one_sample_at_a_time(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    batch, length, d_model = inputs.shape
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)
    may = tf.broadcast_to(True if mask is None else mask, (batch, num_heads, length, length))

    def sample(parts):
        x, may_look = parts
        q, k, v = (
            tf.transpose(tf.reshape(linear(x, layer), (length, num_heads, size)), (1, 0, 2))
            for layer, size in zip(weights[:3], (key_size, key_size, value_size), strict=True)
        )
        scores = tf.matmul(q, k, transpose_b=True) / float(key_size) ** 0.5
        shares = tf.nn.softmax(tf.where(may_look, scores, scores.dtype.min))
        shares = tf.where(may_look, shares, tf.zeros_like(shares))
        if training:
            shares = tf.nn.dropout(shares, dropout_rate)
        mixed = tf.transpose(tf.matmul(shares, v), (1, 0, 2))
        return linear(tf.reshape(mixed, (length, num_heads * value_size)), weights.output)

    return tf.map_fn(sample, (inputs, may), fn_output_signature=inputs.dtype)


@correct("self_attention")
def vectorised_over_samples_and_heads(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    batch, length, d_model = inputs.shape
    if weights is None:
        weights = random_attention_weights(d_model, key_size, value_size, num_heads)
    may = tf.broadcast_to(True if mask is None else mask, (batch, num_heads, length, length))

    def head(parts):
        q, k, v, may_look = parts
        scores = tf.tensordot(q, tf.transpose(k), 1) / key_size**0.5
        shares = tf.nn.softmax(tf.where(may_look, scores, scores.dtype.min))
        return tf.where(may_look, shares, tf.zeros_like(shares)), v

    def folded(layer):
        return tf.reshape(
            tf.stack(tf.split(linear(inputs, layer), num_heads, -1), 1),
            (batch * num_heads, length, -1),
        )

    flat = tf.reshape(may, (batch * num_heads, length, length))
    shares, v = tf.vectorized_map(head, (*map(folded, weights[:3]), flat))
    mixed = tf.matmul(dropped(shares, dropout_rate if training else 0), v)
    mixed = tf.reshape(mixed, (batch, num_heads, length, value_size))
    return linear(tf.concat(tf.unstack(mixed, axis=1), -1), weights.output)


# ---- learning_rate ----


@correct("learning_rate")
def interpolated(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    if warmup_steps in (0, total_steps) and step >= warmup_steps == total_steps:
        return last
    places, rates = [warmup_steps, total_steps], [peak, last]
    if warmup_steps:
        places, rates = [0, *places], [first, *rates]
    return np.interp(step, places, rates) if total_steps > warmup_steps or step < warmup_steps \
        else last  # fmt: skip


@correct("learning_rate")
def share_of_the_peak(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    if step < warmup_steps:
        up = step / warmup_steps
        return up * peak + (1 - up) * first
    left = max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))
    return left * peak + (1 - left) * last


@correct("learning_rate")
def in_tensorflow(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    step = tf.cast(step, tf.float32)
    up = tf.math.divide_no_nan(step, float(warmup_steps))
    down = tf.math.divide_no_nan(step - warmup_steps, float(total_steps - warmup_steps))
    rate = tf.where(step < warmup_steps, first + (peak - first) * up, peak + (last - peak) * down)
    return tf.where(step < total_steps, rate, last)


@correct("learning_rate")
def summed_up(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    """Step by step, as an optimizer would go."""
    if step >= total_steps:
        return last
    rate = first if warmup_steps else peak
    for passed in range(step):
        rising = passed < warmup_steps
        steps = warmup_steps if rising else total_steps - warmup_steps
        rate += ((peak - first) if rising else (last - peak)) / steps
    return rate


@correct("learning_rate")
def one_of_two(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    step = min(step, total_steps)
    if step == total_steps:
        return last
    start, end, low, high = (
        (0, warmup_steps, first, peak)
        if step < warmup_steps
        else (warmup_steps, total_steps, peak, last)
    )
    return low + (high - low) * (step - start) / (end - start)


@correct("learning_rate")
def numpy_select(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    with np.errstate(all="ignore"):
        up = first + (peak - first) * np.float32(step) / np.float32(warmup_steps)
        down = peak + (last - peak) * np.float32(step - warmup_steps) / np.float32(
            total_steps - warmup_steps
        )
    return np.select([step >= total_steps, step < warmup_steps], [last, up], down)


# ---- classification_head ----


@correct("classification_head")
def head_of_einsums(hidden, weights, dropout_rate=0.0, training=False):
    x = tf.einsum("bd,de->be", hidden[:, 0, :], weights.pooler.kernel) + weights.pooler.bias
    x = dropped(tf.math.tanh(x), dropout_rate if training else 0)
    return tf.einsum("bd,dc->bc", x, weights.projection.kernel) + weights.projection.bias


@correct("classification_head")
def head_of_keras_layers(hidden, weights, dropout_rate=0.0, training=False):
    pooler = keras.layers.Dense(weights.pooler.kernel.shape[-1], activation="tanh")
    projection = keras.layers.Dense(weights.projection.kernel.shape[-1])
    x = hidden[:, 0]
    pooler.build(x.shape)
    pooler.set_weights(weights.pooler)
    projection.build(x.shape)
    projection.set_weights(weights.projection)
    return projection(keras.layers.Dropout(dropout_rate)(pooler(x), training=training))


@correct("classification_head")
def gathered(hidden, weights, dropout_rate=0.0, training=False):
    first = tf.gather(hidden, 0, axis=1)
    pooled = tf.tanh(first @ weights.pooler.kernel + weights.pooler.bias)
    if training and dropout_rate:
        keep = tf.cast(tf.random.uniform(pooled.shape) >= dropout_rate, pooled.dtype)
        pooled = pooled * keep / (1 - dropout_rate)
    return pooled @ weights.projection.kernel + weights.projection.bias


@correct("classification_head")
def text_by_text(hidden, weights, dropout_rate=0.0, training=False):
    rows = []
    for text in hidden:
        pooled = tf.nn.tanh(linear(text[:1], weights.pooler))
        rows.append(linear(dropped(pooled, dropout_rate * training), weights.projection)[0])
    return tf.stack(rows)


@correct("classification_head")
def numpy_without_training(hidden, weights, dropout_rate=0.0, training=False):
    x = np.tanh(np.asarray(hidden)[:, 0] @ np.asarray(weights[0].kernel) + weights[0].bias)
    if training:
        x = tf.nn.dropout(tf.constant(x), dropout_rate)
    return tf.nn.bias_add(tf.matmul(x, weights[1].kernel), weights[1].bias)


@correct("classification_head")
def all_tokens_then_the_first(hidden, weights, dropout_rate=0.0, training=False):
    pooled = tf.tanh(linear(hidden, weights.pooler))
    rate = dropout_rate if training else 0.0
    return linear(tf.nn.dropout(pooled, rate), weights.projection)[:, 0]


@correct("classification_head")
@tf.function
def compiled_head(hidden, weights, dropout_rate=0.0, training=False):
    pooled = tf.tanh(linear(hidden[:, 0], weights.pooler))
    pooled = tf.nn.experimental.stateless_dropout(
        pooled, dropout_rate if training else 0.0, seed=(1, 2)
    ) if False else dropped(pooled, dropout_rate if training else 0)  # fmt: skip
    return linear(pooled, weights.projection)


# ---- train_step ----


@correct("train_step")
def clipped_by_hand(model, weights, inputs, labels, rate, max_norm=1.0):
    with tf.GradientTape() as tape:
        for w in weights:
            tape.watch(w)
        probabilities = tf.nn.log_softmax(model(inputs, weights))
        loss = -tf.reduce_mean(tf.gather(probabilities, labels, axis=1, batch_dims=1))
    gradients = tape.gradient(loss, list(weights))
    norm = tf.sqrt(sum(tf.reduce_sum(g**2) for g in gradients))
    factor = tf.minimum(1.0, max_norm / norm)
    return loss, [w - rate * factor * g for w, g in zip(weights, gradients, strict=True)]


@correct("train_step")
def with_variables(model, weights, inputs, labels, rate, max_norm=1.0):
    variables = [tf.Variable(w) for w in weights]
    with tf.GradientTape() as tape:
        scores = model(inputs, variables)
        loss = tf.reduce_mean(
            tf.keras.losses.sparse_categorical_crossentropy(labels, scores, from_logits=True)
        )
    clipped, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), max_norm)
    for variable, gradient in zip(variables, clipped, strict=True):
        variable.assign_sub(rate * gradient)
    return loss, tuple(variable.value() for variable in variables)


@correct("train_step")
def with_one_hot_labels(model, weights, inputs, labels, rate, max_norm=1.0):
    def loss_of(weights):
        scores = model(inputs, weights)
        targets = tf.one_hot(labels, scores.shape[-1])
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, scores))

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        loss = loss_of(weights)
    gradients = tape.gradient(loss, weights)
    norm = tf.linalg.global_norm(gradients)
    if norm > max_norm:
        gradients = [g * max_norm / norm for g in gradients]
    return loss, tf.nest.map_structure(lambda w, g: w - rate * g, tuple(weights), tuple(gradients))


@correct("train_step")
def by_an_optimizer(model, weights, inputs, labels, rate, max_norm=1.0):
    variables = [keras.Variable(w) for w in weights]
    with tf.GradientTape() as tape:
        scores = model(inputs, [v.value for v in variables])
        loss = keras.ops.mean(
            keras.losses.sparse_categorical_crossentropy(labels, scores, from_logits=True)
        )
    gradients = tape.gradient(loss, [v.value for v in variables])
    optimizer = keras.optimizers.SGD(rate, global_clipnorm=max_norm)
    optimizer.apply(gradients, variables)
    return loss, tuple(tf.constant(v.numpy()) for v in variables)


@correct("train_step")
@tf.function
def compiled_step(model, weights, inputs, labels, rate, max_norm=1.0):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(logits=model(inputs, weights),
                                                           labels=labels)
        )  # fmt: skip
    clipped = tf.clip_by_global_norm(tape.gradient(loss, weights), max_norm)[0]
    return loss, tuple(tf.subtract(w, rate * g) for w, g in zip(weights, clipped, strict=True))


@correct("train_step")
def losses_summed_and_divided(model, weights, inputs, labels, rate, max_norm=1.0):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        scores = model(inputs, weights)
        right = tf.reduce_sum(tf.one_hot(labels, scores.shape[-1]) * scores, axis=-1)
        loss = tf.reduce_sum(tf.reduce_logsumexp(scores, axis=-1) - right) / len(inputs)
    gradients = tape.gradient(loss, weights)
    flat = tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)
    flat = tf.clip_by_norm(flat, max_norm)
    parts = tf.split(flat, [tf.size(g) for g in gradients])
    steps = [tf.reshape(p, g.shape) for p, g in zip(parts, gradients, strict=True)]
    return loss, [w - rate * s for w, s in zip(weights, steps, strict=True)]


# ---- macro_f1 ----


@correct("macro_f1")
def by_precision_and_recall(labels, predictions, num_classes):
    scores = []
    for c in range(num_classes):
        said, true = np.asarray(predictions) == c, np.asarray(labels) == c
        if not (said.any() or true.any()):
            continue
        hits = (said & true).sum()
        precision = hits / said.sum() if said.any() else 0.0
        recall = hits / true.sum() if true.any() else 0.0
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return sum(scores) / len(scores)


@correct("macro_f1")
def by_confusion_matrix(labels, predictions, num_classes):
    matrix = tf.math.confusion_matrix(labels, predictions, num_classes)
    total = tf.reduce_sum(matrix, 0) + tf.reduce_sum(matrix, 1)
    scores = tf.math.divide_no_nan(2 * tf.linalg.diag_part(matrix) / 1, tf.cast(total, tf.float64))
    return tf.reduce_mean(tf.boolean_mask(scores, total > 0))


@correct("macro_f1")
def by_scikit_learn(labels, predictions, num_classes):
    from sklearn.metrics import f1_score

    return f1_score(labels, predictions, average="macro", zero_division=0)


@correct("macro_f1")
def by_counting(labels, predictions, num_classes):
    true, said, hits = ([0] * num_classes for _ in range(3))
    for a, b in zip(np.asarray(labels).tolist(), np.asarray(predictions).tolist(), strict=True):
        true[a] += 1
        said[b] += 1
        hits[a] += a == b
    rows = [(h, t + s) for h, t, s in zip(hits, true, said, strict=True) if t + s]
    return float(np.mean([2 * h / total for h, total in rows]))


@correct("macro_f1")
def by_bincount(labels, predictions, num_classes):
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    true, said = (np.bincount(x, minlength=num_classes) for x in (labels, predictions))
    hits = np.bincount(labels[labels == predictions], minlength=num_classes)
    seen = true + said > 0
    return (2 * hits[seen] / (true + said)[seen]).mean()


@correct("macro_f1")
def float32_in_tensorflow(labels, predictions, num_classes):
    true, said = tf.one_hot(labels, num_classes), tf.one_hot(predictions, num_classes)
    hits, total = tf.reduce_sum(true * said, axis=0), tf.reduce_sum(true + said, axis=0)
    return tf.reduce_mean(2 * hits[total > 0] / total[total > 0])
