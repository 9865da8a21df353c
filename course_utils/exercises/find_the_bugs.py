"""07: specimens of real, published mistakes, written anew; the learner starts from broken code.

Where the mistakes were seen stands in the notebook, in the note after each specimen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from course_utils.exercise import Call, Case, Exercise, Mistake, Probe
from course_utils.exercises.multi_head_attention import SELF_ATTENTION_CASES
from course_utils.inputs import (
    D_FF,
    D_MODEL,
    SIZES,
    Twice,
    attention_weights,
    block_weights,
    linear_layer,
    norm_weights,
    normal,
)
from course_utils.weights import AttentionWeights, BlockWeights, Linear, NormWeights, linear

# ---- the specimens, repaired ----


def published_self_attention(
    inputs: tf.Tensor,
    key_size: int,
    value_size: int,
    num_heads: int,
    dropout_rate: float,
    weights: AttentionWeights,
    training: bool = False,
) -> tf.Tensor:
    """Multi-head self-attention without a mask ("Attention Is All You Need", 3.2.2).

    inputs: (batch, length, d_model)
    key_size, value_size: width of one head's queries and keys, and of its values
    dropout_rate: share of attention weights dropped, only if `training`
    weights: the four projections; head h owns the columns h * size to (h + 1) * size
    Returns (batch, length, d_model).
    """

    def split_heads(projected, size):
        heads = tf.reshape(projected, (batch, length, num_heads, size))
        return tf.transpose(heads, (0, 2, 1, 3))

    batch, length, _ = inputs.shape
    queries = split_heads(linear(inputs, weights.query), key_size)
    keys = split_heads(linear(inputs, weights.key), key_size)
    values = split_heads(linear(inputs, weights.value), value_size)

    scores = tf.matmul(queries, keys, transpose_b=True) / key_size**0.5
    attention = tf.nn.softmax(scores, axis=-1)
    attention = tf.nn.dropout(attention, rate=dropout_rate if training else 0.0)
    output = tf.matmul(attention, values)
    output = tf.transpose(output, (0, 2, 1, 3))
    output = tf.reshape(output, (batch, length, num_heads * value_size))
    return linear(output, weights.output)


def published_transformer(inputs: tf.Tensor, layers: Sequence[BlockWeights]) -> tf.Tensor:
    """A Transformer encoder in short: one head in each layer, no mask, no norms.

    Each layer has its own weights. It adds attention to what came in, and to that sum what the
    feed-forward network (linear, ReLU, linear) gives for it. Attention is scaled by 1/√key_size
    and ends with the output projection. The norms among the weights are not used.

    inputs: (batch, length, d_model); layers: the weights of each layer. Same shape back.
    """
    hidden = inputs
    for layer in layers:
        queries, keys, values = (linear(hidden, part) for part in layer.attention[:3])
        scores = tf.matmul(queries, keys, transpose_b=True) / keys.shape[-1] ** 0.5
        mixed = tf.matmul(tf.nn.softmax(scores, axis=-1), values)
        hidden = hidden + linear(mixed, layer.attention.output)
        inner = tf.nn.relu(linear(hidden, layer.feed_forward_in))
        hidden = hidden + linear(inner, layer.feed_forward_out)
    return hidden


def classifier_attention(
    inputs: tf.Tensor, weights: AttentionWeights, num_heads: int
) -> tf.Tensor:
    """The multi-head self-attention of a text classifier, without a mask.

    Head h owns a run of neighbouring columns of each projection, and of the output projection's
    rows: h * size to (h + 1) * size. Scores are scaled by 1/√key_size.

    inputs: (batch, length, d_model); weights: the four projections. Returns the shape of inputs.
    """
    batch, length, _ = inputs.shape
    heads = []
    for layer in (weights.query, weights.key, weights.value):
        projected = linear(inputs, layer)
        projected = tf.reshape(projected, (batch, length, num_heads, -1))
        projected = tf.transpose(projected, (0, 2, 1, 3))
        heads.append(projected)
    queries, keys, values = heads

    scale = keys.shape[-1] ** -0.5
    scores = tf.matmul(queries, keys, transpose_b=True) * scale
    context = tf.matmul(tf.nn.softmax(scores, axis=-1), values)
    context = tf.transpose(context, (0, 2, 1, 3))
    context = tf.reshape(context, (batch, length, -1))
    return linear(context, weights.output)


def matching_attention(
    question: tf.Tensor, answer: tf.Tensor, answer_is_real: tf.Tensor
) -> tf.Tensor:
    """For each token of a question, the average of the answer's tokens that match it.

    The weights are the softmax of the plain dot products (no scale). Padding gets no weight.

    question: (batch, question_len, width); answer: (batch, answer_len, width)
    answer_is_real: (batch, answer_len), False = padding; every answer has a real token
    Returns (batch, question_len, width).
    """
    scores = tf.matmul(question, answer, transpose_b=True)
    scores = tf.where(answer_is_real[:, None, :], scores, -1e7)
    weights = tf.nn.softmax(scores, axis=-1)
    return tf.matmul(weights, answer)


def vision_attention(
    patches: tf.Tensor, weights: AttentionWeights, num_heads: int, visible: tf.Tensor
) -> tf.Tensor:
    """Scaled multi-head self-attention over the patches of an image.

    patches: (batch, length, d_model); weights: the four projections
    visible: (batch, length), True = the patch may be looked at; every image has one
    Returns (batch, length, d_model).
    """
    batch, length, _ = patches.shape
    queries, keys, values = (
        tf.transpose(
            tf.reshape(linear(patches, layer), (batch, length, num_heads, -1)), (0, 2, 1, 3)
        )
        for layer in (weights.query, weights.key, weights.value)
    )
    mask = visible[:, None, None, :]
    scale = queries.shape[-1] ** -0.5
    scores = tf.matmul(queries, keys, transpose_b=True) * scale
    scores = tf.where(mask, scores, scores.dtype.min)
    attention = tf.nn.softmax(scores, axis=-1)
    output = tf.transpose(tf.matmul(attention, values), (0, 2, 1, 3))
    return linear(tf.reshape(output, (batch, length, -1)), weights.output)


def translator_attention(
    target: tf.Tensor,
    source: tf.Tensor,
    weights: AttentionWeights,
    target_is_real: tf.Tensor,
    source_is_real: tf.Tensor,
) -> tf.Tensor:
    """Cross-attention of a translator's decoder, with one head, scaled.

    Each target token asks; the source's tokens answer. Nobody may look at the source's padding.
    What comes out for the target's padding is used by nobody, but it is computed like the rest.

    target: (batch, target_len, d_model); source: (batch, source_len, d_model)
    target_is_real, source_is_real: (batch, length), False = padding; every source has a real token
    Returns (batch, target_len, d_model).
    """
    queries = linear(target, weights.query)
    keys = linear(source, weights.key)
    values = linear(source, weights.value)
    padding_mask = source_is_real[:, None, :]
    scores = tf.matmul(queries, keys, transpose_b=True) / keys.shape[-1] ** 0.5
    scores = tf.where(padding_mask, scores, scores.dtype.min)
    mixed = tf.matmul(tf.nn.softmax(scores, axis=-1), values)
    return linear(mixed, weights.output)


def chunk_attention(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Causal attention for the newest tokens of a text, scaled by 1/√key_size.

    The keys and values of the whole text are there, the queries only of its last query_len
    tokens. Each token may look at itself and at everything before it.

    queries: (batch, query_len, key_size); keys: (batch, key_len, key_size)
    values: (batch, key_len, value_size). Returns (batch, query_len, value_size).
    """
    query_len, key_len = queries.shape[1], keys.shape[1]
    query_positions = tf.range(key_len - query_len, key_len)
    key_positions = tf.range(key_len)
    may_look = key_positions[None, :] <= query_positions[:, None]
    scores = tf.matmul(queries, keys, transpose_b=True) / keys.shape[-1] ** 0.5
    scores = tf.where(may_look, scores, scores.dtype.min)
    return tf.matmul(tf.nn.softmax(scores, axis=-1), values)


