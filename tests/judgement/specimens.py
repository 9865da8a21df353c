"""Answers to the specimens of 07: right ones in other styles, known mistakes, and strangers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from course_utils.exercise import variant
from course_utils.weights import linear

from .correct_variants import correct
from .other_styles import written
from .strangers import stranger


def _heads(inputs, weights, num_heads) -> list:
    """Queries, keys and values (num_heads, batch, length, size), cut by tf.split."""
    return [
        tf.stack(tf.split(linear(inputs, layer), num_heads, axis=-1)) for layer in weights[:3]
    ]


def _joined(heads) -> tf.Tensor:
    return tf.concat(tf.unstack(heads), axis=-1)


def _attend(query, key, value, factor=None, hidden=None, axis=-1) -> tf.Tensor:
    """Attention by einsum; `hidden` is 1 where a key must not be seen."""
    factor = key.shape[-1] ** -0.5 if factor is None else factor
    scores = tf.einsum("...qd,...kd->...qk", query, key) * factor
    if hidden is not None:
        scores -= 1e9 * hidden
    return tf.einsum("...qk,...kd->...qd", tf.nn.softmax(scores, axis=axis), value)


def _no(real) -> tf.Tensor:
    return 1.0 - tf.cast(real, tf.float32)


# ---- published_self_attention ----


def _self_attention(inputs, num_heads, rate, weights, training, factor=None):
    query, key, value = _heads(inputs, weights, num_heads)
    factor = key.shape[-1] ** -0.5 if factor is None else factor
    shares = tf.nn.softmax(factor * tf.einsum("hbqd,hbkd->hbqk", query, key))
    if training:
        shares = tf.nn.dropout(shares, rate)
    return linear(_joined(tf.matmul(shares, value)), weights.output)


@correct("published_self_attention")
def split_and_concat(inputs, key_size, value_size, num_heads, rate, weights, training=False):
    return _self_attention(inputs, num_heads, rate, weights, training)


@written("published_self_attention", "scale_by_d_model")
def width_of_the_input(inputs, key_size, value_size, num_heads, rate, weights, training=False):
    factor = inputs.shape[-1] ** -0.5
    return _self_attention(inputs, num_heads, rate, weights, training, factor)


@stranger("published_self_attention", "expected")
def half_the_temperature(inputs, key_size, value_size, num_heads, rate, weights, training=False):
    """The scores are twice as large as they should be."""
    factor = 2 * key_size**-0.5
    return _self_attention(inputs, num_heads, rate, weights, training, factor)


# ---- published_transformer ----


def _transformer(inputs, layers, keep=1.0, add=1.0):
    for layer in layers:
        query, key, value = (linear(inputs, part) for part in layer.attention[:3])
        attended = linear(_attend(query, key, value), layer.attention.output)
        inputs = keep * inputs + add * attended
        inner = tf.maximum(linear(inputs, layer.feed_forward_in), 0)
        inputs += linear(inner, layer.feed_forward_out)
    return inputs


@correct("published_transformer")
def added_in_place(inputs, layers):
    return _transformer(inputs, layers)


@written("published_transformer", "no_attention_residual")
def only_what_attention_gives(inputs, layers):
    return _transformer(inputs, layers, keep=0.0)


@stranger("published_transformer", "expected")
def attention_counts_half(inputs, layers):
    """What attention gives is halved before it is added."""
    return _transformer(inputs, layers, add=0.5)


# ---- classifier_attention ----


@correct("classifier_attention")
def heads_in_front(inputs, weights, num_heads):
    return linear(_joined(_attend(*_heads(inputs, weights, num_heads))), weights.output)


@written("classifier_attention", "scale_by_all_heads")
def width_of_the_kernel(inputs, weights, num_heads):
    factor = weights.key.kernel.shape[-1] ** -0.5
    heads = _heads(inputs, weights, num_heads)
    return linear(_joined(_attend(*heads, factor)), weights.output)


@stranger("classifier_attention", "expected")
def heads_in_reverse(inputs, weights, num_heads):
    """The output projection gets the heads in reverse, and the values are doubled."""
    heads = _attend(*_heads(inputs, weights, num_heads))[::-1]
    return linear(_joined(2 * heads), weights.output)


# ---- matching_attention ----


@correct("matching_attention")
def a_billion_taken_away(question, answer, answer_is_real):
    return _attend(question, answer, answer, 1.0, _no(answer_is_real)[:, None])


@written("matching_attention", "mask_inverted")
def a_billion_taken_from_the_real(question, answer, answer_is_real):
    hidden = tf.cast(answer_is_real, tf.float32)[:, None]
    return _attend(question, answer, answer, 1.0, hidden)


@stranger("matching_attention", "expected")
def scaled_although_plain(question, answer, answer_is_real):
    """The contract wants plain dot products."""
    return _attend(question, answer, answer, 0.5, _no(answer_is_real)[:, None])


# ---- vision_attention ----


def _vision(patches, weights, num_heads, visible, factor=None):
    heads = _heads(patches, weights, num_heads)
    return linear(_joined(_attend(*heads, factor, _no(visible)[:, None])), weights.output)


@correct("vision_attention")
def hidden_by_subtraction(patches, weights, num_heads, visible):
    return _vision(patches, weights, num_heads, visible)


@written("vision_attention", "scale_by_d_model")
def width_of_a_patch(patches, weights, num_heads, visible):
    return _vision(patches, weights, num_heads, visible, patches.shape[-1] ** -0.5)


@stranger("vision_attention", "expected")
def scale_without_root(patches, weights, num_heads, visible):
    """Divided by the width of a head, not by its root."""
    size = weights.key.kernel.shape[-1] // num_heads
    return _vision(patches, weights, num_heads, visible, 1 / size)


# ---- translator_attention ----


def _translator(target, source, weights, hidden, factor=None):
    query = linear(target, weights.query)
    key, value = linear(source, weights.key), linear(source, weights.value)
    return linear(_attend(query, key, value, factor, hidden), weights.output)


@correct("translator_attention")
def source_padding_subtracted(target, source, weights, target_is_real, source_is_real):
    return _translator(target, source, weights, _no(source_is_real)[:, None])


@written("translator_attention", "mask_ignored")
def everybody_sees_everything(target, source, weights, target_is_real, source_is_real):
    return _translator(target, source, weights, None)


@stranger("translator_attention", "expected")
def scale_of_one_half(target, source, weights, target_is_real, source_is_real):
    """The scale is a number that has nothing to do with the sizes."""
    return _translator(target, source, weights, _no(source_is_real)[:, None], 0.5)


# ---- chunk_attention ----


@correct("chunk_attention")
def last_rows_of_the_triangle(queries, keys, values):
    triangle = np.tril(np.ones((keys.shape[1], keys.shape[1]), np.float32))
    return _attend(queries, keys, values, None, 1 - triangle[-queries.shape[1] :])


@written("chunk_attention", "causal_ignored")
def no_triangle(queries, keys, values):
    return _attend(queries, keys, values)


@stranger("chunk_attention", "expected")
def sees_two_tokens_back(queries, keys, values):
    """Only itself and the token before it."""
    band = np.tril(np.ones((keys.shape[1], keys.shape[1]), np.float32))
    band -= np.tril(band, -2)
    return _attend(queries, keys, values, None, 1 - band[-queries.shape[1] :])


# ---- decoding_step ----


def _decoding(inputs, past_keys, past_values, weights, factor=None):
    query, new_key, new_value = (linear(inputs, layer)[:, None] for layer in weights[:3])
    keys, values = tf.concat([past_keys, new_key], 1), tf.concat([past_values, new_value], 1)
    return linear(_attend(query, keys, values, factor)[:, 0], weights.output), keys, values


@correct("decoding_step")
def position_by_gather(token, position_table, past_keys, past_values, weights):
    position = tf.gather(position_table, past_keys.shape[1])
    return _decoding(token + position, past_keys, past_values, weights)


@written("decoding_step", "no_positions")
def token_as_it_comes(token, position_table, past_keys, past_values, weights):
    return _decoding(token, past_keys, past_values, weights)


@stranger("decoding_step", "expected")
def always_the_last_position(token, position_table, past_keys, past_values, weights):
    """Every token stands at the end of the table."""
    return _decoding(token + position_table[-1], past_keys, past_values, weights)


# ---- review_vectors ----


@correct("review_vectors")
def exponentials_by_hand(tokens, is_real, question):
    scores = tf.linalg.matvec(tokens, question) / question.shape[0] ** 0.5
    lowest = tf.where(is_real, scores, scores.dtype.min)
    e = tf.exp(lowest - tf.reduce_max(lowest, -1, keepdims=True)) * tf.cast(is_real, tf.float32)
    shares = tf.math.divide_no_nan(e, tf.reduce_sum(e, -1, keepdims=True))
    return tf.einsum("bt,btd->bd", shares, tokens)


@written("review_vectors", "row_of_nothing_uniform")
def all_equally_hidden(tokens, is_real, question):
    scores = tf.linalg.matvec(tokens, question) / question.shape[0] ** 0.5
    shares = tf.nn.softmax(tf.where(is_real, scores, -1e9))
    return tf.einsum("bt,btd->bd", shares, tokens)


@stranger("review_vectors", "expected")
def plain_mean(tokens, is_real, question):
    """The question is not asked at all."""
    real = tf.cast(is_real, tf.float32)
    total = tf.einsum("bt,btd->bd", real, tokens)
    return tf.math.divide_no_nan(total, tf.reduce_sum(real, 1, keepdims=True))


# ---- feed_forward_sublayer ----


def _sublayer(inputs, norm, layer_in, layer_out, axis=-1, factor=1.0):
    mean, variance = tf.nn.moments(inputs, [axis], keepdims=True)
    normed = tf.nn.batch_normalization(
        inputs, mean, variance, norm.offset, norm.scale, norm.epsilon
    )
    return inputs + factor * linear(tf.maximum(linear(normed, layer_in), 0), layer_out)


@correct("feed_forward_sublayer")
def by_moments(inputs, norm, layer_in, layer_out):
    return _sublayer(inputs, norm, layer_in, layer_out)


@written("feed_forward_sublayer", "norm_over_length")
def by_moments_of_the_length(inputs, norm, layer_in, layer_out):
    return _sublayer(inputs, norm, layer_in, layer_out, axis=1)


@stranger("feed_forward_sublayer", "expected")
def half_the_result(inputs, norm, layer_in, layer_out):
    """What the network gives is halved."""
    return _sublayer(inputs, norm, layer_in, layer_out, factor=0.5)


# ---- position_table ----


def _table(length, d_model, first=0, phase=0.0):
    angles = np.arange(first, length + first)[:, None] / 10000 ** (
        np.arange(0, d_model, 2) / d_model
    )
    pairs = np.stack([np.sin(angles + phase), np.cos(angles + phase)], axis=-1)
    return tf.constant(pairs.reshape(length, d_model).astype(np.float32))


@correct("position_table")
def pairs_stacked(length, d_model):
    return _table(length, d_model)


@written("position_table", "positions_from_one")
def pairs_from_one(length, d_model):
    return _table(length, d_model, first=1)


@stranger("position_table", "expected")
def shifted_phase(length, d_model):
    """All angles are half a radian too large."""
    return _table(length, d_model, phase=0.5)


# ---- windows_of_text ----


def _windows(token_ids, window, stride, more):
    ids, windows, start = token_ids.numpy().tolist(), [], 0
    while not windows or more(start, len(ids)):
        piece = ids[start : start + window]
        windows.append(piece + [0] * (window - len(piece)))
        start += stride
    return tf.constant(windows, tf.int32)


@correct("windows_of_text")
def until_the_end_is_reached(token_ids, window, stride):
    return _windows(
        token_ids, window, stride, lambda start, length: start - stride + window < length
    )


@written("windows_of_text", "windows_after_the_end")
def until_no_token_is_left(token_ids, window, stride):
    return _windows(token_ids, window, stride, lambda start, length: start < length)


@stranger("windows_of_text", "expected")
def filled_with_minus_one(token_ids, window, stride):
    """The padding is −1."""
    windows = until_the_end_is_reached(token_ids, window, stride)
    return tf.where(windows == 0, -1, windows)


# ---- noam_rate ----


def _rates(steps, d_model, warmup_steps, first=1, power=-0.5):
    n = np.asarray(steps, np.float64) + first
    rates = d_model**-0.5 * np.minimum(n**power, n * float(warmup_steps) ** (power - 1))
    return tf.constant(rates, tf.float32)


@correct("noam_rate")
def in_double_precision(steps, d_model, warmup_steps):
    return _rates(steps, d_model, warmup_steps)


@written("noam_rate", "warmup_one_step_early")
def from_two(steps, d_model, warmup_steps):
    return _rates(steps, d_model, warmup_steps, first=2)


@stranger("noam_rate", "expected")
def falls_faster(steps, d_model, warmup_steps):
    """It falls as 1/n after the warm-up."""
    return _rates(steps, d_model, warmup_steps, power=-1.0)


# ---- translation_loss ----


def _mean_loss(logits, labels, is_real):
    likely = tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=2)
    return -tf.reduce_mean(tf.boolean_mask(likely, is_real))


@correct("translation_loss")
def by_boolean_mask(logits, labels, is_real):
    return _mean_loss(logits, labels, is_real)


@written("translation_loss", "softmax_before_loss")
def softmax_and_log_softmax(logits, labels, is_real):
    return _mean_loss(tf.nn.softmax(logits), labels, is_real)


@stranger("translation_loss", "expected")
def bits_for_nats(logits, labels, is_real):
    """The logarithm has base 2."""
    return _mean_loss(logits, labels, is_real) / np.float32(np.log(2))


# ---- encoder_from_a_forum ----


def _encoder(inputs, is_real, layers, num_heads, factor=1.0, read=None, second="feed_forward_norm"):
    """The encoder out of the course's own parts; `read` is what every layer reads, if not the last.

    Every layer of the cases has key_size 18 / num_heads and value_size 12 / num_heads.
    """
    attend, norm = variant("self_attention"), variant("layer_norm")
    sizes = (18 // num_heads, 12 // num_heads, num_heads, 0.0)
    hidden = inputs
    for layer in layers:
        x = hidden if read is None else read
        mask = is_real[:, None, None, :]
        attended = factor * attend(x, *sizes, weights=layer.attention, mask=mask)
        x = norm(x + attended, layer.attention_norm)
        inner = tf.nn.relu(linear(x, layer.feed_forward_in))
        hidden = norm(x + linear(inner, layer.feed_forward_out), getattr(layer, second))
    return hidden


@correct("encoder_from_a_forum")
def out_of_the_course_s_parts(inputs, is_real, layers, num_heads):
    return _encoder(inputs, is_real, layers, num_heads)


@written("encoder_from_a_forum", "layers_read_inputs", "one_norm_twice")
def half_repaired(inputs, is_real, layers, num_heads):
    return _encoder(inputs, is_real, layers, num_heads, read=inputs, second="attention_norm")


@stranger("encoder_from_a_forum", "expected")
def attention_counts_double(inputs, is_real, layers, num_heads):
    """What attention gives is doubled before it is added."""
    return _encoder(inputs, is_real, layers, num_heads, factor=2.0)
