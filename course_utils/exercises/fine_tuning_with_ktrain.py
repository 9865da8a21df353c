"""05: the parts of fine-tuning: a schedule, a head, a step of training, a measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from course_utils.exercise import Call, Case, Exercise, Mistake, Probe
from course_utils.inputs import DROPOUT_FACTS, Twice, dropout_facts, linear_layer, normal
from course_utils.weights import HeadWeights, Linear, linear


def learning_rate(
    step: int,
    total_steps: int,
    warmup_steps: int,
    peak: float,
    first: float = 0.0,
    last: float = 0.0,
) -> float:
    """The learning rate of a step: up in a straight line to the peak, then down in another.

    step counts from 0. The rate is `first` at step 0, `peak` at step warmup_steps, and `last` at
    step total_steps and for ever after. With warmup_steps = 0 it starts at the peak.
    Returns one number.
    """
    if step >= total_steps:
        return last
    if step < warmup_steps:
        return first + (peak - first) * step / warmup_steps
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak + (last - peak) * done


def classification_head(
    hidden: tf.Tensor, weights: HeadWeights, dropout_rate: float = 0.0, training: bool = False
) -> tf.Tensor:
    """One score per class for each text: what fine-tuning puts on top of BERT's encoder.

    The vector of the first token ([CLS]) goes through the pooler, a linear layer and tanh; then
    dropout, in training only; then the projection to the classes, and nothing after it.

    hidden: (batch, length, d_model), the encoder's output
    dropout_rate: share of the pooled numbers set to 0, the others divided by (1 - rate)
    Returns the scores (logits), (batch, num_classes).
    """
    pooled = tf.tanh(linear(hidden[:, 0], weights.pooler))
    if training:
        pooled = tf.nn.dropout(pooled, dropout_rate)
    return linear(pooled, weights.projection)


def train_step(
    model: Callable,
    weights: Sequence[tf.Tensor],
    inputs: tf.Tensor,
    labels: tf.Tensor,
    rate: float,
    max_norm: float = 1.0,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """One step of gradient descent, with the gradient clipped.

    The loss is the cross-entropy of the scores with the labels, averaged over the batch. All
    gradients together have one norm (the root of the sum of all their squares). If it is above
    max_norm, all are scaled by the same factor, so that it becomes max_norm (Pascanu et al. 2013,
    algorithm 1). Then weight - rate * gradient.

    model:   model(inputs, weights) returns scores before softmax, (batch, num_classes)
    weights: tensors, not variables: the tape must be told to watch them
    labels:  (batch,) class numbers
    Returns the loss before the step, and the new weights as a tuple in the same order.
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        scores = model(inputs, weights)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, weights)
    clipped, _ = tf.clip_by_global_norm(gradients, max_norm)
    return loss, tuple(w - rate * g for w, g in zip(weights, clipped, strict=True))