def decoding_step(
    token: tf.Tensor,
    position_table: tf.Tensor,
    past_keys: tf.Tensor,
    past_values: tf.Tensor,
    weights: AttentionWeights,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Put one more token at the end of a text, and attend from it to the whole text, itself too.

    token: (batch, d_model), the new token's embedding, without its position
    position_table: (max_length, d_model); row t belongs to position t, counted from 0
    past_keys, past_values: (batch, past, size), those of the tokens before it
    weights: the projections of one head; scores are scaled by 1/√key_size
    Returns the output (batch, d_model), and keys and values (batch, past + 1, size), the new
        token's last.
    """
    past = past_keys.shape[1]
    inputs = (token + position_table[past])[:, None, :]
    query = linear(inputs, weights.query)
    new_key = linear(inputs, weights.key)
    new_value = linear(inputs, weights.value)

    keys = tf.concat([past_keys, new_key], axis=1)
    values = tf.concat([past_values, new_value], axis=1)
    scores = tf.matmul(query, keys, transpose_b=True) / query.shape[-1] ** 0.5
    mixed = tf.matmul(tf.nn.softmax(scores, axis=-1), values)
    output = linear(mixed, weights.output)[:, 0]
    return output, keys, values


def review_vectors(tokens: tf.Tensor, is_real: tf.Tensor, question: tf.Tensor) -> tf.Tensor:
    """One vector for each review: the average of its tokens, weighted by how they match.

    The weights are the softmax of token · question / √width over the real tokens.
    A review without any real token gets a vector of zeros.

    tokens: (batch, length, width); is_real: (batch, length), False = padding
    question: (width,). Returns (batch, width).
    """
    width = tokens.shape[-1]
    scores = tf.reduce_sum(tokens * question, axis=-1) / width**0.5
    scores = tf.where(is_real, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores, axis=-1)
    weights = tf.where(is_real, weights, 0.0)
    return tf.reduce_sum(weights[:, :, None] * tokens, axis=1)


def feed_forward_sublayer(
    inputs: tf.Tensor, norm: NormWeights, layer_in: Linear, layer_out: Linear
) -> tf.Tensor:
    """The second half of a pre-LN block: inputs + feed_forward(layer_norm(inputs)).

    The norm gives each token mean 0 and variance 1 over its features, then scales and shifts them
    (Ba et al. 2016, section 3). The feed-forward network is linear, ReLU, linear.

    inputs: (batch, length, d_model); norm: scale, offset (d_model,) and epsilon, which is added to
        the variance. Same shape back.
    """
    mean = tf.reduce_mean(inputs, axis=-1, keepdims=True)
    deviation = inputs - mean
    variance = tf.reduce_mean(tf.square(deviation), axis=-1, keepdims=True)
    normed = deviation * tf.math.rsqrt(variance + norm.epsilon)
    normed = normed * norm.scale + norm.offset

    hidden = tf.nn.relu(linear(normed, layer_in))
    return inputs + linear(hidden, layer_out)


def position_table(length: int, d_model: int) -> tf.Tensor:
    """The sines and cosines of "Attention Is All You Need", 3.5.

    PE(position, 2i) = sin(position / 10000^(2i / d_model)), PE(position, 2i + 1) = the cosine of
    the same angle. Positions are counted from 0; d_model is even. Returns (length, d_model).
    """
    table = np.zeros((length, d_model), np.float32)
    for position in range(length):
        for i in range(0, d_model, 2):
            table[position, i] = math.sin(position / 10000 ** (i / d_model))
            table[position, i + 1] = math.cos(position / 10000 ** (i / d_model))
    return tf.constant(table)


def windows_of_text(token_ids: tf.Tensor, window: int, stride: int) -> tf.Tensor:
    """Cut a text into windows for a model that takes no more than `window` tokens.

    Each window starts `stride` tokens after the one before. The windows go on until one of them
    reaches the end of the text, and no further; a last one that is not full is filled up with 0.

    token_ids: (length,), at least one token; 1 <= stride <= window.
    Returns (num_windows, window).
    """
    length = token_ids.shape[0]
    windows = []
    for start in range(0, max(length - window, 0) + stride, stride):
        piece = token_ids[start : start + window]
        windows.append(tf.pad(piece, [[0, window - piece.shape[0]]]))
    return tf.stack(windows)


def noam_rate(steps: tf.Tensor, d_model: int, warmup_steps: int) -> tf.Tensor:
    """The learning rate of "Attention Is All You Need", 5.3, equation 3.

    1/√d_model · min(1/√n, n / warmup_steps^1.5), where n counts the updates of the weights: 1, 2, …
    The training loop counts its steps from 0, so its first update is step 0.

    steps: (any,), whole numbers from 0. Returns float32 of the same shape.
    """
    n = tf.cast(steps + 1, tf.float32)
    falling = tf.math.rsqrt(n)
    rising = n * warmup_steps**-1.5
    return d_model**-0.5 * tf.minimum(falling, rising)


def translation_loss(logits: tf.Tensor, labels: tf.Tensor, is_real: tf.Tensor) -> tf.Tensor:
    """The mean cross-entropy of all real tokens of a batch; padding does not count.

    logits: (batch, length, vocabulary), scores before softmax
    labels: (batch, length), the right words' numbers; is_real: (batch, length), False = padding
    Returns one number, float32.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    real = tf.cast(is_real, tf.float32)
    return tf.reduce_sum(losses * real) / tf.reduce_sum(real)


def encoder_from_a_forum(
    inputs: tf.Tensor, is_real: tf.Tensor, layers: Sequence[BlockWeights], num_heads: int
) -> tf.Tensor:
    """A Transformer encoder, post-LN ("Attention Is All You Need", 3.1), with a ReLU.

    In each layer norm(x + attention(x)), then norm(x + feed_forward(x)), each with a norm of its
    own. Nobody may look at padding. Head h owns the columns h * size to (h + 1) * size.

    inputs: (batch, length, d_model), positions already added
    is_real: (batch, length), False = padding; every text has a real token
    layers: the weights of each layer, one after the other. Same shape back.
    """

    def normed(x, norm):
        deviation = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(deviation), axis=-1, keepdims=True)
        return deviation * tf.math.rsqrt(variance + norm.epsilon) * norm.scale + norm.offset

    def split_heads(projected):
        heads = tf.reshape(projected, (batch, length, num_heads, -1))
        return tf.transpose(heads, (0, 2, 1, 3))

    batch, length, _ = inputs.shape
    mask = is_real[:, None, None, :]
    outputs = inputs
    for layer in layers:
        x = outputs
        queries = split_heads(linear(x, layer.attention.query))
        keys = split_heads(linear(x, layer.attention.key))
        values = split_heads(linear(x, layer.attention.value))
        scores = tf.matmul(queries, keys, transpose_b=True) / keys.shape[-1] ** 0.5
        scores = tf.where(mask, scores, -1e9)
        mixed = tf.matmul(tf.nn.softmax(scores, axis=-1), values)
        mixed = tf.transpose(mixed, (0, 2, 1, 3))
        attended = linear(tf.reshape(mixed, (batch, length, -1)), layer.attention.output)
        x = normed(x + attended, layer.attention_norm)
        inner = tf.nn.relu(linear(x, layer.feed_forward_in))
        fed = linear(inner, layer.feed_forward_out)
        outputs = normed(x + fed, layer.feed_forward_norm)
    return outputs


