"""The article's two functions, written anew from its algorithm, with all its faults.

Its attention splits its inputs by a helper that the article never shows, has no projections, no
scale, no weights, drops attention always, and splits heads again where it should merge them. Its
Transformer is one dense layer used again and again, with no attention.
"""

from __future__ import annotations

import tensorflow as tf


def self_attention_without_helper(inputs, key_size, value_size, num_heads, dropout_rate):
    """As published: split_heads does not exist."""
    query, key, value = split_heads(inputs, num_heads, key_size, value_size)  # noqa: F821
    scores = tf.matmul(query, key, transpose_b=True)
    shares = tf.nn.dropout(tf.nn.softmax(scores, axis=-1), rate=dropout_rate)
    mixed = tf.matmul(shares, value)
    return tf.concat(split_heads(mixed, num_heads, key_size, value_size), axis=-1)  # noqa: F821


def charitable_split_heads(inputs, num_heads, key_size, value_size):
    """The most that could have been meant: three fresh projections, split into heads."""
    inputs = tf.reshape(inputs, (inputs.shape[0], -1, inputs.shape[-1]))
    parts = []
    for size in (key_size, key_size, value_size):
        projected = tf.keras.layers.Dense(num_heads * size, use_bias=False)(inputs)
        parts.append(tf.stack(tf.split(projected, num_heads, axis=-1), axis=1))
    return parts


def self_attention_with_helper(inputs, key_size, value_size, num_heads, dropout_rate):
    """With the charitable helper; the second call then makes queries, keys, values once more."""
    query, key, value = charitable_split_heads(inputs, num_heads, key_size, value_size)
    scores = tf.matmul(query, key, transpose_b=True)
    shares = tf.nn.dropout(tf.nn.softmax(scores, axis=-1), rate=dropout_rate)
    mixed = tf.matmul(shares, value)
    return tf.concat(charitable_split_heads(mixed, num_heads, key_size, value_size), axis=-1)


def transformer_forward(inputs, num_layers, key_size, value_size, num_heads, dropout_rate):
    """One dense layer with a ReLU, made once and applied num_layers times."""
    layer = tf.keras.layers.Dense(
        value_size,
        activation="relu",
        use_bias=False,
        kernel_initializer=tf.keras.initializers.GlorotUniform(),
    )
    for _ in range(num_layers):
        inputs = layer(inputs)
    return inputs


def transformer_forward_of_equal_width(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate
):
    """The same with value_size = d_model, the only width with which it runs at all."""
    d_model = inputs.shape[-1]
    return transformer_forward(inputs, num_layers, key_size, d_model, num_heads, dropout_rate)


def with_the_course_s_arguments(article_s):
    """Take and ignore the arguments that complete the signature."""

    def answer(*sizes, weights=None, mask=None, training=False):
        return article_s(*sizes)

    answer.__name__ = article_s.__name__
    return answer
