"""Right answers in other styles: positions, norm, feed-forward, encoder, sentence vectors."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import tensorflow as tf

from course_utils.weights import linear, random_block_weights

from .correct_variants import (
    CORRECT,
    SelfAttention,
    correct,
    einsum_with_split_kernels,
    fused_projection,
    head_by_head,
    heads_folded_into_the_batch,
    keras_2_layer_given_the_weights,
    matmul_written_out,
    numpy_triple_loop,
    one_matrix_for_queries_and_keys,
    one_sample_at_a_time,
)

# ---- positional_encoding ----


@correct("positional_encoding")
def interleaved_by_stack(length, d_model):
    half = (d_model + 1) // 2
    rates = tf.exp(tf.range(half, dtype=tf.float32) * (-2 * math.log(10000.0) / d_model))
    angles = tf.range(length, dtype=tf.float32)[:, None] * rates
    both = tf.stack([tf.sin(angles), tf.cos(angles)], axis=-1)
    return tf.reshape(both, (length, 2 * half))[:, :d_model]


@correct("positional_encoding")
def filled_numpy_array(length, d_model):
    table = np.zeros((length, d_model), np.float32)
    i = np.arange(0, d_model, 2)
    angles = np.arange(length)[:, None] / np.power(10000, i / d_model)
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)[:, : d_model // 2]
    return table


@correct("positional_encoding")
def number_by_number(length, d_model):
    wave = (math.sin, math.cos)
    return tf.constant(
        [[wave[c % 2](p / 10000 ** ((c - c % 2) / d_model)) for c in range(d_model)]
         for p in range(length)],
        shape=(length, d_model),
    )  # fmt: skip


@correct("positional_encoding")
def cosine_as_a_shifted_sine(length, d_model):
    column = np.arange(d_model)
    angles = np.outer(np.arange(length), 10000.0 ** -(column // 2 * 2 / d_model))
    return tf.cast(np.sin(angles + np.pi / 2 * (column % 2)), tf.float32)


@correct("positional_encoding")
def complex_exponential(length, d_model):
    rates = 1 / 10000 ** (np.arange(0, d_model, 2) / d_model)
    turns = np.exp(1j * np.arange(length)[:, None] * rates)
    pairs = np.stack([turns.imag, turns.real], -1).reshape(length, -1)
    return pairs[:, :d_model].astype(np.float32)


# ---- layer_norm ----


@correct("layer_norm")
def norm_by_moments(inputs, weights):
    mean, variance = tf.nn.moments(inputs, axes=[-1], keepdims=True)
    return (inputs - mean) / tf.sqrt(variance + weights.epsilon) * weights.scale + weights.offset


@correct("layer_norm")
def norm_by_batch_normalization(inputs, weights):
    mean, variance = tf.nn.moments(inputs, -1, keepdims=True)
    return tf.nn.batch_normalization(
        inputs, mean, variance, weights.offset, weights.scale, weights.epsilon
    )


@correct("layer_norm")
def norm_in_numpy(inputs, weights):
    x = np.asarray(inputs)
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + weights.epsilon)
    return (y * np.asarray(weights.scale) + np.asarray(weights.offset)).astype(x.dtype)


@correct("layer_norm")
def norm_by_standard_deviation(inputs, weights):
    deviation = tf.math.reduce_std(inputs, axis=-1, keepdims=True)
    centred = inputs - tf.math.reduce_mean(inputs, axis=-1, keepdims=True)
    normal = centred / tf.sqrt(deviation**2 + weights.epsilon)
    return normal * weights[0] + weights[1]


@correct("layer_norm")
def norm_by_keras_2(inputs, weights):
    layer = tf.keras.layers.LayerNormalization(epsilon=weights.epsilon)
    layer.build(inputs.shape)
    layer.set_weights([np.asarray(weights.scale), np.asarray(weights.offset)])
    return layer(inputs)


@correct("layer_norm")
def norm_by_keras_3(inputs, weights):
    layer = keras.layers.LayerNormalization(epsilon=weights.epsilon)
    layer.build(inputs.shape)
    layer.set_weights([np.asarray(weights.scale), np.asarray(weights.offset)])
    return layer(inputs)


@correct("layer_norm")
@tf.function
def norm_with_the_scale_inside(inputs, weights):
    mean = tf.reduce_mean(inputs, -1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(inputs, mean), -1, keepdims=True)
    factor = weights.scale / tf.sqrt(variance + weights.epsilon)
    return inputs * factor + (weights.offset - mean * factor)


# ---- feed_forward ----


def gelu_by_erf(x):
    return 0.5 * x * (1.0 + tf.math.erf(x / math.sqrt(2.0)))


def gelu_by_tanh(x):
    return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@correct("feed_forward")
def erf_written_out(inputs, layer_in, layer_out):
    return linear(gelu_by_erf(linear(inputs, layer_in)), layer_out)


@correct("feed_forward")
def tanh_written_out(inputs, layer_in, layer_out):
    return linear(gelu_by_tanh(linear(inputs, layer_in)), layer_out)


@correct("feed_forward")
def tanh_by_the_library(inputs, layer_in, layer_out):
    return linear(tf.nn.gelu(linear(inputs, layer_in), approximate=True), layer_out)


@correct("feed_forward")
def einsum_and_keras_gelu(inputs, layer_in, layer_out):
    hidden = tf.einsum("...i,ij->...j", inputs, layer_in.kernel)
    hidden = tf.keras.activations.gelu(hidden if layer_in.bias is None else hidden + layer_in.bias)
    output = tf.einsum("...i,ij->...j", hidden, layer_out.kernel)
    return output if layer_out.bias is None else output + layer_out.bias


@correct("feed_forward")
def complementary_error_function(inputs, layer_in, layer_out):
    hidden = linear(inputs, layer_in)
    return linear(hidden * tf.math.erfc(-hidden / 2**0.5) / 2, layer_out)


@correct("feed_forward")
def dense_with_activation(inputs, layer_in, layer_out):
    def dense(layer, x, activation=None):
        keras_layer = keras.layers.Dense(
            layer.kernel.shape[1], activation, use_bias=layer.bias is not None
        )
        keras_layer.build(x.shape)
        keras_layer.set_weights([np.asarray(part) for part in layer if part is not None])
        return keras_layer(x)

    gelu = functools.partial(keras.activations.gelu, approximate=False)
    return dense(layer_out, dense(layer_in, inputs, gelu))


@correct("feed_forward")
def numpy_and_math_erf(inputs, layer_in, layer_out):
    def apply(x, layer):
        return x @ np.asarray(layer.kernel) + (0 if layer.bias is None else np.asarray(layer.bias))

    hidden = apply(np.asarray(inputs), layer_in)
    hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
    return tf.cast(apply(hidden, layer_out), inputs.dtype)


# ---- encoder_block ----


def normed_by_moments(x, norm):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, norm.offset, norm.scale, norm.epsilon)


def normed_by_hand(x, norm):
    x = x - tf.reduce_mean(x, -1, keepdims=True)
    return x / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) + norm.epsilon) * norm.scale + (
        norm.offset
    )


@correct("encoder_block")
def block_of_einsums(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)
    x = inputs + einsum_with_split_kernels(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights.attention, mask=mask, training=training,
    )  # fmt: skip
    x = normed_by_hand(x, weights.attention_norm)
    hidden = gelu_by_erf(
        tf.einsum("btm,mf->btf", x, weights.feed_forward_in.kernel) + weights.feed_forward_in.bias
    )
    out = tf.einsum("btf,fm->btm", hidden, weights.feed_forward_out.kernel)
    return normed_by_hand(x + out + weights.feed_forward_out.bias, weights.feed_forward_norm)


@correct("encoder_block")
def block_with_tanh_gelu(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)
    attended = matmul_written_out(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights.attention, mask=mask, training=training,
    )  # fmt: skip
    x = normed_by_moments(inputs + attended, weights.attention_norm)
    hidden = gelu_by_tanh(linear(x, weights.feed_forward_in))
    hidden = linear(hidden, weights.feed_forward_out)
    return normed_by_moments(x + hidden, weights.feed_forward_norm)


@correct("encoder_block")
def block_of_keras_2_layers(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)

    def filled(layer, values, x):
        layer.build(x.shape)
        layer.set_weights([np.asarray(value) for value in values])
        return layer(x)

    def norm(x, w):
        layer = tf.keras.layers.LayerNormalization(epsilon=w.epsilon)
        return filled(layer, (w.scale, w.offset), x)

    attended = keras_2_layer_given_the_weights(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights.attention, mask=mask, training=training,
    )  # fmt: skip
    x = norm(tf.keras.layers.Add()([inputs, attended]), weights.attention_norm)
    d_ff = weights.feed_forward_in.kernel.shape[1]
    fed = filled(tf.keras.layers.Dense(d_ff, activation="gelu"), weights.feed_forward_in, x)
    fed = filled(tf.keras.layers.Dense(x.shape[-1]), weights.feed_forward_out, fed)
    return norm(tf.keras.layers.Add()([x, fed]), weights.feed_forward_norm)


@correct("encoder_block")
def block_of_keras_3_layers(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)

    def filled(layer, values, x):
        layer.build(x.shape)
        layer.set_weights([np.asarray(value) for value in values])
        return layer(x)

    def norm(x, w):
        return filled(keras.layers.LayerNormalization(epsilon=w.epsilon), (w.scale, w.offset), x)

    attended = fused_projection(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights.attention, mask=mask, training=training,
    )  # fmt: skip
    x = norm(inputs + attended, weights.attention_norm)
    wide = keras.layers.Dense(weights.feed_forward_in.kernel.shape[1])
    fed = keras.ops.gelu(filled(wide, weights.feed_forward_in, x), approximate=False)
    fed = filled(keras.layers.Dense(x.shape[-1]), weights.feed_forward_out, fed)
    return norm(x + fed, weights.feed_forward_norm)


def numpy_block(x, sizes, weights, mask):
    """One encoder block of arrays in float64, without dropout."""

    def apply(y, layer):
        return y @ np.asarray(layer.kernel) + (0 if layer.bias is None else np.asarray(layer.bias))

    def norm(y, w):
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + w.epsilon)
        return y * np.asarray(w.scale) + np.asarray(w.offset)

    attended = numpy_triple_loop(
        tf.constant(x, tf.float64), *sizes, 0.0, weights=weights.attention, mask=mask
    )
    x = norm(x + attended.numpy(), weights.attention_norm)
    hidden = apply(x, weights.feed_forward_in)
    hidden = hidden * (1 + np.vectorize(math.erf)(hidden / 2**0.5)) / 2
    return norm(x + apply(hidden, weights.feed_forward_out), weights.feed_forward_norm)


@correct("encoder_block")
def block_in_numpy(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)
    if training:
        return block_of_einsums(
            inputs, key_size, value_size, num_heads, dropout_rate,
            weights=weights, mask=mask, training=True,
        )  # fmt: skip
    sizes = (key_size, value_size, num_heads)
    return numpy_block(inputs.numpy(), sizes, weights, mask).astype(inputs.dtype.as_numpy_dtype)


@correct("encoder_block")
@tf.function
def decorated_block(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    return block_of_einsums(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights, mask=mask, training=training,
    )  # fmt: skip


@correct("encoder_block")
def token_by_token_feed_forward(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)
    attended = head_by_head(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights.attention, mask=mask, training=training,
    )  # fmt: skip
    outputs = []
    for token in tf.unstack(inputs + attended, axis=1):
        x = normed_by_hand(token, weights.attention_norm)
        hidden = tf.nn.gelu(x @ weights.feed_forward_in.kernel + weights.feed_forward_in.bias)
        fed = hidden @ weights.feed_forward_out.kernel + weights.feed_forward_out.bias
        outputs.append(normed_by_hand(x + fed, weights.feed_forward_norm))
    return tf.stack(outputs, axis=1)


@correct("encoder_block")
def feed_forward_as_convolution(inputs, key_size, value_size, num_heads, dropout_rate, **options):
    """A convolution of width 1 is the same layer at each position."""
    weights = options.pop("weights", None)
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], key_size, value_size, num_heads)
    attended = one_matrix_for_queries_and_keys(
        inputs, key_size, value_size, num_heads, dropout_rate, weights=weights.attention, **options
    )
    x = normed_by_moments(tf.add(inputs, attended), weights.attention_norm)
    into, out = weights.feed_forward_in, weights.feed_forward_out
    hidden = tf.nn.gelu(tf.nn.conv1d(x, into.kernel[None], 1, "VALID") + into.bias)
    fed = tf.nn.conv1d(hidden, out.kernel[None], 1, "VALID") + out.bias
    return normed_by_moments(tf.add(x, fed), weights.feed_forward_norm)


class EncoderBlock(tf.Module):
    """An object as the answer."""

    __name__ = "encoder_block"

    def __init__(self):
        super().__init__()
        self.attention = SelfAttention()

    def __call__(
        self, inputs, key_size, value_size, num_heads, dropout_rate,
        weights=None, mask=None, training=False,
    ):  # fmt: skip
        sizes = (key_size, value_size, num_heads)
        w = weights or random_block_weights(inputs.shape[-1], *sizes)
        attended = self.attention(
            inputs, *sizes, dropout_rate, weights=w.attention, mask=mask, training=training
        )
        x = self.add_and_norm(inputs, attended, w.attention_norm)
        hidden = gelu_by_erf(linear(x, w.feed_forward_in))
        return self.add_and_norm(x, linear(hidden, w.feed_forward_out), w.feed_forward_norm)

    def add_and_norm(self, x, y, norm):
        x = x + y
        spread = tf.math.reduce_variance(x, -1, keepdims=True)
        mean = tf.reduce_mean(x, -1, keepdims=True)
        return norm.scale * (x - mean) * tf.math.rsqrt(spread + norm.epsilon) + norm.offset


CORRECT["encoder_block"].append(EncoderBlock())


@correct("encoder_block")
def block_one_sample_at_a_time(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    sizes = (key_size, value_size, num_heads)
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], *sizes)
    length = inputs.shape[1]
    done = []
    for b in range(inputs.shape[0]):
        may = None
        if mask is not None:
            may = tf.broadcast_to(mask, (inputs.shape[0], num_heads, length, length))[b : b + 1]
        done.append(block_of_einsums(
            inputs[b : b + 1], *sizes, dropout_rate, weights=weights, mask=may, training=training
        ))  # fmt: skip
    return tf.concat(done, axis=0)


@correct("encoder_block")
def tokens_laid_out_in_one_matrix(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    batch, length, d_model = inputs.shape
    if weights is None:
        weights = random_block_weights(d_model, key_size, value_size, num_heads)
    attended = heads_folded_into_the_batch(
        inputs, key_size, value_size, num_heads, dropout_rate,
        weights=weights.attention, mask=mask, training=training,
    )  # fmt: skip
    x = tf.reshape(inputs + attended, (batch * length, d_model))
    x = tf.transpose(normed_by_hand(x, weights.attention_norm))  # a column for each token
    hidden = tf.matmul(weights.feed_forward_in.kernel, x, transpose_a=True)
    hidden = tf.nn.gelu(hidden + weights.feed_forward_in.bias[:, None])
    fed = tf.matmul(weights.feed_forward_out.kernel, hidden, transpose_a=True)
    x = tf.transpose(x + fed + weights.feed_forward_out.bias[:, None])
    return tf.reshape(normed_by_hand(x, weights.feed_forward_norm), inputs.shape)


@correct("encoder_block")
def parts_put_into_a_list(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """The two sub-layers as functions in a list, each with its norm."""
    sizes = (key_size, value_size, num_heads)
    weights = random_block_weights(inputs.shape[-1], *sizes) if weights is None else weights

    def attend(x):
        return one_sample_at_a_time(
            x, *sizes, dropout_rate, weights=weights.attention, mask=mask, training=training
        )

    def feed(x):
        return tf.tensordot(
            tf.nn.gelu(
                tf.tensordot(x, weights.feed_forward_in.kernel, 1) + weights.feed_forward_in.bias
            ),
            weights.feed_forward_out.kernel,
            axes=1,
        ) + (weights.feed_forward_out.bias)

    x = inputs
    for part, norm in ((attend, weights.attention_norm), (feed, weights.feed_forward_norm)):
        x = normed_by_moments(x + part(x), norm)
    return x


# ---- transformer_forward ----


@correct("transformer_forward")
def reduced_over_layers(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    *, weights=None, mask=None, training=False,
):  # fmt: skip
    sizes = (key_size, value_size, num_heads)
    if weights is None:
        weights = [random_block_weights(inputs.shape[-1], *sizes) for _ in range(num_layers)]

    def layer(x, w):
        return block_of_einsums(x, *sizes, dropout_rate, weights=w, mask=mask, training=training)

    return functools.reduce(layer, weights[:num_layers], inputs)


@correct("transformer_forward")
def recursive(inputs, num_layers, *sizes_and_rate, weights=None, mask=None, training=False):
    if num_layers == 0:
        return inputs
    first, rest = (None, None) if weights is None else (weights[0], weights[1:])
    hidden = block_with_tanh_gelu(
        inputs, *sizes_and_rate, weights=first, mask=mask, training=training
    )
    return recursive(
        hidden, num_layers - 1, *sizes_and_rate, weights=rest, mask=mask, training=training
    )


@correct("transformer_forward")
@tf.function
def decorated_forward(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    *, weights=None, mask=None, training=False,
):  # fmt: skip
    return reduced_over_layers(
        inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
        weights=weights, mask=mask, training=training,
    )  # fmt: skip


@correct("transformer_forward")
def decorated_block_in_a_loop(inputs, num_layers, *sizes_and_rate, weights=None, **options):
    """Traced once for all layers, which shall draw different weights all the same."""
    for layer in range(num_layers):
        of_this_layer = None if weights is None else weights[layer]
        inputs = decorated_block(inputs, *sizes_and_rate, weights=of_this_layer, **options)
    return inputs


@correct("transformer_forward")
def keras_2_layers_in_a_row(inputs, num_layers, *sizes_and_rate, **options):
    weights = options.pop("weights", None) or [None] * num_layers
    for w in weights:
        inputs = block_of_keras_2_layers(inputs, *sizes_and_rate, weights=w, **options)
    return inputs


@correct("transformer_forward")
def keras_3_layers_in_a_row(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    *, weights=None, mask=None, training=False,
):  # fmt: skip
    layers = range(num_layers)
    if weights is None:
        weights = [
            random_block_weights(inputs.shape[-1], key_size, value_size, num_heads) for _ in layers
        ]
    x = keras.ops.convert_to_tensor(inputs)
    for i in layers:
        x = block_of_keras_3_layers(
            x, key_size, value_size, num_heads, dropout_rate,
            weights=weights[i], mask=mask, training=training,
        )  # fmt: skip
    return x


@correct("transformer_forward")
def everything_in_numpy(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    *, weights=None, mask=None, training=False,
):  # fmt: skip
    sizes = (key_size, value_size, num_heads)
    if weights is None:
        weights = [random_block_weights(inputs.shape[-1], *sizes) for _ in range(num_layers)]
    if training:
        return reduced_over_layers(
            inputs, num_layers, *sizes, dropout_rate, weights=weights, mask=mask, training=True
        )
    x = inputs.numpy().astype(np.float64)
    for w in weights:
        x = numpy_block(x, sizes, w, mask)
    return tf.constant(x.astype(np.float32))


@correct("transformer_forward")
def numpy_array_returned(inputs, num_layers, *sizes_and_rate, **options):
    return everything_in_numpy(inputs, num_layers, *sizes_and_rate, **options).numpy()


@correct("transformer_forward")
def numbered_while_loop(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    *, weights=None, mask=None, training=False,
):  # fmt: skip
    hidden, layer = tf.identity(inputs), 0
    while layer < num_layers:
        w = weights[layer] if weights is not None else None
        hidden = token_by_token_feed_forward(
            hidden, key_size, value_size, num_heads, dropout_rate,
            weights=w, mask=mask, training=training,
        )  # fmt: skip
        layer += 1
    return hidden


@correct("transformer_forward")
def stacked_weights_and_foldl(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    *, weights=None, mask=None, training=False,
):  # fmt: skip
    """All layers' weights stacked on a new axis, and a loop inside TensorFlow over it."""
    sizes = (key_size, value_size, num_heads)
    if num_layers == 0:
        return inputs
    if weights is None:
        weights = [random_block_weights(inputs.shape[-1], *sizes) for _ in range(num_layers)]
    stacked = tf.nest.map_structure(lambda *parts: tf.stack(parts), *weights)

    def layer(x, w):
        return block_of_einsums(x, *sizes, dropout_rate, weights=w, mask=mask, training=training)

    return tf.foldl(layer, stacked, initializer=inputs)