# ---- mistakes that several specimens can hold, with what a learner reads about them ----

_MESSAGES = {
    "no_scale": "The scores are q·k without the division by √key_size. With unit-variance entries "
    "q·k has variance key_size, so for wide heads the softmax puts all weight on one key.",
    "scale_by_d_model": "The scores are divided by √d_model, the width of the inputs. One head's "
    "q·k adds up key_size products: divide by √key_size.",
    "softmax_over_queries": "The columns of the weights sum to 1, the rows do not: the softmax ran "
    "over the queries. Each query shares its attention among the keys, the last axis.",
    "no_output_projection": "The heads are put side by side but never mixed: the output "
    "projection is missing. Apply weights.output at the end.",
    "split_without_transpose": "The heads were cut out by a reshape alone, so a head holds whole "
    "tokens, not a slice of every token. First reshape to (batch, length, num_heads, size), then "
    "swap the two middle axes.",
    "merge_without_transpose": "The heads were reshaped without moving the token axis back in "
    "front of them, so one output token mixes rows of different tokens. Transpose (0, 2, 1, 3) "
    "first.",
    "mask_ignored": "The mask has no effect. Put a very negative number where it is False, before "
    "the softmax.",
    "mask_inverted": "The keys to hide are the only ones used: True means “may look”, so hide "
    "where the mask is False.",
    "mask_near_zero": "Hidden scores became about 0, and e^0 = 1 is a good share of attention. "
    "They must become very negative; a small exponent such as 1e-7 is next to nothing.",
    "mask_after_softmax": "Hidden weights are set to 0 after the softmax, so what is left of a row "
    "sums to less than 1. Hide the scores before the softmax.",
    "padding_on_queries": "Padded queries are hidden, padded keys can still be read. The padding "
    "belongs to the last axis, the keys.",
    "no_attention": "Attention has no effect: each token passes through alone. Add what attention "
    "gives to what came in.",
    "no_attention_residual": "What came in is not added to what attention gives: without this path "
    "a token forgets itself.",
    "no_feed_forward_residual": "The feed-forward result replaces its input; add them.",
    "one_layer_for_all": "Every layer uses the weights of the first. Each layer has its own "
    "(ALBERT shares them on purpose; here it is an accident).",
    "layers_read_inputs": "Each layer reads the original inputs, so only the last one counts. Feed "
    "it what the layer before gave.",
}


def _known(name: str, change: dict[str, str]) -> Mistake:
    return Mistake(name, _MESSAGES[name], change)


_SOFTMAX = "tf.nn.softmax(scores, axis=-1)"
_OVER_QUERIES = _known("softmax_over_queries", {_SOFTMAX: "tf.nn.softmax(scores, axis=-2)"})
_HIDE = "tf.where(mask, scores, scores.dtype.min)"

SELF_ATTENTION_BUGS = (
    _known("no_scale", {" / key_size**0.5": ""}),
    Mistake(
        "dropout_always_on",
        "Two calls with the same inputs differ although `training` is False: dropout must act "
        "only while training.",
        {"dropout_rate if training else 0.0": "dropout_rate"},
    ),
    _known(
        "merge_without_transpose", {"    output = tf.transpose(output, (0, 2, 1, 3))\n": ""}
    ),
    _known("scale_by_d_model", {"/ key_size**0.5": "/ inputs.shape[-1] ** 0.5"}),
    _OVER_QUERIES,
    _known("no_output_projection", {"return linear(output, weights.output)": "return output"}),
    _known("split_without_transpose", {
        "(batch, length, num_heads, size)": "(batch, num_heads, length, size)",
        "return tf.transpose(heads, (0, 2, 1, 3))": "return heads",
    }),
    Mistake(
        "dropout_ignored",
        "dropout_rate has no effect while training.",
        {"rate=dropout_rate if training else 0.0": "rate=0.0"},
    ),
)  # fmt: skip

_ATTENTION_LINES = """\
        queries, keys, values = (linear(hidden, part) for part in layer.attention[:3])
        scores = tf.matmul(queries, keys, transpose_b=True) / keys.shape[-1] ** 0.5
        mixed = tf.matmul(tf.nn.softmax(scores, axis=-1), values)
        hidden = hidden + linear(mixed, layer.attention.output)
"""
TRANSFORMER_BUGS = (
    _known("one_layer_for_all", {
        "    for layer in layers:\n":
        "    layer = layers[0]\n    for _ in range(len(layers)):\n",
    }),
    _known("no_attention", {_ATTENTION_LINES: ""}),
    _known("no_feed_forward_residual", {"hidden = hidden + linear(inner": "hidden = linear(inner"}),
    _known("no_scale", {" / keys.shape[-1] ** 0.5": ""}),
    _known("no_attention_residual", {"hidden = hidden + linear(mixed": "hidden = linear(mixed"}),
    _OVER_QUERIES,
    Mistake(
        "no_activation",
        "There is no activation, so the two linear layers are worth one: (xA)B = x(AB). Put a ReLU "
        "between them.",
        {"tf.nn.relu(linear(hidden, layer.feed_forward_in))":
         "linear(hidden, layer.feed_forward_in)"},
    ),
)  # fmt: skip

CLASSIFIER_BUGS = (
    _known("split_without_transpose", {
        "(batch, length, num_heads, -1)": "(batch, num_heads, length, -1)",
        "        projected = tf.transpose(projected, (0, 2, 1, 3))\n": "",
    }),
    _known(
        "merge_without_transpose", {"    context = tf.transpose(context, (0, 2, 1, 3))\n": ""}
    ),
    Mistake(
        "heads_interleaved",
        "Head h got every num_heads-th column (h, h + num_heads, …). Give it a run of neighbours: "
        "num_heads comes before size in the reshape.",
        {"(batch, length, num_heads, -1)": "(batch, length, -1, num_heads)",
         "tf.transpose(projected, (0, 2, 1, 3))": "tf.transpose(projected, (0, 3, 1, 2))"},
    ),
    Mistake(
        "merge_interleaved",
        "The features of the heads are shuffled together (feature 0 of all heads first). Heads "
        "stand side by side: all features of head 0, then all of head 1.",
        {"tf.transpose(context, (0, 2, 1, 3))": "tf.transpose(context, (0, 2, 3, 1))"},
    ),
    Mistake(
        "scale_by_all_heads",
        "The scores are scaled by the width of all heads together. One head's q·k adds up key_size "
        "products: divide by √key_size, the last axis of the keys.",
        {"scale = keys.shape[-1] **": "scale = weights.key.kernel.shape[-1] **"},
    ),
    _OVER_QUERIES,
    _known("no_output_projection", {"return linear(context, weights.output)": "return context"}),
)  # fmt: skip

_ANSWER_MASK = "tf.where(answer_is_real[:, None, :], scores, -1e7)"
MATCHING_BUGS = (
    _known("mask_near_zero", {"-1e7": "-1e-7"}),
    _known("mask_ignored", {_ANSWER_MASK: "scores"}),
    _known("mask_inverted", {"answer_is_real[": "~answer_is_real["}),
    _OVER_QUERIES,
    _known("mask_after_softmax", {
        _ANSWER_MASK: "scores",
        "weights = tf.nn.softmax(scores, axis=-1)": "weights = tf.where(answer_is_real"
        "[:, None, :], tf.nn.softmax(scores, axis=-1), 0.0)",
    }),
)  # fmt: skip

