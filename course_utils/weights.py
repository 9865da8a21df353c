"""The weights of a Transformer encoder as named tuples of tensors, and fresh random ones.

A function that receives its weights can be tested, trained, and given a pretrained model;
a function that makes its own can do none of these.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Linear(NamedTuple):
    """A linear layer, x @ kernel + bias. kernel (in, out); bias (out,) or None."""

    kernel: tf.Tensor
    bias: tf.Tensor | None


class AttentionWeights(NamedTuple):
    """The four projections of multi-head attention ("Attention Is All You Need", 3.2.2).

    Kernels: query and key (d_model, num_heads * key_size), value (d_model, num_heads * value_size),
    output (num_heads * value_size, d_model). Head h owns columns h * size to (h + 1) * size.
    """

    query: Linear
    key: Linear
    value: Linear
    output: Linear


class NormWeights(NamedTuple):
    """Layer normalisation: scale and offset (d_model,), and the epsilon under the square root."""

    scale: tf.Tensor
    offset: tf.Tensor
    epsilon: float


class BlockWeights(NamedTuple):
    """One encoder block. Kernels of the feed-forward part: (d_model, d_ff) and (d_ff, d_model)."""

    attention: AttentionWeights
    attention_norm: NormWeights
    feed_forward_in: Linear
    feed_forward_out: Linear
    feed_forward_norm: NormWeights


class EmbeddingWeights(NamedTuple):
    """BERT's input layer: three tables of rows of width d_model, and the norm of their sum.

    token has a row for each word piece, position for each place (512), segment for each sentence.
    """

    token: tf.Tensor
    position: tf.Tensor
    segment: tf.Tensor
    norm: NormWeights


class HeadWeights(NamedTuple):
    """What BERT puts on its encoder to classify (Devlin et al. 2019, 4.1, and their code).

    Kernels: pooler (d_model, d_model), projection (d_model, num_classes).
    """

    pooler: Linear
    projection: Linear


def linear(inputs: tf.Tensor, layer: Linear) -> tf.Tensor:
    """Apply a linear layer to the last axis: (..., in) to (..., out)."""
    *before, size_in = inputs.shape
    # One large product is faster than one per sequence, and tf.reshape with a ready-made shape.
    rows = tf.reshape(inputs, tf.constant((-1, size_in)))
    outputs = tf.matmul(rows, layer.kernel)
    if layer.bias is not None:
        outputs = tf.nn.bias_add(outputs, layer.bias)
    return tf.reshape(outputs, tf.constant((*before, layer.kernel.shape[-1])))


def random_linear(size_in: int, size_out: int) -> Linear:
    """Glorot-uniform kernel (Glorot and Bengio 2010, equation 16) and a bias of zeros."""
    limit = (6.0 / (size_in + size_out)) ** 0.5
    return Linear(tf.random.uniform((size_in, size_out), -limit, limit), tf.zeros(size_out))


def random_attention_weights(
    d_model: int, key_size: int, value_size: int, num_heads: int
) -> AttentionWeights:
    """Fresh random projections; `tf.random.set_seed` makes them the same in every run."""
    return AttentionWeights(
        query=random_linear(d_model, num_heads * key_size),
        key=random_linear(d_model, num_heads * key_size),
        value=random_linear(d_model, num_heads * value_size),
        output=random_linear(num_heads * value_size, d_model),
    )


def fresh_norm_weights(d_model: int, epsilon: float = 1e-6) -> NormWeights:
    """A norm that only normalises: scale 1, offset 0."""
    return NormWeights(tf.ones(d_model), tf.zeros(d_model), epsilon)


def random_block_weights(
    d_model: int, key_size: int, value_size: int, num_heads: int, d_ff: int | None = None
) -> BlockWeights:
    """Fresh random weights of one encoder block; d_ff is 4 * d_model unless given (as in 3.3)."""
    d_ff = d_ff or 4 * d_model
    return BlockWeights(
        attention=random_attention_weights(d_model, key_size, value_size, num_heads),
        attention_norm=fresh_norm_weights(d_model),
        feed_forward_in=random_linear(d_model, d_ff),
        feed_forward_out=random_linear(d_ff, d_model),
        feed_forward_norm=fresh_norm_weights(d_model),
    )