def macro_f1(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> float:
    """The mean over the classes of each class's F1: small classes count as much as large ones.

    F1 is the harmonic mean of precision and recall. With the hits of a class (rows that have it as
    label and as prediction) it is 2 * hits / (rows labelled so + rows predicted so).
    A class that is in neither is left out of the mean; one that is in either counts, if only as 0.

    labels, predictions: (rows,) class numbers from 0 to num_classes - 1, at least one row
    Returns one number.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    scores = []
    for number in range(num_classes):
        actual, predicted = labels == number, predictions == number
        hits = np.sum(actual & predicted)
        total = np.sum(actual) + np.sum(predicted)
        if total:
            scores.append(2 * hits / total)
    return float(np.mean(scores))


class _Number(Call):
    """A number, be it Python's, NumPy's or a tensor of whatever float type."""

    def __call__(self, attempt):
        value = super().__call__(attempt)
        is_number = isinstance(value, (tf.Tensor, np.ndarray, np.generic, float, int))
        return np.float64(value) if is_number and np.ndim(value) == 0 else value


# ---- learning_rate ----

_UP = "first + (peak - first) * step / warmup_steps"
_DOWN = "return peak + (last - peak) * done"
_DONE = "(step - warmup_steps) / (total_steps - warmup_steps)"
RATE_MISTAKES = (
    Mistake(
        "no_warmup",
        "The rate is at its peak from step 0 on. During the warm-up it rises from `first` to "
        "`peak`.",
        {f"return {_UP}": "return peak"},
    ),
    Mistake(
        "decay_during_warmup",
        "There is no warm-up: the rate falls from step 0 on. Until warmup_steps it must rise.",
        {"if step < warmup_steps:": "if False:", _DONE: "step / total_steps"},
    ),
    Mistake(
        "rate_stays_at_peak",
        "After the warm-up the rate stays at its peak until the end. It must fall to `last`.",
        {_DOWN: "return peak"},
    ),
    Mistake(
        "warmup_one_step_early",
        "The warm-up is one step ahead: step 0 already has a part of the rise, (step + 1) / "
        "warmup_steps. Step 0 has the rate `first`.",
        {"* step / warmup_steps": "* (step + 1) / warmup_steps"},
    ),
    Mistake(
        "warmup_one_step_late",
        "The warm-up rises too slowly, by step / (warmup_steps + 1), and then jumps. At step "
        "warmup_steps it should arrive at the peak.",
        {"* step / warmup_steps": "* step / (warmup_steps + 1)"},
    ),
    Mistake(
        "warmup_rounded_down",
        "The rate stays at `first` through the warm-up and then jumps to the peak: // drops the "
        "fraction. Divide with /.",
        {"(peak - first) * step / warmup_steps": "(peak - first) * (step // warmup_steps)"},
    ),
    Mistake(
        "warmup_overshoots",
        "The warm-up ends at peak + first, above the peak: it should rise by peak - first.",
        {_UP: "first + peak * step / warmup_steps"},
    ),
    Mistake(
        "first_ignored",
        "The warm-up starts at 0, not at `first`.",
        {_UP: "peak * step / warmup_steps"},
    ),
    Mistake(
        "warmup_falls",
        "In the warm-up the rate falls from the peak to `first`. It should rise: `first` comes "
        "first.",
        {_UP: "peak + (first - peak) * step / warmup_steps"},
    ),
    *(
        Mistake(
            "last_ignored",
            "The rate goes down to 0, not to `last`.",
            change,
        )
        # Everywhere; after the end alone; before the end alone.
        for change in (
            {"(last - peak) * done": "(0.0 - peak) * done", "return last\n": "return 0.0\n"},
            {"return last\n": "return 0.0\n"},
            {"(last - peak) * done": "(0.0 - peak) * done"},
        )
    ),
    Mistake(
        "decay_over_all_steps",
        "The fall is spread over total_steps, so it has not arrived when training ends. It has "
        "total_steps - warmup_steps steps.",
        {_DONE: "(step - warmup_steps) / total_steps"},
    ),
    Mistake(
        "decay_from_step_zero",
        "After the warm-up the rate does not start at its peak but below: the fall is counted from "
        "step 0. Count from warmup_steps.",
        {_DONE: "step / total_steps"},
    ),
    Mistake(
        "decay_too_steep",
        "The fall counts its steps from 0 and its length from the warm-up, so it drops below "
        "`last` before the end. Count both from warmup_steps.",
        {_DONE: "step / (total_steps - warmup_steps)"},
    ),
    *(
        Mistake(
            "falls_below_last",
            "After total_steps the rate goes on falling, below `last` (with last = 0 it is "
            "negative, and training would climb). Stop at `last`.",
            change,
        )
        # They differ if all steps are warm-up: 0 / 0, the right rate, or the peak.
        for change in (
            {"step >= total_steps": "False"},
            {"step >= total_steps": "step == total_steps"},
            {"step >= total_steps": "False",
             "/ (total_steps - warmup_steps)": "/ max(1, total_steps - warmup_steps)"},
        )
    ),
    Mistake(
        "rises_at_the_end",
        "After the warm-up the rate jumps to `last` and climbs to the peak. It should fall from "
        "the peak to `last`.",
        {_DOWN: "return last + (peak - last) * done"},
    ),
    Mistake(
        "cosine_decay",
        "The rate falls in a cosine. That is a good schedule, but the docstring asks for a "
        "straight line.",
        {_DOWN: "return float(last + (peak - last) * (1 + np.cos(np.pi * done)) / 2)"},
    ),
    Mistake(
        "quadratic_decay",
        "The rate falls in a curve, with the square of what is left. The docstring asks for a "
        "straight line.",
        {_DOWN: "return last + (peak - last) * (1 - done) ** 2"},
    ),
    Mistake(
        "inverse_square_root",
        "The rate falls with 1/√step, as in “Attention Is All You Need” (5.3). Here it falls in "
        "a straight line.",
        {_DOWN: "return float(peak * (max(warmup_steps, 1) / max(step, 1)) ** 0.5)"},
    ),
    Mistake(
        "warmup_is_half",
        "The peak comes in the middle of the training, whatever warmup_steps is.",
        {"if step < warmup_steps:": "warmup_steps = total_steps // 2\n    if step < warmup_steps:"},
    ),
)  # fmt: skip


class _Rates(Call):
    """The rates of steps 0 to `until`, one number each."""

    returns = ("rate of step",)

    def __init__(self, until: int, *args, **options):
        super().__init__(*args, **options)
        self.until = until

    def __call__(self, attempt):
        steps = range(self.until)
        return np.array([float(attempt(step, *self.args, **self.kwargs)) for step in steps])


RATE_CASES = (
    Case("step 3 of 10, warm-up 4, peak 2", _Number(3, 10, 4, 2.0)),
    Case("10 steps, 4 of them warm-up", _Rates(13, 10, 4, 2.0)),
    Case("no warm-up", _Rates(9, 7, 0, 3.0)),
    Case("first and last given", _Rates(14, 11, 5, 4.0, first=0.5, last=0.25)),
    Case("nothing but warm-up", _Rates(7, 6, 6, 3.0, first=0.5, last=0.75)),
    Case("one step", _Rates(3, 1, 0, 2.0, last=0.5)),
)


def _rates(attempt) -> np.ndarray:
    return RATE_CASES[3].run(attempt)


# ---- classification_head ----

_FIRST = "hidden[:, 0]"
_POOLED = "tf.tanh(linear(hidden[:, 0], weights.pooler))"
_HEAD_DROPOUT = "tf.nn.dropout(pooled, dropout_rate)"
_SCORES = "linear(pooled, weights.projection)"
HEAD_MISTAKES = (
    Mistake(
        "mean_pooling",
        "The vectors of all tokens are averaged. This head reads the first token alone, [CLS]: "
        "hidden[:, 0].",
        {_FIRST: "tf.reduce_mean(hidden, axis=1)"},
    ),
    Mistake(
        "last_token_pooling",
        "The last token's vector is taken. In a padded batch that is padding; [CLS] comes first: "
        "hidden[:, 0].",
        {_FIRST: "hidden[:, -1]"},
    ),
    Mistake(
        "max_pooling",
        "The maximum over the tokens is taken. This head reads the first token alone, [CLS]: "
        "hidden[:, 0].",
        {_FIRST: "tf.reduce_max(hidden, axis=1)"},
    ),
    Mistake(
        "first_text_for_first_token",
        "All tokens of the first text were taken, not the first token of all texts. Axis 0 is the "
        "batch: hidden[:, 0].",
        {_FIRST: "hidden[0]"},
    ),
    Mistake(
        "every_token_scored",
        "There are scores for every token. A text gets one row: take its first token, "
        "hidden[:, 0].",
        {_FIRST: "hidden"},
    ),
    Mistake(
        "mean_after_pooler",
        "Every token goes through the pooler, and the results are averaged. Only the first token "
        "goes through it.",
        {_POOLED: "tf.reduce_mean(tf.tanh(linear(hidden, weights.pooler)), axis=1)"},
    ),
    Mistake(
        "no_pooler",
        "The pooler is left out: the [CLS] vector goes straight to the projection.",
        {_POOLED: _FIRST},
    ),
    Mistake(
        "tanh_alone",
        "tanh is applied to the [CLS] vector itself: the pooler's linear layer is missing.",
        {_POOLED: f"tf.tanh({_FIRST})"},
    ),
    Mistake(
        "no_tanh",
        "The tanh after the pooler is missing. Without it the two linear layers are one.",
        {_POOLED: "linear(hidden[:, 0], weights.pooler)"},
    ),
    Mistake(
        "tanh_before_pooler",
        "tanh stands before the pooler. It belongs after the linear layer: tanh(linear(…)).",
        {_POOLED: "linear(tf.tanh(hidden[:, 0]), weights.pooler)"},
    ),
    Mistake(
        "relu_for_tanh",
        "The pooler ends in a ReLU. BERT's was trained with tanh, and its weights fit that.",
        {"tf.tanh(": "tf.nn.relu("},
    ),
    Mistake(
        "gelu_for_tanh",
        "The pooler ends in a GELU, as the feed-forward layers do. BERT's pooler has tanh.",
        {"tf.tanh(": "tf.nn.gelu("},
    ),
    Mistake(
        "sigmoid_for_tanh",
        "The pooler ends in a sigmoid (numbers from 0 to 1). BERT's has tanh (from −1 to 1).",
        {"tf.tanh(": "tf.sigmoid("},
    ),
    Mistake(
        "softmax_in_head",
        "These are probabilities. Return the scores: the loss takes the softmax itself, and a "
        "second one flattens the gradient.",
        {f"return {_SCORES}": f"return tf.nn.softmax({_SCORES})"},
    ),
    Mistake(
        "sigmoid_in_head",
        "A sigmoid is applied to the scores. Return the scores themselves.",
        {f"return {_SCORES}": f"return tf.sigmoid({_SCORES})"},
    ),
    Mistake(
        "tanh_on_scores",
        "A tanh is applied to the scores of the classes, so none can be above 1. tanh belongs to "
        "the pooler alone.",
        {f"return {_SCORES}": f"return tf.tanh({_SCORES})"},
    ),
    Mistake(
        "best_class_returned",
        "This is the number of the best class. Return the scores of all: argmax has no gradient.",
        {f"return {_SCORES}": f"return tf.argmax({_SCORES}, axis=-1)"},
    ),
    Mistake(
        "no_pooler_bias",
        "The bias of the pooler is not added.",
        {"linear(hidden[:, 0], weights.pooler)": "tf.matmul(hidden[:, 0], weights.pooler.kernel)"},
    ),
    Mistake(
        "no_projection_bias",
        "The bias of the projection is not added.",
        {_SCORES: "tf.matmul(pooled, weights.projection.kernel)"},
    ),
    Mistake(
        "pooled_normalised",
        "The pooled vectors are scaled to length 1, as sentence vectors are that get compared. A "
        "classifier's are not.",
        {_SCORES: "linear(tf.math.l2_normalize(pooled, -1), weights.projection)"},
    ),
    Mistake(
        "dropout_always_on",
        "Dropout acts without `training=True` as well: the same text gets another answer each "
        "time.",
        {"if training:": "if dropout_rate:"},
    ),
    Mistake(
        "dropout_switch_inverted",
        "Dropout acts when training is False and rests when it is True.",
        {"if training:": "if not training:"},
    ),
    Mistake(
        "dropout_ignored",
        "dropout_rate has no effect in training: tf.nn.dropout(pooled, dropout_rate).",
        {_HEAD_DROPOUT: "pooled"},
    ),
    Mistake(
        "dropout_not_rescaled",
        "Dropout sets numbers to 0 but leaves the others as they are. Divide those by 1 − rate "
        "(tf.nn.dropout does).",
        {_HEAD_DROPOUT: f"{_HEAD_DROPOUT} * (1.0 - dropout_rate)"},
    ),
    Mistake(
        "dropout_keeps_rate",
        "The share that is kept and the share that is dropped are mixed up: dropout_rate is the "
        "share that becomes 0.",
        {_HEAD_DROPOUT: "tf.nn.dropout(pooled, 1.0 - dropout_rate)"},
    ),
    Mistake(
        "dropout_before_pooler",
        "Numbers are dropped before the pooler. Drop the pooled ones, after tanh.",
        {_HEAD_DROPOUT:
         "tf.tanh(linear(tf.nn.dropout(hidden[:, 0], dropout_rate), weights.pooler))"},
    ),
    Mistake(
        "dropout_on_scores",
        "Scores of classes are dropped: a class becomes 0 by chance. Drop before the projection.",
        {f"if training:\n        pooled = {_HEAD_DROPOUT}":
         "if training:\n"
         f"        return tf.nn.dropout({_SCORES}, dropout_rate)"},
    ),
)  # fmt: skip

_HIDDEN = normal(3, 5, 8, seed=81)
_HEAD = HeadWeights(linear_layer(8, 8, seed=82), linear_layer(8, 4, seed=84))


class _HeadDropout(Call):
    """The head in training, seen through a projection that is the identity matrix twice."""

    returns = (
        *DROPOUT_FACTS[:4],
        "“pooled numbers are dropped, not scores”",
        "“both calls give the same”",
        "“without training nothing is dropped”",
    )

    def __call__(self, attempt):
        hidden, weights = self.args

        def head(**options):
            return np.asarray(Call(hidden, weights, dropout_rate=0.25, **options)(attempt))

        without = np.asarray(Call(hidden, weights)(attempt))
        facts = dropout_facts(without, head(training=True), head(training=True), rate=0.25)
        rest = [head(training=False), head()]
        same = all(one.shape == without.shape and abs(one - without).max() < 1e-4 for one in rest)
        return (*facts, np.array(bool(same)))


_EYES = np.tile(np.eye(40, dtype=np.float32), (1, 2))
HEAD_CASES = (
    Case("three texts of five tokens", Call(_HIDDEN, _HEAD)),
    Case("one text of one token", Call(_HIDDEN[:1, :1], _HEAD)),
    Case("large numbers", Call(3 * _HIDDEN, _HEAD)),
    Case("dropout rate without training", Twice(_HIDDEN, _HEAD, dropout_rate=0.5)),
    Case("training, no rate given", Call(_HIDDEN, _HEAD, training=True)),
    Case(
        "dropout",
        _HeadDropout(
            normal(60, 2, 40, seed=86),
            HeadWeights(linear_layer(40, 40, seed=87), Linear(_EYES, np.zeros(80, np.float32))),
        ),
    ),
)


def _head(attempt, hidden: np.ndarray = _HIDDEN) -> np.ndarray:
    return np.asarray(Call(hidden, _HEAD)(attempt))


def _reads_other_tokens(attempt) -> bool:
    other = _HIDDEN.copy()
    other[:, 1:] += 1
    return abs(_head(attempt) - _head(attempt, other)).max() > 1e-3


# ---- train_step ----

_UPDATE = "w - rate * g"
_CLIP = "clipped, _ = tf.clip_by_global_norm(gradients, max_norm)"
_LOSSES = "tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)"
_RETURN = "return loss, tuple(w - rate * g for w, g in zip(weights, clipped, strict=True))"
STEP_MISTAKES = (
    Mistake(
        "climbs",
        "The gradient is added, so the loss grows. It points uphill: subtract it.",
        {_UPDATE: "w + rate * g"},
    ),
    Mistake(
        "no_clipping",
        "A gradient whose norm is above max_norm is used as it is: tf.clip_by_global_norm.",
        {_CLIP: "clipped = gradients"},
    ),
    Mistake(
        "clipped_by_value",
        "Each number of the gradient is cut off at ±max_norm, which turns its direction. Scale all "
        "of them by one factor (tf.clip_by_global_norm).",
        {_CLIP: "clipped = [tf.clip_by_value(g, -max_norm, max_norm) for g in gradients]"},
    ),
    Mistake(
        "clipped_one_by_one",
        "Each tensor is clipped by its own norm. One norm is taken over all of them together "
        "(tf.clip_by_global_norm).",
        {_CLIP: "clipped = [tf.clip_by_norm(g, max_norm) for g in gradients]"},
    ),
    Mistake(
        "small_gradient_scaled_up",
        "The gradient is always scaled to max_norm, a small one too. Scale only if its norm is "
        "above max_norm.",
        {_CLIP: "norm = tf.linalg.global_norm(gradients)\n"
         "    clipped = [g * max_norm / norm for g in gradients]"},
    ),
    Mistake(
        "norm_without_root",
        "The sum of the squares is taken for the norm: the root is missing.",
        {_CLIP: "norm = tf.linalg.global_norm(gradients) ** 2\n"
         "    clipped = [g * max_norm / tf.maximum(norm, max_norm) for g in gradients]"},
    ),
    Mistake(
        "norms_added",
        "The norms of the tensors are added. The norm of all together is the root of the sum of "
        "all squares.",
        {_CLIP: "norm = sum(tf.norm(g) for g in gradients)\n"
         "    clipped = [g * max_norm / tf.maximum(norm, max_norm) for g in gradients]"},
    ),
    Mistake(
        "largest_number_for_norm",
        "The largest number is taken for the norm of the gradient. The norm is the root of the sum "
        "of all squares.",
        {_CLIP: "norm = tf.reduce_max([tf.reduce_max(tf.abs(g)) for g in gradients])\n"
         "    clipped = [g * max_norm / tf.maximum(norm, max_norm) for g in gradients]"},
    ),
    Mistake(
        "max_norm_ignored",
        "The gradient is clipped to a norm of 1 whatever max_norm is.",
        {"tf.clip_by_global_norm(gradients, max_norm)": "tf.clip_by_global_norm(gradients, 1.0)"},
    ),
    Mistake(
        "step_clipped",
        "rate * gradient is clipped. Clip the gradient, then multiply by the rate; else the clip "
        "depends on the schedule.",
        {"(gradients, max_norm)": "([rate * g for g in gradients], max_norm)",
         _UPDATE: "w - g"},
    ),
    Mistake(
        "weights_clipped",
        "The new weights are clipped. Clip the gradient.",
        {_CLIP: "clipped = gradients",
         _RETURN: "return loss, tuple(tf.clip_by_global_norm(\n"
         "        [w - rate * g for w, g in zip(weights, clipped, strict=True)], max_norm)[0])"},
    ),
    Mistake(
        "rate_ignored",
        "The whole gradient is subtracted. Multiply it by `rate` first.",
        {_UPDATE: "w - g"},
    ),
    Mistake(
        "divided_by_rate",
        "The gradient is divided by the rate. Multiply: a small rate makes a small step.",
        {_UPDATE: "w - g / rate"},
    ),
    Mistake(
        "losses_added",
        "The losses of the batch are added up, so the step grows with the batch. Take their mean.",
        {"tf.reduce_mean(losses)": "tf.reduce_sum(losses)"},
    ),
    Mistake(
        "softmax_before_loss",
        "Softmax is applied before the loss, which applies it again. Hand it the scores.",
        {"= model(inputs, weights)": "= tf.nn.softmax(model(inputs, weights))"},
    ),
    Mistake(
        "squared_error",
        "The loss is the squared error of the probabilities. Use the cross-entropy.",
        {_LOSSES: "tf.reduce_sum((tf.nn.softmax(scores) - "
         "tf.one_hot(labels, scores.shape[-1])) ** 2, axis=-1)"},
    ),
    Mistake(
        "binary_cross_entropy",
        "Each class is judged by itself, with a sigmoid. The classes exclude each other: softmax.",
        {_LOSSES: "tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits("
         "tf.one_hot(labels, scores.shape[-1]), scores), axis=-1)"},
    ),
    Mistake(
        "only_the_first_weights",
        "Only the first tensor has changed. Update every one.",
        {_RETURN:
         "return loss, (weights[0] - rate * clipped[0], *weights[1:])"},
    ),
    Mistake(
        "only_the_last_weights",
        "Only the last tensor has changed. Update every one.",
        {_RETURN:
         "return loss, (*weights[:-1], weights[-1] - rate * clipped[-1])"},
    ),
    Mistake(
        "weights_not_updated",
        "The weights come back as they were.",
        {_UPDATE: "w + 0 * g"},
    ),
    Mistake(
        "gradients_returned",
        "These are the gradients, not the new weights: weight - rate * gradient.",
        {_UPDATE: "g"},
    ),
    Mistake(
        "step_returned",
        "This is the step, rate * gradient. Subtract it from the weights.",
        {_UPDATE: "rate * g"},
    ),
    Mistake(
        "loss_after_the_step",
        "The loss is computed with the new weights. Return the one whose gradient was taken.",
        {_RETURN:
         "new = tuple(w - rate * g for w, g in zip(weights, clipped, strict=True))\n"
         "    scores = model(inputs, new)\n"
         "    return tf.reduce_mean("
         "tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)), new"},
    ),
    Mistake(
        "losses_not_averaged",
        "There is a loss for each row. Return one number, their mean.",
        {"loss = tf.reduce_mean(losses)": "loss = losses"},
    ),
)  # fmt: skip


def _two_layers(inputs: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """A small model for the cases: (batch, 4) to (batch, 3)."""
    first, bias, second = weights
    return tf.matmul(tf.tanh(tf.matmul(inputs, first) + bias), second)


_SMALL = (normal(4, 5, seed=91), normal(5, seed=92), normal(5, 3, seed=93))
_ROWS = normal(6, 4, seed=94)
_CLASSES = np.array([0, 2, 1, 2, 2, 0], np.int32)


class _Step(Call):
    """A step of `_two_layers`: the loss, and each tensor by a name of its own."""

    returns = ("loss", *(f"weights {i}" for i in range(len(_SMALL))))

    def __init__(self, *args, **options):
        super().__init__(_two_layers, _SMALL, *args, **options)

    def __call__(self, attempt):
        loss, weights = super().__call__(attempt)
        return loss, *weights


STEP_CASES = (
    Case(
        "one tensor",
        Call(lambda x, w: tf.matmul(x, w[0]), (normal(4, 3, seed=95),), _ROWS, _CLASSES, 0.5, 0.6),
    ),
    Case("a gradient below max_norm", _Step(_ROWS, _CLASSES, 0.5, 50.0)),
    Case("a gradient above max_norm", _Step(_ROWS, _CLASSES, 0.5, 0.3)),
    Case("max_norm not given", _Step(30 * _ROWS[1:3], np.array([0, 0], np.int32), 0.5)),
    Case("one row", _Step(_ROWS[:1], _CLASSES[:1], 2.0, 0.7)),
    Case("a large step", _Step(_ROWS, np.array([1, 0, 2, 1, 1, 1], np.int32), 3.0, 2.0)),
)


def _takes_a_step(attempt) -> tuple[float, float]:
    """The loss before and after a small step."""
    losses, weights = [], _SMALL
    for _ in range(2):
        loss, weights = Call(_two_layers, weights, _ROWS, _CLASSES, 0.05, 50.0)(attempt)
        weights = tuple(np.asarray(w) for w in weights)
        losses.append(float(loss))
    return tuple(losses)


# ---- macro_f1 ----

_F1 = "2 * hits / total"
_PRECISION = "hits / max(np.sum(predicted), 1)"
_RECALL = "hits / max(np.sum(actual), 1)"
_MEAN_SCORE = "float(np.mean(scores))"
F1_MISTAKES = (
    Mistake(
        "accuracy",
        "This is the accuracy (the micro-average is the same). A small class hardly counts in it. "
        "Take each class's F1, then their mean.",
        {_MEAN_SCORE: "float(np.mean(labels == predictions))"},
    ),
    Mistake(
        "weighted_by_size",
        "The classes are weighted by their number of rows. In the macro-average each counts once.",
        {_F1: "hits / total * 2 * np.mean(actual)", "np.mean(scores)": "np.sum(scores)"},
    ),
    Mistake(
        "absent_class_counts_0",
        "A class that is neither in the labels nor in the predictions pulls the mean down. Leave "
        "it out.",
        {"if total:": "if True:", _F1: "2 * hits / max(total, 1)"},
    ),
    Mistake(
        "absent_class_counts_1",
        "A class that is neither in the labels nor in the predictions counts as perfect. Leave it "
        "out.",
        {"if total:": "if True:", _F1: "2 * hits / total if total else 1.0"},
    ),
    Mistake(
        "absent_class_nan",
        "A class that is neither in the labels nor in the predictions makes the result NaN "
        "(0 / 0). Leave it out.",
        {"if total:": "if True:"},
    ),
    Mistake(
        "never_predicted_left_out",
        "A class that is never predicted is left out, as if the model had no fault there. It "
        "counts as 0.",
        {"if total:": "if np.sum(predicted):"},
    ),
    Mistake(
        "never_labelled_left_out",
        "A class that is predicted and never right is left out because no label has it. It counts "
        "as 0.",
        {"if total:": "if np.sum(actual):"},
    ),
    Mistake(
        "no_hit_left_out",
        "Classes without a hit are left out, so the worst classes do no harm. They count as 0.",
        {"if total:": "if hits:", _MEAN_SCORE: "float(np.mean(scores or [0.0]))"},
    ),
    Mistake(
        "never_predicted_nan",
        "A class that is never predicted (or never right) makes the result NaN: its precision is "
        "0 / 0. Count it as 0; 2 * hits / (labelled + predicted) avoids the division.",
        {_F1: "2 / (np.sum(predicted) / hits + np.sum(actual) / hits) if hits else np.nan"},
    ),
    Mistake(
        "precision_for_f1",
        "This is the mean precision: hits / predicted. F1 needs the recall too.",
        {_F1: _PRECISION},
    ),
    Mistake(
        "recall_for_f1",
        "This is the mean recall (“balanced accuracy”): hits / labelled. F1 needs the precision "
        "too.",
        {_F1: _RECALL},
    ),
    Mistake(
        "arithmetic_mean",
        "Precision and recall are averaged with the arithmetic mean. F1 is the harmonic one, which "
        "is small if either is.",
        {_F1: f"({_PRECISION} + {_RECALL}) / 2"},
    ),
    Mistake(
        "geometric_mean",
        "Precision and recall are averaged with the geometric mean. F1 is the harmonic one.",
        {_F1: f"({_PRECISION} * {_RECALL}) ** 0.5"},
    ),
    Mistake(
        "f1_of_the_means",
        "Precision and recall are averaged over the classes first, and F1 is taken of the two "
        "means. Take each class's F1, then the mean.",
        {_F1: f"({_PRECISION}, {_RECALL})",
         _MEAN_SCORE: "(lambda p, r: float(2 * p * r / max(p + r, 1e-9)))"
         "(*np.mean(scores, axis=0))"},
    ),
    Mistake(
        "factor_two_missing",
        "The factor 2 is missing: a perfect model gets 0.5.",
        {_F1: "hits / total"},
    ),
    Mistake(
        "intersection_over_union",
        "This is hits / (labelled + predicted − hits), the Jaccard index. F1 is 2 * hits / "
        "(labelled + predicted).",
        {_F1: "hits / (total - hits)"},
    ),
    Mistake(
        "accuracy_of_each_class",
        "Rows that rightly do *not* get a class count as well (true negatives), so rare classes "
        "look good. F1 does not count them.",
        {_F1: "np.mean(actual == predicted)"},
    ),
    Mistake(
        "first_class_left_out",
        "Class 0 is left out. Classes count from 0.",
        {"range(num_classes)": "range(1, num_classes)",
         _MEAN_SCORE: "float(np.mean(scores or [0.0]))"},
    ),
    Mistake(
        "last_class_left_out",
        "The last class is left out. Classes go from 0 to num_classes - 1.",
        {"range(num_classes)": "range(num_classes - 1)",
         _MEAN_SCORE: "float(np.mean(scores or [0.0]))"},
    ),
    Mistake(
        "class_one_only",
        "This is the F1 of class 1 alone, as for two classes. Average over all.",
        {"range(num_classes)": "[1]", _MEAN_SCORE: "float(np.mean(scores or [0.0]))"},
    ),
    Mistake(
        "scores_added",
        "The F1 scores are added up. Take their mean.",
        {"np.mean(scores)": "np.sum(scores)"},
    ),
    Mistake(
        "median_for_mean",
        "The median of the classes is taken. Take the mean.",
        {"np.mean(scores)": "np.median(scores)"},
    ),
    Mistake(
        "one_score_per_class",
        "There is a score for each class. Return one number, their mean.",
        {_MEAN_SCORE: "np.array(scores)"},
    ),
)  # fmt: skip

_LABELS = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3])
_SAID = np.array([0, 0, 0, 0, 1, 0, 3, 1, 1, 0, 3, 2, 0, 0, 3, 3, 0, 1, 3])
F1_CASES = (
    Case("four classes", _Number(_LABELS, _SAID, 4)),
    Case("a class never predicted", _Number(_LABELS, np.where(_SAID == 2, 0, _SAID), 4)),
    Case("a class in neither", _Number(_LABELS[:11], np.where(_SAID == 3, 0, _SAID)[:11], 4)),
    Case("a class that no label has", _Number(_LABELS[:14], _SAID[:14], 5)),
    Case("all right", _Number(_LABELS, _LABELS, 4)),
    Case("all wrong", _Number(_LABELS[:9], 2 + _LABELS[:9], 4)),
    Case("one row", _Number(np.array([2]), np.array([2]), 3)),
)


def _f1(attempt, labels=_LABELS, said=_SAID, classes: int = 4) -> float:
    return float(Call(labels, said, classes)(attempt))


EXERCISES = (
    Exercise(
        learning_rate,
        RATE_MISTAKES,
        hints=(
            "Two straight lines: which share of the way up is done at `step`, and which share of "
            "the way down?",
            "A straight line from a to b is a + (b - a) * share. In the warm-up the share is "
            "step / warmup_steps.",
            "On the way down both the steps done and the steps there are count from warmup_steps. "
            "Ask first whether the training is over: then it is `last`.",
            "if step >= total_steps: return last; if step < warmup_steps: return first + "
            "(peak - first) * step / warmup_steps; else the same with peak, last and "
            "(step - warmup_steps) / (total_steps - warmup_steps).",
        ),
        cases=RATE_CASES,
        compare_with="solution('learning_rate'), and transformers.create_optimizer, which gives "
        "the same with first = last = 0.",
        returns=("rate",),
        symptoms=(
            Probe("the rate is never at its peak.", lambda f: abs(_rates(f) - 4).min() > 1e-3),
            Probe("a rate is above the peak.", lambda f: _rates(f).max() > 4.001),
            Probe("a rate is negative.", lambda f: _rates(f).min() < 0),
        ),
    ),
    Exercise(
        classification_head,
        HEAD_MISTAKES,
        hints=(
            "Which one of the length vectors of a text stands for the whole text in BERT?",
            "hidden[:, 0] is (batch, d_model). `linear(x, layer)` applies a Linear.",
            "tanh comes after the pooler; dropout after tanh, and only if `training`; nothing "
            "after the projection.",
            "pooled = tf.tanh(linear(hidden[:, 0], weights.pooler)); if training: pooled = "
            "tf.nn.dropout(pooled, dropout_rate); return linear(pooled, weights.projection).",
        ),
        cases=HEAD_CASES,
        compare_with="solution('classification_head'), and TFBertForSequenceClassification, which "
        "has the same head.",
        returns=("scores",),
        symptoms=(
            Probe("tokens after the first one change the scores.", _reads_other_tokens),
            Probe(
                "two equal calls without training give different scores.",
                lambda f: (_head(f) != _head(f)).any(),
            ),
            Probe(
                "the scores of each row sum to 1, as if softmax had been applied.",
                lambda f: (abs(_head(f).sum(-1) - 1) < 1e-3).all(),
            ),
        ),
    ),
    Exercise(
        train_step,
        STEP_MISTAKES,
        hints=(
            "What must happen inside `with tf.GradientTape()`, so that the gradient can be taken "
            "afterwards?",
            "tape.watch(weights) first, because they are no variables. Then scores, losses "
            "(tf.nn.sparse_softmax_cross_entropy_with_logits) and their mean.",
            "tape.gradient(loss, weights) gives one gradient for each tensor; "
            "tf.clip_by_global_norm returns the clipped ones, and the norm.",
            "clipped, _ = tf.clip_by_global_norm(tape.gradient(loss, weights), max_norm); return "
            "loss, tuple(w - rate * g for w, g in zip(weights, clipped)).",
        ),
        cases=STEP_CASES,
        compare_with="solution('train_step'), and one step of tf_keras' SGD(rate, "
        "global_clipnorm=max_norm).",
        returns=("loss", "new weights"),
        symptoms=(
            Probe(
                "the loss is higher after a small step.",
                lambda f: _takes_a_step(f)[1] > _takes_a_step(f)[0] + 1e-4,
            ),
            Probe(
                "the loss is the same after a step.",
                lambda f: abs(_takes_a_step(f)[1] - _takes_a_step(f)[0]) < 1e-5,
            ),
        ),
    ),
    Exercise(
        macro_f1,
        F1_MISTAKES,
        hints=(
            "What is F1 for one class? And which classes have one?",
            "For each number below num_classes: labels == number and predictions == number are "
            "two boolean arrays. A hit is a row where both are true.",
            "2 * hits / (labelled + predicted), unless that sum is 0: then the class is left out. "
            "At the end the mean.",
            "In the loop: hits = np.sum(actual & predicted); total = np.sum(actual) + "
            "np.sum(predicted); if total: scores.append(2 * hits / total). Then "
            "float(np.mean(scores)).",
        ),
        cases=F1_CASES,
        compare_with="solution('macro_f1'), and sklearn.metrics.f1_score(labels, predictions, "
        "average='macro'), which gives the same.",
        returns=("F1",),
        symptoms=(
            Probe(
                "a model that is always right does not get 1.",
                lambda f: abs(_f1(f, _LABELS, _LABELS) - 1) > 1e-3,
            ),
            Probe(
                "it changes when labels and predictions change places; F1 does not.",
                lambda f: abs(_f1(f) - _f1(f, _SAID, _LABELS)) > 1e-3,
            ),
        ),
    ),
)
