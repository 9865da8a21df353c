"""03: positions, layer norm, feed-forward, the encoder block, and the stack of blocks."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from course_utils.exercises.multi_head_attention import self_attention
from course_utils.weights import BlockWeights, Linear, NormWeights, linear, random_block_weights


def positional_encoding(length: int, d_model: int) -> tf.Tensor:
    """Sines and cosines that tell positions apart ("Attention Is All You Need", 3.5).

    Column 2i holds sin(position / 10000^(2i / d_model)), column 2i + 1 the cosine of the same
    angle: sines and cosines alternate. Positions start at 0. d_model may be odd.
    Returns (length, d_model), float32.
    """
    positions = tf.range(length, dtype=tf.float32)[:, None]
    columns = tf.range(d_model)
    exponents = tf.cast(2 * (columns // 2), tf.float32) / d_model
    angles = positions / 10000.0**exponents
    return tf.where(columns % 2 == 0, tf.sin(angles), tf.cos(angles))


def layer_norm(inputs: tf.Tensor, weights: NormWeights) -> tf.Tensor:
    """Give each token mean 0 and variance 1 over its features, then scale and shift them.

    (x - mean) / √(variance + epsilon) · scale + offset (Ba et al. 2016, section 3).
    The variance is the mean of the squared deviations (divide by d_model, not d_model - 1).

    inputs: (..., d_model); weights: scale and offset (d_model,), and epsilon. Same shape back.
    """
    mean = tf.reduce_mean(inputs, axis=-1, keepdims=True)
    centred = inputs - mean
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    normalised = centred * tf.math.rsqrt(variance + weights.epsilon)
    return normalised * weights.scale + weights.offset


def feed_forward(inputs: tf.Tensor, layer_in: Linear, layer_out: Linear) -> tf.Tensor:
    """Two linear layers with a GELU between them, the same for every token.

    "Attention Is All You Need", 3.3, with BERT's GELU (Hendrycks and Gimpel 2016) for the ReLU.
    inputs: (..., d_model); layer_in to (..., d_ff); layer_out back to (..., d_model).
    """
    hidden = linear(inputs, layer_in)
    hidden = tf.nn.gelu(hidden)
    return linear(hidden, layer_out)


def encoder_block(
    inputs: tf.Tensor,
    key_size: int,
    value_size: int,
    num_heads: int,
    dropout_rate: float,
    *,
    weights: BlockWeights | None = None,
    mask: tf.Tensor | None = None,
    training: bool = False,
) -> tf.Tensor:
    """One encoder block, post-LN: norm(x + attention(x)), then norm(x + feed_forward(x)).

    "Attention Is All You Need", 3.1; BERT's is the same. The arguments are those of
    self_attention; weights None makes fresh ones with random_block_weights(
    d_model, key_size, value_size, num_heads). Returns the shape of inputs.
    """
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)
    attended = self_attention(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights.attention, mask=mask, training=training,
    )  # fmt: skip
    middle = layer_norm(inputs + attended, weights.attention_norm)
    fed = feed_forward(middle, weights.feed_forward_in, weights.feed_forward_out)
    return layer_norm(middle + fed, weights.feed_forward_norm)


def transformer_forward(
    inputs: tf.Tensor,
    num_layers: int,
    key_size: int,
    value_size: int,
    num_heads: int,
    dropout_rate: float,
    *,
    weights: Sequence[BlockWeights] | None = None,
    mask: tf.Tensor | None = None,
    training: bool = False,
) -> tf.Tensor:
    """A Transformer encoder: num_layers blocks, each with its own weights, one after the other.

    inputs: (batch, length, d_model), positions already added
    weights: one BlockWeights for each layer; None makes fresh ones, different in every layer
    The other arguments are those of encoder_block. Returns the shape of inputs.
    """
    if weights is None:
        sizes = (inputs.shape[-1], key_size, value_size, num_heads)
        weights = [random_block_weights(*sizes) for _ in range(num_layers)]
    hidden = inputs
    for layer in range(num_layers):
        hidden = encoder_block(
            hidden, key_size, value_size, num_heads, dropout_rate,
            weights=weights[layer], mask=mask, training=training,
        )  # fmt: skip
    return hidden
EXERCISES = ()
