"""Wrong answers that no catalogue holds: each must be caught, and none may be given a name.

Each docstring says what is wrong. `seen` is a piece of a line that must be there: what the learner
can see, and what is true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from course_utils.exercise import variant
from course_utils.weights import linear, random_attention_weights, random_block_weights


class Stranger(NamedTuple):
    exercise: str
    answer: Callable
    seen: tuple[str, ...]


STRANGERS: list[Stranger] = []


def stranger(exercise: str, *seen: str) -> Callable[[Callable], Callable]:
    """Register a wrong answer of an unknown kind."""

    def register(answer: Callable) -> Callable:
        assert answer.__doc__, f"{answer.__name__} must say what is wrong"
        STRANGERS.append(Stranger(exercise, answer, seen))
        return answer

    return register


# ---- 00 ----


@stranger("softmax", "expected")
def softmax_of_half_the_scores(scores):
    """The temperature is 2."""
    return tf.nn.softmax(scores / 2)


@stranger("softmax", "do not sum to 1")
def adds_a_one_below(scores):
    """The sum has a 1 too many ("softmax with a sink")."""
    e = tf.exp(scores - tf.reduce_max(scores, -1, keepdims=True))
    return e / (1 + tf.reduce_sum(e, -1, keepdims=True))


@stranger("softmax", "expected")
def in_reverse_order(scores):
    """The weights come out mirrored."""
    return tf.nn.softmax(scores)[..., ::-1]


@stranger("softmax", "changes the weights")
def squares_for_exponentials(scores):
    """Squares are positive too, but forget the sign and do not bear a shift."""
    return scores**2 / tf.maximum(tf.reduce_sum(scores**2, -1, keepdims=True), 1e-9)


@stranger("softmax", "expected")
def two_decimals(scores):
    """Rounded for the eye, and so wrong by up to 0.005."""
    return tf.round(100 * tf.nn.softmax(scores)) / 100


# ---- 01 ----


def _attend(query, key, value, mask, rate, scores):
    """The rest of attention, for answers with strange scores."""
    if mask is not None:
        scores = tf.where(mask, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores)
    if mask is not None:
        weights = tf.where(mask, weights, 0.0)
    return tf.matmul(tf.nn.dropout(weights, rate), value), weights


@stranger("scaled_dot_product_attention", "expected")
def cube_root_of_the_key_size(query, key, value, mask=None, dropout_rate=0.0):
    """Scaled by the cube root of key_size."""
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** (1 / 3)
    return _attend(query, key, value, mask, dropout_rate, scores)


@stranger("scaled_dot_product_attention", "expected")
def negative_distance(query, key, value, mask=None, dropout_rate=0.0):
    """Scores are squared distances with a minus, scaled."""
    gap = tf.reduce_sum((query[:, :, :, None] - key[:, :, None]) ** 2, -1)
    return _attend(query, key, value, mask, dropout_rate, -gap / key.shape[-1] ** 0.5)


@stranger("scaled_dot_product_attention", "expected")
def the_opposite_of_the_scores(query, key, value, mask=None, dropout_rate=0.0):
    """The worst match gets the largest weight."""
    scores = -tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    return _attend(query, key, value, mask, dropout_rate, scores)


@stranger("scaled_dot_product_attention", "expected")
def values_one_place_on(query, key, value, mask=None, dropout_rate=0.0):
    """Each weight meets the value of the key before."""
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    return _attend(query, key, tf.roll(value, 1, axis=2), mask, dropout_rate, scores)


@stranger("scaled_dot_product_attention", "expected")
def scores_clipped(query, key, value, mask=None, dropout_rate=0.0):
    """Scores above 1 or below −1 are cut off."""
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    return _attend(query, key, value, mask, dropout_rate, tf.clip_by_value(scores, -1, 1))


@stranger("scaled_dot_product_attention", "expected")
def mask_of_the_first_head(query, key, value, mask=None, dropout_rate=0.0):
    """A mask with one table for each head: the first head's is used for all."""
    mask = None if mask is None or mask.shape.rank < 4 else mask[:, :1]
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    return _attend(query, key, value, mask, dropout_rate, scores)


