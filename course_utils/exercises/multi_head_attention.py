"""02: split the features into heads, merge them again, and self-attention as a whole."""

from __future__ import annotations

import tensorflow as tf

from course_utils.exercises.self_attention import scaled_dot_product_attention
from course_utils.weights import AttentionWeights, linear, random_attention_weights


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
EXERCISES = ()