VISION_BUGS = (
    _known("scale_by_d_model", {"queries.shape[-1] ** -0.5": "patches.shape[-1] ** -0.5"}),
    _known("mask_after_softmax", {
        f"    scores = {_HIDE}\n": "",
        f"attention = {_SOFTMAX}":
        f"attention = {_SOFTMAX}\n    attention = tf.where(mask, attention, 0.0)",
    }),
    _known("no_scale", {" * scale": ""}),
    _known("mask_ignored", {_HIDE: "scores"}),
    _known("mask_inverted", {"mask = visible": "mask = ~visible"}),
    _known("mask_near_zero", {"scores.dtype.min": "0.0"}),
    _known("padding_on_queries", {"[:, None, None, :]": "[:, None, :, None]"}),
)  # fmt: skip

TRANSLATOR_BUGS = (
    Mistake(
        "mask_of_the_target",
        "The mask is made from the target's padding. What may be looked at here are the source's "
        "tokens, so the source's padding must be hidden.",
        {"padding_mask = source_is_real": "padding_mask = target_is_real"},
    ),
    _known("padding_on_queries", {"_is_real[:, None, :]": "_is_real[:, :, None]"}),
    _known("mask_ignored", {"tf.where(padding_mask, scores, scores.dtype.min)": "scores"}),
    _known("mask_inverted", {"tf.where(padding_mask,": "tf.where(~padding_mask,"}),
    _known("no_scale", {" / keys.shape[-1] ** 0.5": ""}),
    _OVER_QUERIES,
)

CHUNK_BUGS = (
    Mistake(
        "causal_from_the_first_key",
        "The first query is treated as the first token of the text. It is the token at position "
        "key_len − query_len: the triangle must end in the lower right corner.",
        {"tf.range(key_len - query_len, key_len)": "tf.range(query_len)"},
    ),
    Mistake(
        "causal_one_ahead",
        "Each token also sees the next one: the triangle is off by one.",
        {"<= query_positions[:, None]": "< query_positions[:, None] + 2"},
    ),
    Mistake(
        "causal_without_self",
        "A token cannot see itself: the diagonal must be True, so use <= and not <.",
        {"<= query_positions[:, None]": "< query_positions[:, None]"},
    ),
    Mistake(
        "causal_ignored",
        "Nothing is hidden: a token sees what comes after it.",
        {"tf.where(may_look, scores, scores.dtype.min)": "scores"},
    ),
    Mistake(
        "causal_inverted",
        "Each token sees only itself and what comes after it: the triangle is upside down.",
        {"[None, :] <= query": "[None, :] >= query"},
    ),
    _known("no_scale", {" / keys.shape[-1] ** 0.5": ""}),
    _OVER_QUERIES,
)

DECODING_BUGS = (
    Mistake(
        "position_one_back",
        "The new token gets the position of the one before it. With `past` tokens before it, "
        "counted from 0, its position is `past`.",
        {"position_table[past]": "position_table[past - 1]"},
    ),
    Mistake(
        "new_token_not_seen",
        "The new token looks at the tokens before it and not at itself. Attend to the extended "
        "keys and values.",
        {"tf.matmul(query, keys,": "tf.matmul(query, past_keys,",
         "axis=-1), values)": "axis=-1), past_values)"},
    ),
    Mistake(
        "position_one_ahead",
        "The new token gets the position after its own. With `past` tokens before it, counted "
        "from 0, its position is `past`.",
        {"position_table[past]": "position_table[past + 1]"},
    ),
    Mistake(
        "no_positions",
        "The new token's position is not added.",
        {"token + position_table[past]": "token"},
    ),
    Mistake(
        "new_token_first",
        "The new key and value stand before the old ones. The next step takes them for the oldest.",
        {"[past_keys, new_key]": "[new_key, past_keys]",
         "[past_values, new_value]": "[new_value, past_values]"},
    ),
    _known("no_scale", {" / query.shape[-1] ** 0.5": ""}),
    Mistake(
        "cache_not_extended",
        "The keys and values come back without the new token's: the next step will not know it.",
        {"return output, keys, values": "return output, past_keys, past_values"},
    ),
)  # fmt: skip

_REVIEW_MASK = "    weights = tf.where(is_real, weights, 0.0)\n"
REVIEW_BUGS = (
    Mistake(
        "row_of_nothing_nan",
        "A review without tokens gives NaN: the softmax of nothing but −∞ is 0/0. The contract "
        "asks for zeros. Fill with a large finite number, and set hidden weights to 0 afterwards.",
        {"scores.dtype.min": "-np.inf", _REVIEW_MASK: ""},
    ),
    Mistake(
        "row_of_nothing_uniform",
        "A review without tokens gets the mean of its padding: when every score is equally hidden, "
        "the softmax is uniform. The contract asks for zeros.",
        {_REVIEW_MASK: ""},
    ),
    _known("mask_ignored", {"scores.dtype.min": "scores", _REVIEW_MASK: ""}),
    _known("mask_after_softmax", {
        "scores.dtype.min": "scores",
        _REVIEW_MASK: "    weights = weights * tf.cast(is_real, weights.dtype)\n",
    }),
    Mistake(
        "softmax_over_texts",
        "The softmax ran over the reviews of the batch, so they compete. It belongs over the "
        "tokens of each review.",
        {_SOFTMAX: "tf.nn.softmax(scores, axis=0)"},
    ),
    Mistake("no_scale", "The scores are not divided by √width.", {" / width**0.5": ""}),
)  # fmt: skip

SUBLAYER_BUGS = (
    Mistake(
        "norm_over_length",
        "Mean and variance were taken over the tokens of a sequence. Each token is normalised by "
        "itself, over its features, the last axis.",
        {"tf.reduce_mean(inputs, axis=-1,": "tf.reduce_mean(inputs, axis=1,",
         "tf.square(deviation), axis=-1,": "tf.square(deviation), axis=1,"},
    ),
    Mistake(
        "residual_from_normed",
        "The normalised inputs are added, not the inputs. In pre-LN the sum runs past the norm: "
        "x + f(norm(x)).",
        {"return inputs + linear": "return normed + linear"},
    ),
    _known("no_feed_forward_residual", {"return inputs + linear": "return linear"}),
    Mistake(
        "feed_forward_reads_inputs",
        "The feed-forward network reads the inputs as they came, so the norm has no effect.",
        {"linear(normed, layer_in)": "linear(inputs, layer_in)"},
    ),
    Mistake(
        "no_activation",
        "There is no activation, so the two linear layers are worth one: (xA)B = x(AB). Put a ReLU "
        "between them.",
        {"tf.nn.relu(linear(normed, layer_in))": "linear(normed, layer_in)"},
    ),
    Mistake(
        "no_epsilon",
        "epsilon has no effect: a token whose features are all equal gives 0/0. Add it to the "
        "variance, under the root.",
        {"variance + norm.epsilon": "variance"},
    ),
    Mistake(
        "norm_over_batch",
        "Mean and variance were taken over the batch. One sequence must not change another: use "
        "the last axis.",
        {"tf.reduce_mean(inputs, axis=-1,": "tf.reduce_mean(inputs, axis=0,",
         "tf.square(deviation), axis=-1,": "tf.square(deviation), axis=0,"},
    ),
)  # fmt: skip

_SIN = "math.sin(position / 10000 ** (i / d_model))"
_COS = "math.cos(position / 10000 ** (i / d_model))"


def _both(old: str, new: str) -> dict[str, str]:
    return {text: text.replace(old, new) for text in (_SIN, _COS)}


