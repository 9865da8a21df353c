"""03: positions, layer norm, feed-forward, the encoder block, and the stack of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import numpy as np
import tensorflow as tf

from course_utils.exercise import Alternative, Call, Case, Exercise, Mistake, Probe
from course_utils.exercises.multi_head_attention import article_call, self_attention
from course_utils.influence import influence
from course_utils.inputs import (
    D_FF,
    D_MODEL,
    LENGTH,
    SIZES,
    Twice,
    block_weights,
    causal,
    linear_layer,
    norm_weights,
    normal,
    padding,
)
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
    hidden = 0.5 * hidden * (1.0 + tf.math.erf(hidden / 2.0**0.5))  # tf.nn.gelu in half the time
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


_EXPONENTS = "tf.cast(2 * (columns // 2), tf.float32) / d_model"
POSITION_MISTAKES = (
    Mistake(
        "sin_and_cos_in_halves",
        "All sines come first and all cosines after them. Let them alternate, as in the paper: "
        "column 2i is a sine, column 2i + 1 a cosine. (Many programs use halves. Both can be "
        "trained, but pretrained weights fit only the order they were trained with.)",
        {_EXPONENTS: "tf.cast(2 * (columns % ((d_model + 1) // 2)), tf.float32) / d_model",
         "columns % 2 == 0": "columns < (d_model + 1) // 2"},
    ),
    Mistake(
        "positions_from_one",
        "The first position got the angles of position 1. Positions start at 0, so the first row "
        "is 0, 1, 0, 1, …",
        {"tf.range(length, dtype=tf.float32)": "tf.range(1, length + 1, dtype=tf.float32)"},
    ),
    Mistake(
        "exponent_per_column",
        "Every column has a frequency of its own. Columns 2i and 2i + 1 share one, with the "
        "exponent 2i / d_model: they are the sine and the cosine of the same angle.",
        {"2 * (columns // 2)": "columns"},
    ),
    Mistake(
        "exponent_doubled",
        "The exponent is twice the column number, divided by d_model. The paper's i counts pairs "
        "of columns: for columns 2i and 2i + 1 the exponent is 2i / d_model.",
        {"2 * (columns // 2)": "2 * columns"},
    ),
    Mistake(
        "exponent_halved",
        "The exponent of columns 2i and 2i + 1 is i / d_model. The paper has 2i / d_model, so that "
        "it runs to nearly 1.",
        {"2 * (columns // 2)": "columns // 2"},
    ),
    Mistake(
        "sin_and_cos_swapped",
        "Sine and cosine are swapped. Even columns (0, 2, …) are sines, odd ones cosines.",
        {"columns % 2 == 0": "columns % 2 == 1"},
    ),
    Mistake(
        "angle_multiplied",
        "Positions are multiplied by 10000^…; divide by it. Later columns turn slower, not faster.",
        {"positions / 10000.0**exponents": "positions * 10000.0**exponents"},
    ),
    Mistake(
        "wrong_base",
        "The base is 1000; the paper's is 10000.",
        {"10000.0": "1000.0"},
    ),
    Mistake(
        "only_sines",
        "All columns are sines. Make the odd ones cosines of the same angle: only with both is a "
        "shift by k positions a rotation, the same everywhere.",
        {"tf.cos(angles)": "tf.sin(angles)"},
    ),
    Mistake(
        "positions_as_fractions",
        "Positions were divided by the length, so the same place gets another code in a longer "
        "text. Use 0, 1, 2, …",
        {"dtype=tf.float32)[:, None]": "dtype=tf.float32)[:, None] / length"},
    ),
    Mistake(
        "exponent_to_one",
        "The exponents run to exactly 1, as if divided by d_model − 2 (tensor2tensor's version). "
        "The paper divides by d_model, so that the last is a little below 1.",
        {"tf.float32) / d_model": "tf.float32) / (2 * ((d_model + 1) // 2) - 2)"},
    ),
)  # fmt: skip

_MEAN = "tf.reduce_mean(inputs, axis=-1, keepdims=True)"
_VARIANCE = "tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)"


def _norm_over(axis: str) -> dict[str, str]:
    return {text: text.replace("axis=-1", f"axis={axis}") for text in (_MEAN, _VARIANCE)}


NORM_MISTAKES = (
    Mistake(
        "norm_over_length",
        "Mean and variance were taken over the tokens of a sequence. Each token is normalised by "
        "itself, over its features, the last axis.",
        _norm_over("-2"),
    ),
    Mistake(
        "norm_over_batch",
        "Mean and variance were taken over the batch, as in batch normalisation. Here one "
        "sequence must not change another: use the last axis.",
        _norm_over("0"),
    ),
    Mistake(
        "norm_over_length_and_features",
        "Mean and variance were taken over tokens and features together. Use the last axis alone.",
        _norm_over("(-2, -1)"),
    ),
    Mistake(
        "no_epsilon",
        "epsilon has no effect: a token whose features are all equal has variance 0, and 0 / 0 "
        "is NaN. Add weights.epsilon to the variance, under the root.",
        {"variance + weights.epsilon": "variance"},
    ),
    Mistake(
        "epsilon_outside_root",
        "epsilon is added to the standard deviation. It belongs under the root: "
        "√(variance + epsilon).",
        {"tf.math.rsqrt(variance + weights.epsilon)":
         "(1.0 / (tf.sqrt(variance) + weights.epsilon))"},
    ),
    *(
        Mistake(
            "epsilon_not_used",
            "epsilon is not the one in the weights, but a number of your own. Use "
            "weights.epsilon: models differ in it (Keras' default is 0.001, BERT has 1e-12).",
            {"weights.epsilon": own},
        )
        for own in ("1e-6", "1e-3")
    ),
    Mistake(
        "sample_variance",
        "The squares are divided by d_model − 1 (torch.var's default, ddof=1). Layer norm divides "
        "by d_model.",
        {_VARIANCE: "tf.reduce_sum(tf.square(centred), axis=-1, keepdims=True) "
         "/ (inputs.shape[-1] - 1)"},
    ),
    Mistake(
        "divided_by_variance",
        "The features are divided by the variance. Divide by its square root.",
        {"tf.math.rsqrt(": "tf.math.reciprocal("},
    ),
    Mistake(
        "no_mean",
        "The mean is never subtracted: that is RMSNorm (Zhang and Sennrich 2019), a cousin of "
        "layer norm. Subtract it first, and take the variance of what is left.",
        {"centred = inputs - mean": "centred = inputs"},
    ),
    Mistake(
        "mean_not_subtracted",
        "The variance is right, but what is divided by its root still holds the mean. Divide "
        "inputs − mean.",
        {"normalised = centred *": "normalised = inputs *"},
    ),
    Mistake(
        "norm_scale_unused",
        "weights.scale is not used: multiply by it after normalising.",
        {"normalised * weights.scale": "normalised"},
    ),
    Mistake(
        "norm_offset_unused",
        "weights.offset is not used: add it at the end.",
        {" + weights.offset": ""},
    ),
    Mistake(
        "offset_before_scale",
        "The offset is added before the scale multiplies. Scale first, then add the offset.",
        {"normalised * weights.scale + weights.offset":
         "(normalised + weights.offset) * weights.scale"},
    ),
    Mistake(
        "scale_and_offset_swapped",
        "scale and offset are swapped: scale multiplies, offset is added.",
        {"normalised * weights.scale + weights.offset":
         "normalised * weights.offset + weights.scale"},
    ),
    Mistake(
        "no_division",
        "The features are centred but not divided. Divide them by √(variance + epsilon).",
        {"centred * tf.math.rsqrt(variance + weights.epsilon)": "centred"},
    ),
)  # fmt: skip

_GELU = "0.5 * hidden * (1.0 + tf.math.erf(hidden / 2.0**0.5))"
FEED_FORWARD_MISTAKES = (
    Mistake(
        "relu_for_gelu",
        "The activation is a ReLU, as in the paper of 2017. BERT and this exercise use GELU.",
        {_GELU: "tf.nn.relu(hidden)"},
    ),
    Mistake(
        "no_activation",
        "There is no activation, so the two linear layers are worth one: (xA)B = x(AB). Put a "
        "GELU between them.",
        {_GELU: "hidden"},
    ),
    Mistake(
        "swish_for_gelu",
        "The activation is x · sigmoid(x), swish or SiLU. Use GELU, x · Φ(x).",
        {_GELU: "tf.nn.silu(hidden)"},
    ),
    Mistake(
        "quick_gelu",
        "The activation is x · sigmoid(1.702x), CLIP's rough GELU. It is off by up to 0.02, too "
        "much for BERT's weights.",
        {_GELU: "hidden * tf.sigmoid(1.702 * hidden)"},
    ),
    Mistake("tanh_for_gelu", "The activation is tanh. Use GELU.", {_GELU: "tf.tanh(hidden)"}),
    Mistake(
        "sigmoid_for_gelu", "The activation is a sigmoid. Use GELU.", {_GELU: "tf.sigmoid(hidden)"}
    ),
    Mistake(
        "activation_at_the_end",
        "There is a GELU after the second layer too. The output must be free to be negative: "
        "activate between the two layers only.",
        {"return linear(hidden, layer_out)": "return tf.nn.gelu(linear(hidden, layer_out))"},
    ),
    Mistake(
        "inner_bias_unused",
        "The bias of the first layer is not added. linear(inputs, layer_in) adds it.",
        {"linear(inputs, layer_in)": "tf.matmul(inputs, layer_in.kernel)"},
    ),
    Mistake(
        "outer_bias_unused",
        "The bias of the second layer is not added. linear(hidden, layer_out) adds it.",
        {"linear(hidden, layer_out)": "tf.matmul(hidden, layer_out.kernel)"},
    ),
    Mistake(
        "inputs_added",
        "The inputs are added to the result. The residual connection belongs to encoder_block.",
        {"return linear(": "return inputs + linear("},
    ),
)  # fmt: skip
TANH_GELU = Alternative(
    "your GELU is the tanh approximation. It passes, though it is off by up to 0.0005; GPT-2 was "
    "trained with it, while the transformers library runs BERT with the exact one (erf).",
    {_GELU: "tf.nn.gelu(hidden, approximate=True)"},
    where="feed_forward",
)

_READS = "        inputs, key_size"
_ATTENTION_NORM = "layer_norm(inputs + attended, weights.attention_norm)"
_FEED_FORWARD = "feed_forward(middle, weights.feed_forward_in, weights.feed_forward_out)"
_FEED_FORWARD_NORM = "layer_norm(middle + fed, weights.feed_forward_norm)"
BLOCK_MISTAKES = (
    Mistake(
        "no_attention_residual",
        "The inputs are not added to what attention gives: without this path a token forgets "
        "itself. Add them: norm(inputs + attention).",
        {"inputs + attended": "attended"},
    ),
    Mistake(
        "no_feed_forward_residual",
        "The feed-forward result replaces its input; add them: norm(x + feed_forward(x)).",
        {"middle + fed": "fed"},
    ),
    Mistake(
        "attention_residual_after_norm",
        "The inputs are added after the first norm. Post-LN adds first: norm(inputs + attention).",
        {_ATTENTION_NORM: "inputs + layer_norm(attended, weights.attention_norm)"},
    ),
    Mistake(
        "feed_forward_residual_after_norm",
        "x is added after the second norm. Post-LN adds first: norm(x + feed_forward(x)).",
        {_FEED_FORWARD_NORM: "middle + layer_norm(fed, weights.feed_forward_norm)"},
    ),
    Mistake(
        "pre_ln",
        "This is a pre-LN block: x + attention(norm(x)), as in GPT-2. It is a good design, but "
        "this exercise is the paper's and BERT's post-LN: norm(x + attention(x)).",
        {_READS: _READS.replace("inputs", "layer_norm(inputs, weights.attention_norm)"),
         _ATTENTION_NORM: "inputs + attended",
         "feed_forward(middle,": "feed_forward(layer_norm(middle, weights.feed_forward_norm),",
         _FEED_FORWARD_NORM: "middle + fed"},
    ),
    Mistake(
        "no_attention_norm",
        "The norm after attention is missing: norm(inputs + attention).",
        {_ATTENTION_NORM: "inputs + attended"},
    ),
    Mistake(
        "no_feed_forward_norm",
        "The norm after the feed-forward part is missing, so activations grow from block to block: "
        "norm(x + feed_forward(x)).",
        {_FEED_FORWARD_NORM: "middle + fed"},
    ),
    Mistake(
        "norms_swapped",
        "The two norms have each other's weights: attention_norm is the first, feed_forward_norm "
        "the second.",
        {"attended, weights.attention_norm": "attended, weights.feed_forward_norm",
         " fed, weights.feed_forward_norm": " fed, weights.attention_norm"},
    ),
    Mistake(
        "one_norm_twice",
        "Both norms use weights.attention_norm. The second has its own: weights.feed_forward_norm.",
        {" fed, weights.feed_forward_norm": " fed, weights.attention_norm"},
    ),
    Mistake(
        "no_feed_forward",
        "The block ends after attention: the feed-forward half is missing.",
        {f"    fed = {_FEED_FORWARD}\n": "", f"return {_FEED_FORWARD_NORM}": "return middle"},
    ),
    Mistake(
        "no_attention",
        "Attention has no effect: each token passes through alone. Add what self_attention gives "
        "to the inputs.",
        {"inputs + attended": "inputs"},
    ),
    Mistake(
        "feed_forward_reads_inputs",
        "The feed-forward part reads the block's inputs. It must read what the first norm gave.",
        {"feed_forward(middle,": "feed_forward(inputs,"},
    ),
    Mistake(
        "second_residual_from_inputs",
        "The second residual adds the block's inputs. Add what the feed-forward part read, the "
        "result of the first norm.",
        {"middle + fed": "inputs + fed"},
    ),
    Mistake(
        "feed_forward_first",
        "The feed-forward half comes before the attention half. Attention is first.",
        {_READS: "        (inputs := layer_norm(inputs + feed_forward(inputs, "
         "weights.feed_forward_in, weights.feed_forward_out), weights.feed_forward_norm)), "
         "key_size",
         f"    fed = {_FEED_FORWARD}\n": "", f"return {_FEED_FORWARD_NORM}": "return middle"},
    ),
    Mistake(
        "mask_not_passed",
        "The mask has no effect: hidden tokens are read. Pass mask=mask on to self_attention.",
        {"mask=mask": "mask=None"},
    ),
    Mistake(
        "training_not_passed",
        "Dropout never acts, even while training. Pass training=training (and dropout_rate) on to "
        "self_attention.",
        {"training=training": "training=False"},
    ),
    Mistake(
        "dropout_always_on",
        "Two calls differ although `training` is False: dropout acts all the time. Pass "
        "training=training on.",
        {"training=training": "training=True"},
    ),
    Mistake(
        "attention_not_from_inputs",
        "Attention reads normalised inputs, and the sum is normalised too: this is half pre-LN, "
        "half post-LN. Attention reads the inputs as they are.",
        {_READS: _READS.replace("inputs", "layer_norm(inputs, weights.attention_norm)")},
    ),
)  # fmt: skip

_LOOP = "for layer in range(num_layers)"
FORWARD_MISTAKES = (
    Mistake(
        "one_layer_for_all",
        "Every layer uses the weights of the first. num_layers layers have num_layers sets of "
        "weights (ALBERT shares them on purpose; here it is an accident).",
        {"weights[layer]": "weights[0]"},
    ),
    Mistake(
        "fresh_layers_identical",
        "Without `weights` all fresh layers are the same one. [block] * num_layers repeats one "
        "block; make a new one for each layer, in a loop or a list comprehension.",
        {"[random_block_weights(*sizes) for _ in range(num_layers)]":
         "[random_block_weights(*sizes)] * num_layers"},
    ),
    Mistake(
        "last_layer_for_all",
        "Every layer uses the weights of the last one. Layer number `layer` has weights[layer].",
        {"weights[layer]": "weights[-1]"},
    ),
    Mistake(
        "last_layer_skipped",
        "The last layer is never applied. Does the loop run num_layers times?",
        {_LOOP: "for layer in range(num_layers - 1)"},
    ),
    Mistake(
        "first_layer_skipped",
        "The first layer is never applied. Layers count from 0.",
        {_LOOP: "for layer in range(1, num_layers)"},
    ),
    Mistake(
        "only_the_first_layer",
        "Only the first layer is applied. Is there a `return` inside the loop?",
        {_LOOP: "for layer in range(min(1, num_layers))"},
    ),
    Mistake(
        "layers_reversed",
        "The layers are applied from last to first. Start with weights[0].",
        {"weights[layer]": "weights[num_layers - 1 - layer]"},
    ),
    Mistake(
        "layers_read_inputs",
        "Each layer reads the original inputs, so only the last one counts. Feed it what the layer "
        "before gave.",
        {"            hidden, key_size": "            inputs, key_size"},
    ),
    Mistake(
        "mask_not_passed",
        "The mask has no effect: hidden tokens are read. Pass mask=mask on to every block.",
        {"mask=mask": "mask=None"},
    ),
    Mistake(
        "mask_in_first_layer_only",
        "Only the first layer obeys the mask; the later ones read hidden tokens again. Pass "
        "mask=mask on in every turn.",
        {"mask=mask": "mask=mask if layer == 0 else None"},
    ),
    Mistake(
        "training_not_passed",
        "Dropout never acts, even while training. Pass training=training (and dropout_rate) on to "
        "every block.",
        {"training=training": "training=False"},
    ),
    Mistake(
        "dropout_always_on",
        "Two calls differ although `training` is False: dropout acts all the time. Pass "
        "training=training on.",
        {"training=training": "training=True"},
    ),
    Mistake(
        "extra_residual",
        "What goes into a block is added to what comes out. Each block has its two residual "
        "connections inside; add none around it.",
        {"hidden = encoder_block(": "hidden = hidden + encoder_block("},
    ),
    Mistake(
        "inputs_added",
        "The inputs are added to the result. The blocks have their residual connections inside.",
        {"return hidden": "return inputs + hidden"},
    ),
    Mistake(
        "layers_summed",
        "The outputs of all layers are added up. The result is the last layer's output.",
        {"hidden = inputs\n": "hidden, outputs = inputs, []\n",
         ")  # fmt: skip\n    return hidden":
         ")\n        outputs.append(hidden)\n    return tf.add_n(outputs)"},
    ),
    Mistake(
        "layers_averaged",
        "The outputs of all layers are averaged. The result is the last layer's output.",
        {"hidden = inputs\n": "hidden, outputs = inputs, []\n",
         ")  # fmt: skip\n    return hidden":
         ")\n        outputs.append(hidden / num_layers)\n    return tf.add_n(outputs)"},
    ),
    Mistake(
        "returns_every_layer",
        "The outputs of all layers are returned. Return the last one.",
        {"hidden = inputs\n": "hidden, outputs = inputs, []\n",
         ")  # fmt: skip\n    return hidden":
         ")\n        outputs.append(hidden)\n    return tf.stack(outputs)"},
    ),
    Mistake(
        "extra_norm_at_end",
        "The result is normalised once more. Post-LN blocks end with a norm already; only pre-LN "
        "models have one more at the end.",
        {"return hidden": "return layer_norm(hidden, weights[-1].feed_forward_norm)"},
    ),
    Mistake(
        "positions_added",
        "Positions are added inside. The docstring says that they are in the inputs already, so "
        "now they are there twice.",
        {"hidden = inputs\n":
         "hidden = inputs + positional_encoding(inputs.shape[1], inputs.shape[2])\n"},
    ),
    Mistake(
        "inputs_scaled",
        "The inputs are multiplied by √d_model. The paper does that to embeddings (3.4), before "
        "the positions are added; it is no part of the stack.",
        {"hidden = inputs\n": "hidden = inputs * inputs.shape[-1] ** 0.5\n"},
    ),
)  # fmt: skip

_INPUTS = normal(2, LENGTH, D_MODEL, seed=31)
_BLOCK = block_weights(32)
_LAYERS = tuple(block_weights(seed) for seed in (100, 200, 300))
_EMPTY_ROW = np.broadcast_to(causal(LENGTH, LENGTH), (2, 1, LENGTH, LENGTH)).copy()
_EMPTY_ROW[0, 0, 1] = False
_CONSTANT_TOKEN = normal(2, 3, D_MODEL, seed=33)
_CONSTANT_TOKEN[1, 2] = 0.7

POSITION_CASES = (
    Case("6 positions, 8 columns", Call(6, 8)),
    Case("an odd number of columns", Call(4, 7)),
    Case("one position", Call(1, 10)),
    Case("100 positions", Call(100, 12)),
)
NORM_CASES = (
    Case("a batch", Call(normal(2, 5, D_MODEL, seed=34, scale=2.0) + 1.0, norm_weights(35))),
    Case("two axes", Call(normal(4, 6, seed=36), norm_weights(37, width=6))),
    Case("a small epsilon", Call(normal(2, 3, 9, seed=38), norm_weights(39, 1e-6, 9))),
    Case("small numbers", Call(normal(2, 3, 9, seed=40, scale=0.01), norm_weights(41, 1e-4, 9))),
    Case("equal features", Call(_CONSTANT_TOKEN, norm_weights(42))),
)
FEED_FORWARD_CASES = (
    Case(
        "a batch",
        Call(
            normal(2, LENGTH, D_MODEL, seed=43, scale=1.5),
            linear_layer(D_MODEL, D_FF, 44),
            linear_layer(D_FF, D_MODEL, 46),
        ),
    ),
    Case(
        "one token",
        Call(normal(1, 1, 6, seed=48), linear_layer(6, 9, 49), linear_layer(9, 6, 51)),
    ),
    Case(
        "no bias",
        Call(
            normal(3, 2, 5, seed=53),
            linear_layer(5, 8, 54, bias=False),
            linear_layer(8, 5, 55, bias=False),
        ),
    ),
)


class _DropoutActs(Call):
    """Does dropout act while training, and only if its rate is not 0?"""

    returns = ("“training with rate 0 is inference”", "“dropout acts while training”")

    def __call__(self, attempt):
        def output(rate: float, training: bool) -> np.ndarray:
            call = Call(*self.args, rate, **self.kwargs, training=training)
            return np.asarray(call(attempt))

        inference = output(0.0, False)
        return (
            np.array(abs(inference - output(0.0, True)).max() < 1e-4),
            np.array(abs(inference - output(0.5, True)).max() > 1e-4),
        )


@cache
def _generator() -> tf.random.Generator:
    """One for all calls: a function traced by tf.function goes on with the one it has met."""
    return tf.random.Generator.from_seed(1)


@contextmanager
def _the_same_draws() -> Iterator[None]:
    """What is drawn with tf.random.normal, truncated_normal and uniform is the same each time.

    `tf.random.set_seed` would do it too. But the seed is the learner's, and to set it makes
    TensorFlow forget what it has prepared for every operation, which takes a tenth of a second.
    """
    generator = _generator()
    generator.reset_from_seed(1)

    def drawing(draw: Callable) -> Callable:
        def drawn(shape, *args, seed=None, **kwargs):
            return draw(shape, *args[:3], **kwargs)  # after the dtype comes the seed

        return drawn

    names = ("normal", "truncated_normal", "uniform")
    with patch.multiple(tf.random, **{name: drawing(getattr(generator, name)) for name in names}):
        yield


class _FreshLayers(Call):
    """Without weights: are two fresh layers something else than one fresh layer twice?

    The first layer of each call is the same one every time.
    """

    returns = (
        "the output's shape",
        "“all numbers are finite”",
        "“each fresh layer has weights of its own”",
    )

    def __call__(self, attempt):
        def output(inputs: np.ndarray, num_layers: int) -> np.ndarray:
            with _the_same_draws():
                return np.asarray(Call(inputs, num_layers, *SIZES, 0.0)(attempt))

        (inputs,) = self.args
        two = output(inputs, 2)
        one_twice = output(output(inputs, 1), 1)
        return (
            np.array(two.shape),
            np.array(np.isfinite(two).all()),
            np.array(abs(two - one_twice).max() > 1e-4),
        )


_NOT_TRAINING = "a dropout rate, but not training"


def _call(inputs: np.ndarray, **options) -> Call:
    return Call(inputs, *SIZES, 0.0, weights=_BLOCK, **options)


def _layers(num_layers: int, inputs: np.ndarray = _INPUTS, **options) -> Call:
    return Call(inputs, num_layers, *SIZES, 0.0, weights=_LAYERS[:num_layers], **options)


_ONE_TOKEN = normal(3, 1, D_MODEL, seed=56)
BLOCK_CASES = (
    Case("no mask", _call(_INPUTS)),
    Case("padding mask", _call(_INPUTS, mask=padding((3, 5), LENGTH))),
    Case("causal mask", _call(_INPUTS, mask=causal(LENGTH, LENGTH))),
    Case("a token that may look nowhere", _call(_INPUTS, mask=_EMPTY_ROW)),
    Case("one token", _call(_ONE_TOKEN)),
    Case(_NOT_TRAINING, Twice(_INPUTS, *SIZES, 0.5, weights=_BLOCK)),
    Case("dropout while training", _DropoutActs(_INPUTS, *SIZES, weights=_BLOCK)),
    Case("the article's call, without weights", Twice(_INPUTS, *SIZES, 0.0)),
)
# Three layers where their order shows, two where it matters that all get the mask; a layer takes as
# long as a whole check of a smaller exercise.
FORWARD_CASES = (
    Case("three layers", _layers(3)),
    Case("two layers and a padding mask", _layers(2, mask=padding((3, 5), LENGTH))),
    Case("one layer, and a token that may look nowhere", _layers(1, mask=_EMPTY_ROW)),
    Case("one token", _layers(1, _ONE_TOKEN)),
    Case(_NOT_TRAINING, Twice(_INPUTS, 1, *SIZES, 0.5, weights=_LAYERS[:1])),
    Case("dropout while training", _DropoutActs(_INPUTS, 1, *SIZES, weights=_LAYERS[:1])),
    Case("the article's call, without weights", _FreshLayers(_INPUTS)),
)


def _one_layer(attempt):
    """transformer_forward with one layer as a function of the arguments of encoder_block."""
    return lambda inputs, *sizes: attempt(inputs, 1, *sizes)


def _looks_at_no_other_token(attempt) -> bool:
    changes = influence(lambda batch: attempt(batch, *SIZES, 0.0), _INPUTS[0])
    return (changes[~np.eye(LENGTH, dtype=bool)] < 1e-6).all()


def _uses_hidden_tokens(attempt, before: tuple, weights) -> bool:
    """The same sequence three times, once with other padded tokens: do its real tokens differ?

    If the first two differ as well, something else is wrong.
    """
    inputs = np.stack([_INPUTS[0]] * 3)
    inputs[2, 3:] += 1.0
    call = Call(inputs, *before, *SIZES, 0.0, weights=weights, mask=padding((3, 3, 3), LENGTH))
    first, same, other = np.asarray(call(attempt))[:, :3]
    return abs(first - same).max() < 1e-4 and abs(first - other).max() > 1e-3


def _is_steady(attempt, cases: tuple[Case, ...]) -> bool:
    return next(case for case in cases if case.name == _NOT_TRAINING).run(attempt)[2]


_WIDTH = "the output is not (batch, length, d_model), as wide as the inputs."
_ALONE = "a token's output does not change when another token changes: nothing is attended to."
_LEAK = "the output of real tokens changes when hidden ones change."
_UNSTEADY = "two calls with the same inputs and weights, not training, differ."

EXERCISES = (
    Exercise(
        positional_encoding,
        POSITION_MISTAKES,
        hints=(
            "What is the first row, position 0? sin(0) and cos(0) are known.",
            "Make a column of positions and a row of exponents; what does dividing one by "
            "10000**the other give?",
            "Columns 2i and 2i + 1 share their exponent 2i / d_model. columns // 2 counts 0, 0, "
            "1, 1, … and tf.where(columns % 2 == 0, …, …) chooses.",
            "angles = positions[:, None] / 10000.0 ** (2 * (columns // 2) / d_model), both as "
            "float32; tf.where(columns % 2 == 0, tf.sin(angles), tf.cos(angles)).",
        ),
        cases=POSITION_CASES,
        compare_with="solution('positional_encoding'), and section 3.5 of the paper.",
        returns=("encoding",),
    ),
    Exercise(
        layer_norm,
        NORM_MISTAKES,
        hints=(
            "Over which axis do mean and variance run, if no token may change another?",
            "keepdims=True lets (…, 1) be subtracted from (…, d_model). What keeps the division "
            "safe when all features are equal?",
            "variance = tf.reduce_mean(tf.square(inputs - mean), axis=-1, keepdims=True). epsilon "
            "goes under the root.",
            "(inputs - mean) * tf.math.rsqrt(variance + weights.epsilon) * weights.scale + "
            "weights.offset.",
        ),
        cases=NORM_CASES,
        compare_with="solution('layer_norm'), and keras.layers.LayerNormalization.",
    ),
    Exercise(
        feed_forward,
        FEED_FORWARD_MISTAKES,
        hints=(
            "What would two linear layers in a row be worth without anything between them?",
            "linear(inputs, layer_in) makes each token wider. What then, before layer_out?",
            "linear(tf.nn.gelu(linear(inputs, layer_in)), layer_out). There is no activation after "
            "the second layer.",
        ),
        cases=FEED_FORWARD_CASES,
        compare_with="solution('feed_forward'), and two keras.layers.Dense in a row.",
        alternatives=(TANH_GELU,),
    ),
    Exercise(
        encoder_block,
        BLOCK_MISTAKES,
        hints=(
            "There are two halves of the same form. What is inside, and what do both have around "
            "it?",
            "norm(x + attention(x)) is the first half. What does the second half read, and what "
            "does it add?",
            "Pass mask and training on to self_attention, with weights=weights.attention. Each "
            "norm has its own weights. If weights are None, random_block_weights makes them.",
            "middle = layer_norm(inputs + self_attention(...), weights.attention_norm); return "
            "layer_norm(middle + feed_forward(middle, weights.feed_forward_in, "
            "weights.feed_forward_out), weights.feed_forward_norm).",
        ),
        cases=BLOCK_CASES,
        compare_with="solution('encoder_block'), and figure 1 (left) of the paper.",
        symptoms=(
            Probe(_WIDTH, lambda f: article_call(f, _INPUTS).shape != _INPUTS.shape),
            Probe(_ALONE, _looks_at_no_other_token),
            Probe(_LEAK, lambda f: _uses_hidden_tokens(f, (), _BLOCK)),
            Probe(_UNSTEADY, lambda f: not _is_steady(f, BLOCK_CASES)),
        ),
        alternatives=(TANH_GELU,),
        inherits=("self_attention", "layer_norm", "feed_forward"),
        not_inherited=("inputs_added", "no_epsilon", "no_output_projection"),
    ),
    Exercise(
        transformer_forward,
        FORWARD_MISTAKES,
        hints=(
            "What does layer 2 read: the inputs, or what layer 1 gave?",
            "A loop over num_layers, one encoder_block in each turn. Which weights does turn "
            "number `layer` take?",
            "Pass mask and training on in every turn. If weights are None, make a list of "
            "random_block_weights, a new one for each layer.",
            "hidden = inputs; for layer in range(num_layers): hidden = encoder_block(hidden, "
            "key_size, value_size, num_heads, dropout_rate, weights=weights[layer], mask=mask, "
            "training=training); return hidden.",
        ),
        cases=FORWARD_CASES,
        compare_with="solution('transformer_forward'); notebook 04 gives it BERT's weights.",
        symptoms=(
            Probe(_WIDTH, lambda f: article_call(_one_layer(f), _INPUTS).shape != _INPUTS.shape),
            Probe(_ALONE, lambda f: _looks_at_no_other_token(_one_layer(f))),
            Probe(_LEAK, lambda f: _uses_hidden_tokens(f, (2,), _LAYERS[:2])),
            Probe(_UNSTEADY, lambda f: not _is_steady(f, FORWARD_CASES)),
        ),
        alternatives=(TANH_GELU,),
        inherits=("encoder_block", "self_attention", "layer_norm", "feed_forward"),
        not_inherited=("inputs_added", "no_epsilon", "no_output_projection"),
    ),
)