@stranger("scaled_dot_product_attention", "expected")
def the_first_key_is_never_seen(query, key, value, mask=None, dropout_rate=0.0):
    """Key 0 gets no weight as soon as there is another key."""
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    other = tf.range(key.shape[2]) > (0 if key.shape[2] > 1 else -1)
    mask = other if mask is None else mask & other
    return _attend(query, key, value, mask, dropout_rate, scores)


@stranger("scaled_dot_product_attention", "not the weights times the values")
def output_doubled(query, key, value, mask=None, dropout_rate=0.0):
    """The weights are right, the output is twice what it should be."""
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    output, weights = _attend(query, key, value, mask, dropout_rate, scores)
    return 2 * output, weights


@stranger("scaled_dot_product_attention", "expected")
def half_precision_inside(query, key, value, mask=None, dropout_rate=0.0):
    """Computed in float16 and cast back: only three digits are left."""
    q, k, v = (tf.cast(x, tf.float16) for x in (query, key, value))
    output, weights = _attend(q, k, v, mask, 0.0, tf.matmul(q, k, transpose_b=True) / 6**0.5)
    return tf.cast(output, query.dtype), tf.cast(weights, query.dtype)


@stranger("attention_mask", "expected")
def a_window_of_two(lengths, length, causal=False):
    """A causal mask that sees only itself and the token before."""
    i = tf.range(length)
    mask = (i[None] <= i[:, None]) & (i[None] >= i[:, None] - 1) if causal else i[None] >= 0
    return mask if lengths is None else mask & (i < tf.reshape(lengths, (-1, 1, 1, 1)))


@stranger("attention_mask", "expected")
def lengths_of_the_neighbour(lengths, length, causal=False):
    """Each sequence gets the length of the one before it in the batch."""
    mask = tf.linalg.band_part(tf.ones((length, length), tf.bool), -1, 0 if causal else -1)
    if lengths is None:
        return mask
    return mask & tf.sequence_mask(tf.roll(lengths, 1, 0), length)[:, None, None]


# ---- 02 ----


@stranger("split_heads", "expected")
def tokens_backwards(inputs, num_heads):
    """The heads are right, the tokens stand in reverse order."""
    return tf.stack(tf.split(inputs, num_heads, axis=-1), axis=1)[:, :, ::-1]


@stranger("split_heads", "shape")
def heads_in_a_list(inputs, num_heads):
    """One axis too many."""
    return tf.stack(tf.split(inputs, num_heads, axis=-1), axis=1)[..., None]


@stranger("merge_heads", "expected")
def features_backwards(heads):
    """Each head's features are mirrored."""
    return tf.concat(tf.unstack(heads[..., ::-1], axis=1), axis=-1)


def _self_attention(inputs, key_size, value_size, num_heads, rate, weights, mask, training):
    return variant("self_attention")(
        inputs, key_size, value_size, num_heads, rate,
        weights=weights, mask=mask, training=training,
    )  # fmt: skip