TABLE_BUGS = (
    Mistake(
        "exponent_doubled",
        "The exponent is twice the column number, divided by d_model. The paper's i counts pairs "
        "of columns: for columns 2i and 2i + 1 the exponent is 2i / d_model.",
        {_SIN: _SIN.replace("(i /", "((2 * i) /"), _COS: _COS.replace("(i /", "((2 * (i + 1)) /")},
    ),
    Mistake(
        "cosine_ahead",
        "The cosine has another angle than the sine beside it. The two columns of a pair share one "
        "exponent: only then is a shift of the positions a rotation.",
        {_COS: _COS.replace("(i /", "((i + 1) /")},
    ),
    Mistake(
        "exponent_doubled_in_pairs",
        "The exponents are twice too large: `i` already steps over the columns by two, so it is "
        "the paper's 2i.",
        _both("(i /", "((2 * i) /"),
    ),
    Mistake(
        "exponent_halved",
        "The exponent of columns 2i and 2i + 1 is i / d_model. The paper has 2i / d_model, so that "
        "it runs to nearly 1.",
        _both("(i /", "(i / 2 /"),
    ),
    Mistake(
        "positions_from_one",
        "The first position got the angles of position 1. Positions start at 0.",
        _both("(position /", "((position + 1) /"),
    ),
    Mistake(
        "angle_multiplied",
        "Positions are multiplied by 10000^…; divide by it.",
        _both("position / ", "position * "),
    ),
    Mistake("wrong_base", "The base is 1000; the paper's is 10000.", _both("10000", "1000")),
)

_STARTS = "range(0, max(length - window, 0) + stride, stride)"
WINDOW_BUGS = (
    Mistake(
        "last_window_dropped",
        "The tokens at the end are in no window: a last window that is not full is left out. Go on "
        "until a window reaches the end of the text.",
        {"max(length - window, 0) + stride": "length - window + 1"},
    ),
    Mistake(
        "windows_after_the_end",
        "There are windows too many: the text's end was reached before, and they hold nothing new.",
        {_STARTS: "range(0, length, stride)"},
    ),
    Mistake(
        "stride_ignored",
        "The windows do not overlap: each starts where the one before ends, whatever `stride` is.",
        {_STARTS: "range(0, max(length - window, 0) + window, window)"},
    ),
    Mistake(
        "stride_is_overlap",
        "`stride` was taken for the number of tokens that two windows share. It is the step from "
        "one start to the next.",
        {_STARTS: "range(0, max(length - window, 0) + window - stride, max(window - stride, 1))"},
    ),
    Mistake(
        "padding_on_left",
        "The padding stands on the left. It belongs on the right.",
        {"[[0, window - piece.shape[0]]]": "[[window - piece.shape[0], 0]]"},
    ),
)

RATE_BUGS = (
    Mistake(
        "updates_from_zero",
        "The first update of the weights is counted as number 0, so its rate is 0: the first batch "
        "is computed and thrown away. The formula's first update is number 1.",
        {"steps + 1": "steps"},
    ),
    Mistake(
        "warmup_one_step_early",
        "The updates are counted one too far: step 0 is update 1.",
        {"steps + 1": "steps + 2"},
    ),
    Mistake(
        "no_warmup",
        "There is no warm-up: the first rate is the largest.",
        {"tf.minimum(falling, rising)": "falling"},
    ),
    Mistake(
        "larger_of_the_two",
        "The larger of the two curves was taken. The smaller one rises first and then falls.",
        {"tf.minimum": "tf.maximum"},
    ),
    Mistake(
        "no_width",
        "The factor 1/√d_model is missing.",
        {"d_model**-0.5 * ": ""},
    ),
    Mistake(
        "warmup_too_steep",
        "The two curves do not meet: n is divided by warmup_steps, and not by warmup_steps^1.5.",
        {"warmup_steps**-1.5": "warmup_steps**-1.0"},
    ),
)

LOSS_BUGS = (
    Mistake(
        "padding_in_the_count",
        "The losses of the padding are 0, but the padding is counted when the mean is taken: the "
        "more padding, the smaller the loss. Divide by the number of real tokens.",
        {"tf.reduce_sum(losses * real) / tf.reduce_sum(real)": "tf.reduce_mean(losses * real)"},
    ),
    Mistake(
        "softmax_before_loss",
        "Softmax is applied before the loss, which applies it again: the loss cannot get near 0. "
        "Hand it the scores.",
        {"logits=logits": "logits=tf.nn.softmax(logits)"},
    ),
    Mistake(
        "padding_in_the_loss",
        "The model is also asked to predict the padding. Only real tokens count.",
        {"tf.reduce_sum(losses * real) / tf.reduce_sum(real)": "tf.reduce_mean(losses)"},
    ),
    Mistake(
        "losses_added",
        "The losses are added up, so the step grows with the batch. Take their mean.",
        {" / tf.reduce_sum(real)": ""},
    ),
    Mistake(
        "texts_averaged",
        "Each text's mean was taken first, then the mean of the means: a token of a short text "
        "counts more than one of a long text.",
        {"tf.reduce_sum(losses * real) / tf.reduce_sum(real)":
         "tf.reduce_mean(tf.reduce_sum(losses * real, 1) / tf.reduce_sum(real, 1))"},
    ),
    Mistake(
        "mask_inverted",
        "Only the padding counts: True = a real token.",
        {"tf.cast(is_real,": "tf.cast(~is_real,"},
    ),
)  # fmt: skip

ENCODER_BUGS = (
    _known("padding_on_queries", {"[:, None, None, :]": "[:, None, :, None]"}),
    _known("layers_read_inputs", {"        x = outputs\n": "        x = inputs\n"}),
    _known("merge_without_transpose", {"        mixed = tf.transpose(mixed, (0, 2, 1, 3))\n": ""}),
    Mistake(
        "one_norm_twice",
        "Both norms use layer.attention_norm. The second has its own: layer.feed_forward_norm.",
        {"layer.feed_forward_norm)": "layer.attention_norm)"},
    ),
    _known("no_scale", {" / keys.shape[-1] ** 0.5": ""}),
    _OVER_QUERIES,
    _known("mask_ignored", {"tf.where(mask, scores, -1e9)": "scores"}),
    _known("mask_inverted", {"mask = is_real": "mask = ~is_real"}),
    _known("one_layer_for_all", {
        "    for layer in layers:\n":
        "    layer = layers[0]\n    for _ in range(len(layers)):\n",
    }),
    _known("no_attention_residual", {"normed(x + attended": "normed(attended"}),
    _known("no_feed_forward_residual", {"normed(x + fed": "normed(fed"}),
    _known("split_without_transpose", {
        "(batch, length, num_heads, -1)": "(batch, num_heads, length, -1)",
        "return tf.transpose(heads, (0, 2, 1, 3))": "return heads",
    }),
)  # fmt: skip

# ---- what is looked at ----

_LENGTH, _HEADS = 6, 3  # a text whose length the heads divide, or a wrong reshape would only crash
_INPUTS = normal(2, _LENGTH, D_MODEL, seed=601)
_WEIGHTS = attention_weights(602)
_LAYERS = [block_weights(620), block_weights(720)]


def _real(*lengths: int, length: int = _LENGTH) -> np.ndarray:
    """(batch, length), True where a text is no padding."""
    return np.arange(length) < np.array(lengths)[:, None]