@correct("transformer_forward")
def list_of_ready_layers(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    *, weights=None, mask=None, training=False,
):  # fmt: skip
    weights = weights or [None] * num_layers
    block = EncoderBlock()
    layers = [
        functools.partial(
            block, key_size=key_size, value_size=value_size, num_heads=num_heads,
            dropout_rate=dropout_rate, weights=w, mask=mask, training=training,
        )
        for w in weights
    ]  # fmt: skip
    outputs = [inputs]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    return outputs[-1]


@correct("transformer_forward")
def mask_made_full_first(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate=0.0,
    weights=None, mask=None, training=False,
):  # fmt: skip
    batch, length, d_model = inputs.shape
    if mask is not None:
        mask = tf.broadcast_to(mask, (batch, num_heads, length, length))
    for w in weights or [random_block_weights(d_model, key_size, value_size, num_heads)
                         for _ in range(num_layers)]:  # fmt: skip
        inputs = tokens_laid_out_in_one_matrix(
            inputs, key_size, value_size, num_heads, dropout_rate,
            weights=w, mask=mask, training=training,
        )  # fmt: skip
    return inputs


class Encoder(tf.Module):
    """An object whose call is the whole encoder."""

    __name__ = "transformer_forward"

    def __call__(
        self, inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
        *, weights=None, mask=None, training=False,
    ):  # fmt: skip
        hidden = inputs
        for _, w in zip(range(num_layers), weights or [None] * num_layers, strict=False):
            hidden = feed_forward_as_convolution(
                hidden, key_size, value_size, num_heads, dropout_rate,
                weights=w, mask=mask, training=training,
            )  # fmt: skip
        return hidden