@stranger("self_attention", "expected")
def inputs_centred(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """The mean token is subtracted first."""
    inputs = inputs - 0.5 * tf.reduce_mean(inputs, axis=-1, keepdims=True)
    return _self_attention(
        inputs, key_size, value_size, num_heads, dropout_rate, weights, mask, training
    )


@stranger("self_attention", "expected")
def first_head_dropped(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Head 0 never reaches the output, where there are more heads."""
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    if num_heads > 1:
        seen = tf.range(num_heads * value_size) >= value_size
        kernel = tf.where(seen[:, None], weights.output.kernel, 0.0)
        weights = weights._replace(output=weights.output._replace(kernel=kernel))
    return _self_attention(
        inputs, key_size, value_size, num_heads, dropout_rate, weights, mask, training
    )


@stranger("self_attention", "expected")
def output_of_the_token_before(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """All tokens' outputs are shifted by one place."""
    output = _self_attention(
        inputs, key_size, value_size, num_heads, dropout_rate, weights, mask, training
    )
    return tf.roll(output, 1, axis=1)


@stranger("self_attention", "expected")
def activation_on_the_values(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """The output goes through tanh, as an RNN's would."""
    return tf.tanh(
        _self_attention(
            inputs, key_size, value_size, num_heads, dropout_rate, weights, mask, training
        )
    )


@stranger("self_attention", "two calls with the same inputs and weights, not training, differ")
def weights_of_its_own(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """The weights are taken and forgotten: fresh ones are made in each call."""
    return variant("self_attention")(
        inputs, key_size, value_size, num_heads, dropout_rate, mask=mask, training=training
    )


@stranger("self_attention", "does not change when another token changes")
def only_itself(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Each token looks at itself alone: values and output projection, no mixing."""
    if weights is None:
        weights = random_attention_weights(inputs.shape[-1], key_size, value_size, num_heads)
    return linear(linear(inputs, weights.value), weights.output)


# ---- 03 ----


@stranger("positional_encoding", "expected")
def half_as_high(length, d_model):
    """The waves run from −0.5 to 0.5."""
    return 0.5 * variant("positional_encoding")(length, d_model)


@stranger("positional_encoding", "expected")
def from_the_end(length, d_model):
    """The last position counts as 0."""
    return variant("positional_encoding")(length, d_model)[::-1]


@stranger("layer_norm", "expected")
def mean_absolute_deviation(inputs, weights):
    """Divided by the mean absolute deviation, not the standard deviation."""
    centred = inputs - tf.reduce_mean(inputs, -1, keepdims=True)
    spread = tf.reduce_mean(tf.abs(centred), -1, keepdims=True)
    return centred / (spread + weights.epsilon) * weights.scale + weights.offset


@stranger("layer_norm", "expected")
def centred_by_the_median(inputs, weights):
    """The middle feature is subtracted, not the mean."""
    middle = tf.sort(inputs, axis=-1)[..., inputs.shape[-1] // 2, None]
    spread = tf.math.reduce_variance(inputs, -1, keepdims=True) + weights.epsilon
    return (inputs - middle) / tf.sqrt(spread) * weights.scale + weights.offset


@stranger("layer_norm", "expected")
def offset_taken_away(inputs, weights):
    """The offset is subtracted."""
    return variant("layer_norm")(inputs, weights._replace(offset=-weights.offset))


@stranger("feed_forward", "expected")
def softplus(inputs, layer_in, layer_out):
    """Softplus between the layers."""
    return linear(tf.nn.softplus(linear(inputs, layer_in)), layer_out)


@stranger("feed_forward", "expected")
def gelu_in_the_middle_and_squared(inputs, layer_in, layer_out):
    """The hidden layer is squared after its GELU."""
    return linear(tf.nn.gelu(linear(inputs, layer_in)) ** 2, layer_out)


def _block(inputs, sizes, rate, weights, mask, training, attended=1.0, fed=1.0):
    """A block in which a sub-layer's share of the residual sum is not 1."""
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], *sizes)
    x = attended * _self_attention(inputs, *sizes, rate, weights.attention, mask, training)
    x = variant("layer_norm")(inputs + x, weights.attention_norm)
    y = variant("feed_forward")(x, weights.feed_forward_in, weights.feed_forward_out)
    return variant("layer_norm")(x + fed * y, weights.feed_forward_norm)


@stranger("encoder_block", "expected")
def half_the_attention(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Attention counts half in the residual sum."""
    sizes = (key_size, value_size, num_heads)
    return _block(inputs, sizes, dropout_rate, weights, mask, training, attended=0.5)


@stranger("encoder_block", "expected")
def feed_forward_taken_away(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """The feed-forward layer's output is subtracted."""
    sizes = (key_size, value_size, num_heads)
    return _block(inputs, sizes, dropout_rate, weights, mask, training, fed=-1.0)


@stranger("encoder_block", "expected")
def attention_runs_twice(
    inputs, key_size, value_size, num_heads, dropout_rate, weights=None, mask=None, training=False
):
    """Attention is applied to its own output once more."""
    sizes = (key_size, value_size, num_heads)
    if weights is None:
        weights = random_block_weights(inputs.shape[-1], *sizes)
    attention = weights.attention
    once = _self_attention(inputs, *sizes, dropout_rate, attention, mask, training)
    x = inputs + _self_attention(once, *sizes, dropout_rate, attention, mask, training)
    x = variant("layer_norm")(x, weights.attention_norm)
    y = variant("feed_forward")(x, weights.feed_forward_in, weights.feed_forward_out)
    return variant("layer_norm")(x + y, weights.feed_forward_norm)


@stranger("transformer_forward", "expected")
def each_layer_twice(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    weights=None, mask=None, training=False,
):  # fmt: skip
    """Every layer is applied two times in a row."""
    hidden = inputs
    for layer in range(2 * num_layers):
        hidden = variant("encoder_block")(
            hidden, key_size, value_size, num_heads, dropout_rate,
            weights=weights and weights[layer // 2], mask=mask, training=training,
        )  # fmt: skip
    return hidden


@stranger("transformer_forward", "expected")
def layers_joined_by_another_residual(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    weights=None, mask=None, training=False,
):  # fmt: skip
    """The inputs are averaged into every layer's input."""
    hidden = inputs
    for layer in range(num_layers):
        hidden = variant("encoder_block")(
            (hidden + inputs) / 2, key_size, value_size, num_heads, dropout_rate,
            weights=weights and weights[layer], mask=mask, training=training,
        )  # fmt: skip
    return hidden


@stranger("transformer_forward", "expected")
def mask_turned_over_after_the_first_layer(
    inputs, num_layers, key_size, value_size, num_heads, dropout_rate,
    weights=None, mask=None, training=False,
):  # fmt: skip
    """Only the second layer gets the mask."""
    hidden = inputs
    for layer in range(num_layers):
        hidden = variant("encoder_block")(
            hidden, key_size, value_size, num_heads, dropout_rate,
            weights=weights and weights[layer],
            mask=mask if layer == 1 else None, training=training,
        )  # fmt: skip
    return hidden


# ---- 04 ----


@stranger("embed_tokens", "expected")
def the_next_word_s_row(token_ids, weights, segment_ids=None):
    """Each token gets the row after its own (the last one gets the first)."""
    weights = weights._replace(token=tf.roll(weights.token, -1, axis=0))
    return variant("embed_tokens")(token_ids, weights, segment_ids)


@stranger("embed_tokens", "expected")
def positions_count_half(token_ids, weights, segment_ids=None):
    """The position table is halved."""
    weights = weights._replace(position=weights.position / 2)
    return variant("embed_tokens")(token_ids, weights, segment_ids)


@stranger("sentence_embedding", "expected")
def later_tokens_count_more(hidden, mask):
    """A weighted mean: token i counts i + 1 times."""
    share = tf.range(1.0, hidden.shape[1] + 1)[None, :, None]
    return variant("sentence_embedding")(hidden * share, mask)


@stranger("sentence_embedding", "do not have length 1")
def twice_as_long(hidden, mask):
    """The vectors have length 2."""
    return 2 * variant("sentence_embedding")(hidden, mask)


@stranger("sentence_embedding", "expected")
def every_second_sentence_turned(hidden, mask):
    """Every second vector points the other way."""
    signs = np.where(np.arange(len(hidden)) % 2, -1.0, 1.0).astype("float32")
    return variant("sentence_embedding")(hidden, mask) * signs[:, None]


# ---- 05 ----


@stranger("learning_rate", "expected", "never at its peak")
def half_the_rate(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    """Everything is half as large."""
    return variant("learning_rate")(step, total_steps, warmup_steps, peak, first, last) / 2


@stranger("learning_rate", "expected")
def on_a_logarithmic_scale(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    """The way up is a straight line of the logarithm."""
    if step < warmup_steps:
        return (first + 1e-3) ** (1 - step / warmup_steps) * peak ** (step / warmup_steps)
    return variant("learning_rate")(step, total_steps, warmup_steps, peak, first, last)


@stranger("learning_rate", "expected")
def in_stairs_of_two(step, total_steps, warmup_steps, peak, first=0.0, last=0.0):
    """The rate changes at every second step only."""
    step -= step % 2
    return variant("learning_rate")(step, total_steps, warmup_steps, peak, first, last)


@stranger("classification_head", "tokens after the first one change the scores")
def second_token(hidden, weights, dropout_rate=0.0, training=False):
    """The second token is pooled (the first, if there is no other)."""
    return variant("classification_head")(hidden[:, 1:2] if hidden.shape[1] > 1 else hidden,
                                          weights, dropout_rate, training)  # fmt: skip


@stranger("classification_head", "expected")
def temperature_of_two(hidden, weights, dropout_rate=0.0, training=False):
    """The scores are halved."""
    return variant("classification_head")(hidden, weights, dropout_rate, training) / 2


@stranger("classification_head", "expected")
def classes_reversed(hidden, weights, dropout_rate=0.0, training=False):
    """The columns come out mirrored."""
    return variant("classification_head")(hidden, weights, dropout_rate, training)[:, ::-1]


@stranger("train_step", "expected")
def label_smoothing(model, weights, inputs, labels, rate, max_norm=1.0):
    """A tenth of each label is spread over all classes."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        scores = model(inputs, weights)
        targets = 0.9 * tf.one_hot(labels, scores.shape[-1]) + 0.1 / scores.shape[-1]
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, scores))
    clipped, _ = tf.clip_by_global_norm(tape.gradient(loss, weights), max_norm)
    return loss, tuple(w - rate * g for w, g in zip(weights, clipped, strict=True))


@stranger("train_step", "expected")
def weight_decay(model, weights, inputs, labels, rate, max_norm=1.0):
    """The weights shrink by a hundredth as well."""
    loss, new = variant("train_step")(model, weights, inputs, labels, rate, max_norm)
    return loss, tuple(w - rate * 0.01 * old for w, old in zip(new, weights, strict=True))


@stranger("train_step", "expected")
def two_steps(model, weights, inputs, labels, rate, max_norm=1.0):
    """Two steps are taken."""
    loss, weights = variant("train_step")(model, weights, inputs, labels, rate, max_norm)
    return loss, variant("train_step")(model, weights, inputs, labels, rate, max_norm)[1]


@stranger("macro_f1", "expected")
def f2(labels, predictions, num_classes):
    """Recall counts four times."""
    labels, predictions, scores = np.asarray(labels), np.asarray(predictions), []
    for c in range(num_classes):
        true, said = np.sum(labels == c), np.sum(predictions == c)
        if true + said:
            scores.append(5 * np.sum((labels == c) & (predictions == c)) / (4 * true + said))
    return float(np.mean(scores))


@stranger("macro_f1", "does not get 1")
def smoothed(labels, predictions, num_classes):
    """One is added above and below, so that nothing is divided by 0."""
    labels, predictions, scores = np.asarray(labels), np.asarray(predictions), []
    for c in range(num_classes):
        hits = np.sum((labels == c) & (predictions == c))
        scores.append((2 * hits + 1) / (np.sum(labels == c) + np.sum(predictions == c) + 2))
    return float(np.mean(scores))


@stranger("macro_f1", "it changes when labels and predictions change places")
def size_of_the_predictions(labels, predictions, num_classes):
    """Classes are weighted by how often they are predicted."""
    labels, predictions, scores = np.asarray(labels), np.asarray(predictions), []
    for c in range(num_classes):
        said = predictions == c
        total = np.sum(labels == c) + np.sum(said)
        if total:
            scores.append(2 * np.sum((labels == c) & said) / total * np.mean(said))
    return float(np.sum(scores))