SELF_ATTENTION_BUG_CASES = (
    Case("no dropout", Call(_INPUTS, *SIZES, 0.0, _WEIGHTS)),
    Case("a dropout rate, but not training", Twice(_INPUTS, *SIZES, 0.5, _WEIGHTS)),
    SELF_ATTENTION_CASES[-1],
)
TRANSFORMER_BUG_CASES = (
    Case("two layers", Call(_INPUTS, _LAYERS)),
    Case("one layer", Call(_INPUTS, _LAYERS[:1])),
    Case("one token", Call(_INPUTS[:, :1], _LAYERS)),
)
CLASSIFIER_CASES = (
    Case("three heads", Call(_INPUTS, _WEIGHTS, _HEADS)),
    Case("one head", Call(_INPUTS, _WEIGHTS, 1)),
    Case("two heads, one text", Call(_INPUTS[:1], _WEIGHTS, 2)),
)
_QUESTION, _ANSWER = normal(2, 3, 4, seed=611, scale=0.7), normal(2, 5, 4, seed=612, scale=0.7)
MATCHING_CASES = (
    Case("no padding", Call(_QUESTION, _ANSWER, _real(5, 5, length=5))),
    Case("two answers, padded", Call(_QUESTION, _ANSWER, _real(3, 5, length=5))),
    Case("one real token", Call(_QUESTION, _ANSWER, _real(1, 2, length=5))),
)
VISION_CASES = (
    Case("all patches visible", Call(_INPUTS, _WEIGHTS, _HEADS, _real(6, 6))),
    Case("some patches hidden", Call(_INPUTS, _WEIGHTS, _HEADS, _real(4, 6))),
    Case("two heads", Call(_INPUTS, _WEIGHTS, 2, _real(5, 1))),
)
_SOURCE = normal(2, 7, D_MODEL, seed=613)
TRANSLATOR_CASES = (
    Case("equal lengths", Call(_INPUTS, _SOURCE[:, :6], _WEIGHTS, _real(4, 6), _real(3, 5))),
    Case(
        "a longer source",
        Call(_INPUTS, _SOURCE, _WEIGHTS, _real(6, 2), _real(5, 7, length=7)),
    ),
    Case(
        "a shorter source, nothing padded",
        Call(_INPUTS, _SOURCE[:, :4], _WEIGHTS, _real(6, 6), _real(4, 4, length=4)),
    ),
)
_KEYS, _VALUES = normal(2, 7, 6, seed=614), normal(2, 7, 4, seed=615)
CHUNK_CASES = (
    Case("the last three of seven", Call(normal(2, 3, 6, seed=616), _KEYS, _VALUES)),
    Case("the whole text", Call(normal(2, 7, 6, seed=617), _KEYS, _VALUES)),
    Case("the last token", Call(normal(2, 1, 6, seed=618), _KEYS, _VALUES)),
)
_POSITIONS = normal(8, D_MODEL, seed=619)


def _step(past: int) -> Call:
    """A step after so many tokens."""
    keys, values = normal(2, past, 18, seed=630), normal(2, past, 12, seed=631)
    return Call(normal(2, D_MODEL, seed=632), _POSITIONS, keys, values, _WEIGHTS)


DECODING_CASES = (
    Case("after three tokens", _step(3)),
    Case("after one token", _step(1)),
    Case("the first token", _step(0)),
)
_TOKENS = normal(3, 5, 6, seed=633)
REVIEW_CASES = (
    Case("three reviews", Call(_TOKENS, _real(5, 3, 1, length=5), normal(6, seed=634))),
    Case("an empty review among them", Call(_TOKENS, _real(5, 0, 2, length=5),
                                            normal(6, seed=634))),
    Case("large scores", Call(30 * _TOKENS, _real(5, 3, 2, length=5), normal(6, seed=634))),
)  # fmt: skip
_EQUAL_FEATURES = _INPUTS.copy()
_EQUAL_FEATURES[0, 1] = 2.0
_SUBLAYER = (norm_weights(635), linear_layer(D_MODEL, D_FF, 637), linear_layer(D_FF, D_MODEL, 639))
SUBLAYER_CASES = (
    Case("two texts", Call(_INPUTS, *_SUBLAYER)),
    Case("one token", Call(_INPUTS[:1, :1], *_SUBLAYER)),
    Case("a token with equal features", Call(_EQUAL_FEATURES, *_SUBLAYER)),
)
TABLE_CASES = (
    Case("five positions", Call(5, 8)),
    Case("many positions", Call(201, 20)),
    Case("one position", Call(1, 4)),
)
_IDS = np.arange(101, 114, dtype=np.int32)
WINDOW_CASES = (
    Case("13 tokens, windows of 5, stride 3", Call(_IDS, 5, 3)),
    Case("the last window is full", Call(_IDS[:11], 5, 3)),
    Case("shorter than a window", Call(_IDS[:4], 6, 1)),
    Case("just one window", Call(_IDS[:6], 6, 2)),
    Case("stride of a full window", Call(_IDS, 4, 4)),
)
RATE_CASES = (
    Case("twelve steps", Call(np.arange(12, dtype=np.int32), 16, 4)),
    Case("a wider model", Call(np.array([0, 7, 99, 400], np.int32), 512, 100)),
)
_LOGITS = normal(2, 5, 7, seed=641, scale=2.0)
_LABELS = np.random.default_rng(642).integers(0, 7, (2, 5)).astype(np.int32)
LOSS_CASES = (
    Case("one text is padded", Call(_LOGITS, _LABELS, _real(5, 2, length=5))),
    Case("no padding", Call(_LOGITS, _LABELS, _real(5, 5, length=5))),
    Case("one real token each", Call(_LOGITS, _LABELS, _real(1, 1, length=5))),
)
ENCODER_CASES = (
    Case("two layers, padding", Call(_INPUTS, _real(4, 6), _LAYERS, _HEADS)),
    Case("one layer, no padding", Call(_INPUTS, _real(6, 6), _LAYERS[:1], _HEADS)),
    Case("two heads, one text", Call(_INPUTS[:1], _real(3), _LAYERS, 2)),
)

# ---- what can be seen from outside; no sentence names the line that is wrong ----


def _output(attempt, case: Case, place: int, **changed) -> np.ndarray:
    """The output of a case with its argument number `place` replaced."""
    args = list(case.run.args)
    args[place] = changed["by"]
    return np.asarray(Call(*args, **case.run.kwargs)(attempt))


def _shuffled_is_shuffled(case: Case) -> Probe:
    """Attention without positions: shuffled tokens must give shuffled outputs."""
    order = [3, 0, 5, 1, 4, 2]

    def holds(attempt) -> bool:
        plain = np.asarray(case.run(attempt))
        shuffled = _output(attempt, case, 0, by=case.run.args[0][:, order])
        return bool(abs(shuffled - plain[:, order]).max() > 1e-3)

    return Probe("shuffled tokens do not give the same outputs, shuffled.", holds)


def _reads_hidden(case: Case, sentence: str, place: int, hidden) -> Probe:
    """Change what nobody may look at; `hidden` picks it from the argument number `place`."""

    def holds(attempt) -> bool:
        changed = case.run.args[place].copy()
        changed[hidden] += 1.0
        difference = abs(_output(attempt, case, place, by=changed) - np.asarray(case.run(attempt)))
        if place == 0:  # a token's own output may change with it
            difference[hidden] = 0.0
        return bool(difference.max() > 1e-3)

    return Probe(sentence, holds)


def _token_alone(case: Case, sentence: str) -> Probe:
    """Does the first token's output stay the same when the last token changes?"""

    def holds(attempt) -> bool:
        changed = case.run.args[0].copy()
        changed[:, -1] += 1.0
        difference = abs(_output(attempt, case, 0, by=changed) - np.asarray(case.run(attempt)))
        return bool(difference[:, 0].max() < 1e-6)

    return Probe(sentence, holds)