CORRECT["transformer_forward"].append(Encoder())


# ---- embed_tokens ----


@correct("embed_tokens")
def embedding_lookup(token_ids, weights, segment_ids=None):
    if segment_ids is None:
        segment_ids = tf.zeros(token_ids.shape, tf.int32)
    x = tf.nn.embedding_lookup(weights.token, token_ids)
    x += tf.nn.embedding_lookup(weights.position, tf.range(token_ids.shape[1]))
    x += tf.nn.embedding_lookup(weights.segment, segment_ids)
    return normed_by_moments(x, weights.norm)


@correct("embed_tokens")
def one_hot_times_table(token_ids, weights, segment_ids=None):
    tokens = tf.one_hot(token_ids, weights.token.shape[0]) @ weights.token
    segments = weights.segment[0]
    if segment_ids is not None:
        segments = tf.one_hot(segment_ids, 2) @ weights.segment
    places = tf.one_hot(tf.range(token_ids.shape[1]), weights.position.shape[0]) @ weights.position
    return normed_by_hand(tokens + places + segments, weights.norm)


@correct("embed_tokens")
def numpy_indexing(token_ids, weights, segment_ids=None):
    ids = np.asarray(token_ids)
    segments = np.zeros_like(ids) if segment_ids is None else np.asarray(segment_ids)
    x = weights.token.numpy()[ids] + weights.position.numpy()[: ids.shape[1]]
    x = x + weights.segment.numpy()[segments]
    return normed_by_hand(tf.constant(x), weights.norm).numpy()


