"""01: scaled dot-product attention, and the masks that tell it where to look."""

from __future__ import annotations

import tensorflow as tf


def scaled_dot_product_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor | None = None,
    dropout_rate: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """For each query, average the values, weighted by how well its key matches the query.

    softmax(query · keyᵀ / √key_size) · value ("Attention Is All You Need", equation 1).

    query: (batch, num_heads, query_len, key_size)
    key:   (batch, num_heads, key_len, key_size)
    value: (batch, num_heads, key_len, value_size)
    mask:  boolean, broadcastable to (batch, num_heads, query_len, key_len); True = may look.
           A query that may look nowhere gets weights and output of zeros.
    dropout_rate: share of weights set to 0, the others divided by (1 - rate); 0 = no dropout.
    Returns output (batch, num_heads, query_len, value_size)
        and weights (batch, num_heads, query_len, key_len), before or after dropout.
    """
    key_size = tf.cast(tf.shape(key)[-1], query.dtype)
    scores = tf.matmul(query, key, transpose_b=True) / tf.sqrt(key_size)
    if mask is not None:
        scores = tf.where(mask, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores, axis=-1)
    if mask is not None:  # a row of nothing but hidden keys came out uniform
        weights = tf.where(mask, weights, tf.zeros_like(weights))
    kept = tf.nn.dropout(weights, dropout_rate) if dropout_rate else weights
    return tf.matmul(kept, value), weights


def attention_mask(lengths: tf.Tensor | None, length: int, causal: bool = False) -> tf.Tensor:
    """Which key may each query look at? True = may look.

    lengths: (batch,) whole numbers, how many real tokens each sequence has; the rest is padding
             on the right. None: nothing is padding.
    length:  tokens in each sequence, padding included (query_len = key_len = length).
    causal:  if True, a token sees itself and what is before it, never what comes after it.
    Returns a boolean mask that broadcasts to (batch, num_heads, length, length):
        for example (batch, 1, 1, length) for padding alone.
    """
    positions = tf.range(length)
    mask = tf.ones((1, 1, length, length), tf.bool)
    if causal:
        mask = mask & (positions[None, :] <= positions[:, None])
    if lengths is not None:
        mask = mask & (positions < tf.reshape(lengths, (-1, 1, 1, 1)))
    return mask
EXERCISES = ()