def _layers_matter_not(case: Case, place: int, sentence: str, layer: int) -> Probe:
    """Does the output stay the same when the weights of one layer change?"""

    def holds(attempt) -> bool:
        layers = list(case.run.args[place])
        layers[layer] = block_weights(820)
        difference = _output(attempt, case, place, by=layers) - np.asarray(case.run(attempt))
        return bool(abs(difference).max() < 1e-6)

    return Probe(sentence, holds)


def _value(case: Case, sentence: str, holds) -> Probe:
    """A test of what one case gives."""
    return Probe(sentence, lambda attempt: bool(holds(np.asarray(case.run(attempt)))))


def _differs_from_full_pass(attempt) -> bool:
    """Feed three tokens one by one: must give what causal attention gives for all three."""
    tokens = normal(1, 3, D_MODEL, seed=643)
    keys, values = np.zeros((1, 0, 18), np.float32), np.zeros((1, 0, 12), np.float32)
    outputs = []
    for i in range(3):
        output, keys, values = Call(tokens[:, i], _POSITIONS, keys, values, _WEIGHTS)(attempt)
        outputs.append(np.asarray(output))
    inputs = tokens + _POSITIONS[:3]
    query, key, value = (np.asarray(linear(tf.constant(inputs), w)) for w in _WEIGHTS[:3])
    expected = np.asarray(linear(chunk_attention(query, key, value), _WEIGHTS.output))
    return bool(abs(np.stack(outputs, 1) - expected).max() > 1e-3)


def _two_scales(attempt) -> bool:
    """Pre-LN keeps the inputs' size in its sum: 100 times the inputs is about 100 times as much."""
    case = SUBLAYER_CASES[0]
    small = np.asarray(case.run(attempt))
    return bool(np.std(_output(attempt, case, 0, by=100 * case.run.args[0])) < 20 * np.std(small))


def _loss(attempt, logits: np.ndarray, padding: int) -> float:
    """The loss of two whole texts of five words with so many columns of padding after them."""
    wide = np.concatenate([logits, np.zeros((2, padding, 7), np.float32)], axis=1)
    labels = np.concatenate([_LABELS, np.zeros((2, padding), np.int32)], axis=1)
    real = _real(5, 5, length=5 + padding)
    return float(Call(wide, labels, real)(attempt))