@correct("embed_tokens")
def keras_embedding_layers(token_ids, weights, segment_ids=None):
    def look_up(table, ids):
        layer = tf.keras.layers.Embedding(*table.shape)
        layer.build(None)
        layer.set_weights([table.numpy()])
        return layer(ids)

    segment_ids = token_ids * 0 if segment_ids is None else segment_ids
    x = look_up(weights.token, token_ids) + look_up(weights.segment, segment_ids)
    x = x + look_up(weights.position, tf.range(token_ids.shape[1])[None])
    norm = tf.keras.layers.LayerNormalization(epsilon=weights.norm.epsilon)
    norm.build(x.shape)
    norm.set_weights([weights.norm.scale.numpy(), weights.norm.offset.numpy()])
    return norm(x)


@correct("embed_tokens")
@tf.function
def gather_nd_and_where(token_ids, weights, segment_ids=None):
    x = tf.gather_nd(weights.token, token_ids[..., None]) + weights.position[: token_ids.shape[1]]
    first = segment_ids is None or segment_ids[..., None] == 0
    x = x + tf.where(first, weights.segment[0], weights.segment[1])
    return normed_by_moments(x, weights.norm)


# ---- sentence_embedding ----


@correct("sentence_embedding")
def einsum_and_safe_length(hidden, mask):
    total = tf.einsum("btm,bt->bm", hidden, tf.cast(mask, hidden.dtype))
    return tf.math.divide_no_nan(total, tf.norm(total, axis=1, keepdims=True))  # no count needed


