"""04: from token ids to BERT's input vectors, and from its output to one vector per sentence."""

from __future__ import annotations

import tensorflow as tf

from course_utils.exercises.transformer_forward import layer_norm
from course_utils.weights import EmbeddingWeights


def embed_tokens(
    token_ids: tf.Tensor, weights: EmbeddingWeights, segment_ids: tf.Tensor | None = None
) -> tf.Tensor:
    """BERT's input: token, position and segment embeddings added, then layer norm (Devlin et al., figure 2).

    token_ids: (batch, length) whole numbers; positions count from 0
    segment_ids: (batch, length), 0 or 1 for the first or second sentence; None: all 0
    Returns (batch, length, d_model).
    """
    length = token_ids.shape[-1]
    if segment_ids is None:
        segment_ids = tf.zeros_like(token_ids)
    tokens = tf.gather(weights.token, token_ids)
    positions = weights.position[:length]
    segments = tf.gather(weights.segment, segment_ids)
    return layer_norm(tokens + positions + segments, weights.norm)


def sentence_embedding(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """One vector for each sentence: the mean of its real tokens, scaled to length 1.

    Sentence-BERT's mean pooling (Reimers and Gurevych 2019, section 3).
    hidden: (batch, length, d_model)
    mask:   (batch, length) boolean, True = a real token, False = padding
    Returns (batch, d_model), each row of Euclidean length 1; zeros where no token is real.
    """
    real = tf.cast(mask, hidden.dtype)[..., None]
    total = tf.reduce_sum(hidden * real, axis=1)
    count = tf.reduce_sum(real, axis=1)
    mean = tf.math.divide_no_nan(total, count)
    return tf.math.divide_no_nan(mean, tf.norm(mean, axis=-1, keepdims=True))
EXERCISES = ()