EXERCISES = (
    Exercise(
        published_self_attention,
        SELF_ATTENTION_BUGS,
        hints=(
            "Call it twice. Shuffle the tokens. Make the heads wider and look at the largest "
            "weight. Which of the three surprises you?",
            "Three lines are wrong: one where scores are made, one where something random happens, "
            "one where the heads are put together.",
            "Scores need / √key_size. Dropout needs `training`. The heads must be moved behind the "
            "tokens (a transpose) before a reshape may join them.",
        ),
        cases=SELF_ATTENTION_BUG_CASES,
        compare_with="your self_attention of notebook 02.",
        symptoms=(
            Probe(
                "two calls with the same inputs, not training, differ.",
                lambda f: not SELF_ATTENTION_BUG_CASES[1].run(f)[2],
            ),
            _shuffled_is_shuffled(SELF_ATTENTION_BUG_CASES[0]),
        ),
        broken=("no_scale", "dropout_always_on", "merge_without_transpose"),
    ),
    Exercise(
        published_transformer,
        TRANSFORMER_BUGS,
        hints=(
            "Which inputs change which outputs? And which layer's weights change anything at all?",
            "There are three faults: whose weights each round uses, what is missing before the "
            "feed-forward network, and how its result is joined to what came in.",
            "for layer in layers: queries, keys and values from `hidden`; scores / √key_size; "
            "softmax; times values; output projection; add to hidden. Then add the feed-forward "
            "network's result to hidden, too.",
        ),
        cases=TRANSFORMER_BUG_CASES,
        compare_with="your transformer_forward of notebook 03.",
        symptoms=(
            _token_alone(
                TRANSFORMER_BUG_CASES[0], "no output changes when another token changes."
            ),
            _layers_matter_not(
                TRANSFORMER_BUG_CASES[0], 1, "the second layer's weights change nothing.", 1
            ),
        ),
        broken=("one_layer_for_all", "no_attention", "no_feed_forward_residual"),
    ),
    Exercise(
        classifier_attention,
        CLASSIFIER_BUGS,
        hints=(
            "Set num_heads to 1: is it right then? What does that tell you about where to look?",
            "A reshape never moves numbers in memory. Which axis must lie next to which before you "
            "cut, and before you join?",
            "Cut: reshape to (batch, length, num_heads, size), then transpose (0, 2, 1, 3). Join: "
            "transpose (0, 2, 1, 3), then reshape to (batch, length, num_heads * size).",
        ),
        cases=CLASSIFIER_CASES,
        compare_with="your split_heads and merge_heads of notebook 02.",
        symptoms=(
            _token_alone(
                CLASSIFIER_CASES[0], "the first token's output ignores the last token."
            ),
            _shuffled_is_shuffled(CLASSIFIER_CASES[0]),
        ),
        broken=("split_without_transpose", "merge_without_transpose"),
    ),
    Exercise(
        matching_attention,
        MATCHING_BUGS,
        hints=(
            "How much weight does a padding token get? Compute it for one row.",
            "What is e to the power of the number that hidden scores are given?",
            "-1e-7 is -0.0000001. Meant was a large negative number, -1e7 or scores.dtype.min.",
        ),
        cases=MATCHING_CASES,
        compare_with="scaled_dot_product_attention of notebook 01.",
        symptoms=(
            _reads_hidden(
                MATCHING_CASES[1], "the output changes when padding changes.", 1,
                np.s_[0, 3:],
            ),
        ),
        broken=("mask_near_zero",),
    ),
    Exercise(
        vision_attention,
        VISION_BUGS,
        hints=(
            "Look at the sum of each row of weights. And compare an image with all patches visible "
            "with the contract: is it right at least there?",
            "One fault is in a number that every score is multiplied by, the other in the order of "
            "two lines.",
            "The scale is key_size ** -0.5, the last axis of queries (one head's width, not the "
            "input's). Hide scores before the softmax, with tf.where(mask, scores, "
            "scores.dtype.min).",
        ),
        cases=VISION_CASES,
        compare_with="your scaled_dot_product_attention of notebook 01.",
        symptoms=(
            _reads_hidden(
                VISION_CASES[1], "a visible patch's output changes when a hidden patch changes.", 0,
                np.s_[0, 4:],
            ),
            _value(
                VISION_CASES[0], "it is wrong even when every patch is visible.",
                lambda got: (abs(VISION_CASES[0].run(vision_attention) - got) > 1e-3).numpy().any(),
            ),
        ),
        broken=("scale_by_d_model", "mask_after_softmax"),
    ),
    Exercise(
        translator_attention,
        TRANSLATOR_BUGS,
        hints=(
            "Change the padding of the source, then the padding of the target. Which of the two "
            "may change what the target's real tokens get, and which does?",
            "Who asks, and who is looked at? Whose padding must be hidden, and on which axis of "
            "(batch, target_len, source_len) does it lie?",
            "source_is_real has shape (batch, source_len). The scores' last axis is the source's: "
            "source_is_real[:, None, :].",
        ),
        cases=TRANSLATOR_CASES,
        compare_with="scaled_dot_product_attention of notebook 01, with target and source.",
        symptoms=(
            _reads_hidden(
                TRANSLATOR_CASES[0], "the output changes when the source's padding changes.", 1,
                np.s_[0, 3:],
            ),
        ),
        broken=("mask_of_the_target", "padding_on_queries"),
    ),
    Exercise(
        chunk_attention,
        CHUNK_BUGS,
        hints=(
            "The last of seven tokens asks. How many keys may it see, and how many does it see?",
            "Which position in the text does row 0 of the queries have?",
            "The queries are the last tokens: their positions are key_len - query_len to "
            "key_len - 1.",
        ),
        cases=CHUNK_CASES,
        compare_with="PyTorch's causal_lower_right and causal_upper_left.",
        symptoms=(
            Probe(
                "the last token's output is just the first value.",
                lambda f: abs(CHUNK_CASES[2].run(f)[:, 0] - _VALUES[:, 0]).numpy().max() < 1e-5,
            ),
        ),
        broken=("causal_from_the_first_key",),
    ),
    Exercise(
        decoding_step,
        DECODING_BUGS,
        hints=(
            "Feed a text of three tokens step by step, and all at once through causal attention. "
            "From which token on do they differ?",
            "Count: the text has `past` tokens. Which position, from 0, has the next one? And how "
            "many keys does it see?",
            "position_table[past]; and attention works on the extended `keys` and `values`.",
        ),
        cases=DECODING_CASES,
        compare_with="causal attention over the whole text: both must give the same numbers.",
        returns=("output", "keys", "values"),
        symptoms=(
            Probe(
                "token by token gives other outputs than the whole text at once.",
                _differs_from_full_pass,
            ),
        ),
        broken=("position_one_back", "new_token_not_seen"),
    ),
    Exercise(
        review_vectors,
        REVIEW_BUGS,
        hints=(
            "In which rows of the batch does the NaN begin? What is special about them?",
            "What is the softmax of a row that holds nothing but −∞? And of one that holds nothing "
            "but the same finite number?",
            "Fill with scores.dtype.min, not −∞, and after the softmax set the weights of padding "
            "to 0: tf.where(is_real, weights, 0.0).",
        ),
        cases=REVIEW_CASES,
        compare_with="hierarchical_pooling of notebook 06.",
        symptoms=(
            _value(
                REVIEW_CASES[1], "a batch with an empty review gives NaN.",
                lambda got: not np.isfinite(got).all(),
            ),
        ),
        broken=("row_of_nothing_nan",),
    ),
    Exercise(
        feed_forward_sublayer,
        SUBLAYER_BUGS,
        hints=(
            "There is no attention here. May one token change another token's output?",
            "Over which axis is each token normalised? And what exactly does the plus sign add?",
            "axis=-1 in both means; and in pre-LN the inputs themselves are added: "
            "inputs + linear(…).",
        ),
        cases=SUBLAYER_CASES,
        compare_with="layer_norm and feed_forward of notebook 03.",
        symptoms=(
            _reads_hidden(
                SUBLAYER_CASES[0], "a token's output changes when another token changes.", 0,
                np.s_[0, 4:],
            ),
            Probe("inputs 100 times as large give outputs of about the same size.", _two_scales),
        ),
        broken=("norm_over_length", "residual_from_normed"),
    ),
    Exercise(
        position_table,
        TABLE_BUGS,
        hints=(
            "Print columns 0 and 1, then 2 and 3, and compute the angle of each from the paper's "
            "formula by hand. When do they part?",
            "The paper's i counts pairs; the loop's i counts columns, two at a time. What is the "
            "paper's 2i here?",
            "Both lines have the exponent i / d_model: the loop's i is the paper's 2i, and the "
            "cosine shares the angle of the sine.",
        ),
        cases=TABLE_CASES,
        compare_with="your positional_encoding of notebook 03.",
        symptoms=(
            _value(
                TABLE_CASES[0], "a sine and the cosine beside it are not of the same angle.",
                lambda got: abs(got[:, 0::2] ** 2 + got[:, 1::2] ** 2 - 1).max() > 1e-4,
            ),
        ),
        broken=("exponent_doubled",),
    ),
    Exercise(
        windows_of_text,
        WINDOW_BUGS,
        hints=(
            "Take a text of 13 different numbers. Is each of them in some window?",
            "For which starts is a window full? For which starts does the text still have tokens "
            "that no window has held?",
            "range(0, max(length - window, 0) + stride, stride): one start more when something is "
            "left over.",
        ),
        cases=WINDOW_CASES,
        compare_with="split_into_windows of notebook 06.",
        returns=("windows",),
        symptoms=(
            _value(
                WINDOW_CASES[0], "tokens of the text are in no window.",
                lambda got: not set(_IDS.tolist()) <= set(np.ravel(got).tolist()),
            ),
        ),
        broken=("last_window_dropped",),
    ),
    Exercise(
        noam_rate,
        RATE_BUGS,
        hints=(
            "What is the rate of the very first update? What does that update do to the weights?",
            "The formula counts from 1, the loop from 0. Where do the two meet?",
            "n = steps + 1.",
        ),
        cases=RATE_CASES,
        compare_with="learning_rate of notebook 05, which has a rate of its own for step 0.",
        returns=("rates",),
        symptoms=(
            _value(
                RATE_CASES[0], "the first update has a rate of 0.",
                lambda got: got[0] == 0,
            ),
        ),
        broken=("updates_from_zero",),
    ),
    Exercise(
        translation_loss,
        LOSS_BUGS,
        hints=(
            "Add ten columns of padding to the batch: may the loss change? And make the logits 100 "
            "times as sure of the right words: where does the loss go?",
            "Which numbers does the mean divide by? And what does the function with the long name "
            "do with what it is given?",
            "sum of losses * real, divided by the sum of real; and hand over `logits` themselves: "
            "the function applies softmax.",
        ),
        cases=LOSS_CASES,
        compare_with="keras.losses.SparseCategoricalCrossentropy(from_logits=True, "
        "ignore_class=…).",
        returns=("loss",),
        symptoms=(
            Probe(
                "the loss gets smaller when padding is added.",
                lambda f: _loss(f, _LOGITS, 10) < _loss(f, _LOGITS, 0) - 1e-3,
            ),
            Probe(
                "the loss is far from 0 for a model that is right and sure.",
                lambda f: _loss(f, 100.0 * np.eye(7, dtype=np.float32)[_LABELS], 0) > 0.1,
            ),
        ),
        broken=("padding_in_the_count", "softmax_before_loss"),
    ),
    Exercise(
        encoder_from_a_forum,
        ENCODER_BUGS,
        hints=(
            "Four probes, one for each fault: change padding; change the first layer's weights; "
            "shuffle the tokens of a text without padding; change the last norm's scale.",
            "Look at the line that makes the mask, at the first line of the loop, at the line "
            "after `mixed`, and at the last line of the loop.",
            "mask = is_real[:, None, None, :]; x = outputs; mixed = tf.transpose(mixed, "
            "(0, 2, 1, 3)) before the reshape; layer.feed_forward_norm in the second norm.",
        ),
        cases=ENCODER_CASES,
        compare_with="your transformer_forward of notebook 03.",
        symptoms=(
            _reads_hidden(
                ENCODER_CASES[0], "a real token's output changes when padding changes.", 0,
                np.s_[0, 4:],
            ),
            _layers_matter_not(
                ENCODER_CASES[0], 2, "the first layer's weights change nothing.", 0
            ),
            _shuffled_is_shuffled(ENCODER_CASES[1]),
        ),
        broken=(
            "padding_on_queries", "layers_read_inputs", "merge_without_transpose",
            "one_norm_twice",
        ),
    ),
)