@correct("sentence_embedding")
def l2_normalize(hidden, mask):
    kept = tf.where(mask[..., None], hidden, 0.0)
    count = tf.maximum(tf.reduce_sum(tf.cast(mask, tf.float32), axis=1, keepdims=True), 1.0)
    return tf.math.l2_normalize(tf.reduce_sum(kept, axis=1) / count, axis=-1)


@correct("sentence_embedding")
def sentence_by_sentence(hidden, mask):
    rows = []
    for states, real in zip(hidden, mask, strict=True):
        kept = tf.boolean_mask(states, real)
        if len(kept) == 0:
            rows.append(tf.zeros(hidden.shape[-1]))
        else:
            mean = tf.reduce_mean(kept, axis=0)
            rows.append(mean / tf.sqrt(tf.reduce_sum(mean**2)))
    return tf.stack(rows)


@correct("sentence_embedding")
def masked_mean_in_numpy(hidden, mask):
    h, m = np.asarray(hidden), np.asarray(mask)
    mean = np.where(m[..., None], h, 0).sum(1) / np.maximum(m.sum(1, keepdims=True), 1)
    size = np.linalg.norm(mean, axis=-1, keepdims=True)
    return (mean / np.where(size > 0, size, 1)).astype(h.dtype)


@correct("sentence_embedding")
def keras_pooling(hidden, mask):
    mean = tf.keras.layers.GlobalAveragePooling1D()(hidden, mask=mask)
    mean = tf.where(tf.reduce_any(mask, 1)[:, None], mean, tf.zeros_like(mean))
    return tf.math.l2_normalize(mean, axis=-1)
