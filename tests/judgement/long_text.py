"""Answers to the exercises on long text: right ones in other styles, known mistakes, strangers."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from course_utils.exercise import variant

from .correct_variants import CORRECT, correct
from .other_styles import written
from .strangers import stranger

# ---- split_into_windows: right ----


@correct("split_into_windows")
def while_loop_and_lists(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    room = window - 2
    if stride < 1 or stride > room:
        raise ValueError("stride")
    windows, mask, start = [], [], 0
    while True:
        row = [cls_id, *token_ids[start : start + room], sep_id]
        missing = window - len(row)
        windows.append(row + [pad_id] * missing)
        mask.append([True] * len(row) + [False] * missing)
        if start + room >= len(token_ids):
            return windows, mask
        start += stride


@correct("split_into_windows")
def numpy_filled(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    room = window - 2
    if not 0 < stride <= room:
        raise ValueError("stride")
    count = 1 + max(0, math.ceil((len(token_ids) - room) / stride))
    windows = np.full((count, window), pad_id, np.int32)
    mask = np.zeros((count, window), bool)
    for i in range(count):
        row = [cls_id, *token_ids[i * stride : i * stride + room], sep_id]
        windows[i, : len(row)] = row
        mask[i, : len(row)] = True
    return windows, mask


@correct("split_into_windows")
def ragged(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    room = window - 2
    if stride not in range(1, room + 1):
        raise ValueError("stride")
    starts = [0]
    while starts[-1] + room < len(token_ids):
        starts.append(starts[-1] + stride)
    rows = tf.ragged.constant([[cls_id, *token_ids[s : s + room], sep_id] for s in starts])
    lengths = rows.row_lengths()
    return rows.to_tensor(pad_id, shape=(None, window)), tf.sequence_mask(lengths, window)


@correct("split_into_windows")
def framed(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    room = window - 2
    if stride <= 0 or room - stride < 0:
        raise ValueError("stride")
    text = np.array(token_ids, np.int64)
    count = max(-(-(len(text) - room) // stride), 0) + 1
    text = np.pad(text, (0, (count - 1) * stride + room - len(text)), constant_values=-1)
    body = tf.signal.frame(tf.constant(text), room, stride).numpy()
    real = body >= 0
    windows = np.full((count, window), pad_id)
    mask = np.zeros((count, window), bool)
    for row, (tokens, ok) in enumerate(zip(body, real, strict=True)):
        n = ok.sum()
        windows[row, 0], windows[row, 1 : n + 1], windows[row, n + 1] = cls_id, tokens[:n], sep_id
        mask[row, : n + 2] = True
    return tf.constant(windows, tf.int64), tf.constant(mask)


@correct("split_into_windows")
def generator(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    room = window - 2
    if not 1 <= stride <= room:
        raise ValueError(stride)

    def pieces(rest):
        yield rest[:room]
        if len(rest) > room:
            yield from pieces(rest[stride:])

    rows = [(cls_id, *piece, sep_id) for piece in pieces(tuple(token_ids))]
    padded = tf.keras.utils.pad_sequences(rows, window, padding="post", value=pad_id)
    return padded, np.array([[i < len(row) for i in range(window)] for row in rows])


@correct("split_into_windows")
def by_a_table_of_places(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    room, n = window - 2, len(token_ids)
    if stride < 1 or stride > room:
        raise ValueError("stride")
    starts = tf.range(0, max(n - room, 0) + stride, stride)
    text = tf.constant([*token_ids, sep_id] + [pad_id] * (room + stride), tf.int32)
    places = starts[:, None] + tf.range(room + 1)
    body = tf.gather(text, tf.minimum(places, n + room))
    last = tf.minimum(n - starts, room)[:, None]
    body = tf.where(tf.range(room + 1) == last, sep_id, body)
    windows = tf.concat([tf.fill((len(starts), 1), cls_id), body], axis=1)
    return windows, tf.range(window) < last + 2


# ---- split_into_windows: known mistakes and strangers ----


@written("split_into_windows", "last_window_dropped")
def floor_division(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    room = window - 2
    if not 1 <= stride <= room:
        raise ValueError("stride")
    count = max((len(token_ids) - room) // stride, 0) + 1
    cut = token_ids[: (count - 1) * stride + room]
    return numpy_filled(cut, window, stride, cls_id, sep_id, pad_id)


@written("split_into_windows", "special_tokens_masked")
def ones_where_the_text_is(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    windows, mask = while_loop_and_lists(token_ids, window, stride, cls_id, sep_id, pad_id)
    lengths = np.sum(mask, axis=1, keepdims=True)
    places = np.arange(window)
    return windows, (places > 0) & (places < lengths - 1)


@written("split_into_windows", "mask_of_ones")
def forgot_the_mask(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    windows, _ = while_loop_and_lists(token_ids, window, stride, cls_id, sep_id, pad_id)
    return tf.constant(windows), tf.ones_like(windows) > 0


@written("split_into_windows", "stride_ignored")
def side_by_side(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    if not 1 <= stride <= window - 2:
        raise ValueError("stride")
    return numpy_filled(token_ids, window, window - 2, cls_id, sep_id, pad_id)


@written("split_into_windows", "no_special_tokens")
def plain_slices(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    if not 1 <= stride <= window:
        raise ValueError("stride")
    count = 1 + max(0, math.ceil((len(token_ids) - window) / stride))
    rows = [token_ids[i * stride :][:window] for i in range(count)]
    mask = [[i < len(row) for i in range(window)] for row in rows]
    return [row + [pad_id] * (window - len(row)) for row in rows], mask


@stranger("split_into_windows", "expected")
def words_backwards(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    """The text is read from its end."""
    return while_loop_and_lists(token_ids[::-1], window, stride, cls_id, sep_id, pad_id)


@stranger("split_into_windows", "expected", "of some texts a token is in no window")
def the_first_token_lost(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    """The first token of the text is taken for a [CLS]."""
    return while_loop_and_lists(token_ids[1:], window, stride, cls_id, sep_id, pad_id)


@stranger("split_into_windows", "expected")
def windows_in_reverse_order(token_ids, window, stride, cls_id=101, sep_id=102, pad_id=0):
    """The last window comes first."""
    windows, mask = while_loop_and_lists(token_ids, window, stride, cls_id, sep_id, pad_id)
    return windows[::-1], mask[::-1]


# ---- combine_windows ----


def known(how):
    if how not in {"mean", "max", "vote"}:
        raise ValueError(how)


@correct("combine_windows")
def text_by_text(predictions, mask, how):
    known(how)
    combined = []
    for rows, real in zip(predictions, mask, strict=True):
        rows = tf.boolean_mask(rows, real)
        if how == "vote":
            rows = tf.one_hot(tf.argmax(rows, axis=1), rows.shape[1])
        if len(rows) == 0:
            combined.append(tf.zeros(predictions.shape[-1]))
        else:
            combined.append(tf.reduce_max(rows, 0) if how == "max" else tf.reduce_mean(rows, 0))
    return tf.stack(combined)


@correct("combine_windows")
def filled_with_nan(predictions, mask, how):
    known(how)
    p = np.where(np.asarray(mask)[..., None], np.asarray(predictions), np.nan)
    if how == "vote":
        best = np.asarray(predictions).argmax(-1)[..., None] == np.arange(p.shape[-1])
        p = np.where(np.isnan(p), np.nan, best)
    combined = np.nanmax(p, axis=1) if how == "max" else np.nanmean(p, axis=1)
    return np.nan_to_num(combined).astype(np.float32)


@correct("combine_windows")
def einsum_and_a_table(predictions, mask, how):
    real = tf.cast(mask, tf.float32)
    votes = tf.one_hot(tf.math.argmax(predictions, -1), predictions.shape[-1])
    shares = real / tf.maximum(tf.reduce_sum(real, 1, keepdims=True), 1)
    ways = {
        "mean": lambda: tf.einsum("bw,bwc->bc", shares, predictions),
        "vote": lambda: tf.einsum("bw,bwc->bc", shares, votes),
        "max": lambda: tf.reduce_max(tf.where(mask[..., None], predictions, 0), 1),
    }
    known(how)
    return ways[how]()


@correct("combine_windows")
@tf.function
def ragged_windows(predictions, mask, how):
    known(how)
    if how == "vote":
        predictions = tf.one_hot(tf.argmax(predictions, -1), predictions.shape[-1])
    rows = tf.ragged.boolean_mask(predictions, mask)
    if how == "max":
        top = tf.reduce_max(rows, axis=1)
        return tf.maximum(top, 0)
    return tf.math.divide_no_nan(
        tf.reduce_sum(rows, axis=1), tf.cast(rows.row_lengths(), tf.float32)[:, None]
    )


@correct("combine_windows")
def minus_infinity_for_max(predictions, mask, how):
    known(how)
    some = tf.reduce_any(mask, axis=1)[:, None]
    if how == "max":
        top = tf.reduce_max(tf.where(mask[..., None], predictions, -np.inf), axis=1)
        return tf.where(some, top, 0.0)
    if how == "vote":
        predictions = tf.cast(
            tf.range(predictions.shape[-1], dtype=tf.int64)
            == tf.argmax(predictions, axis=2)[..., None],
            predictions.dtype,
        )
    total = tf.reduce_sum(tf.where(mask[..., None], predictions, 0.0), axis=1)
    return tf.where(some, total / tf.reduce_sum(tf.cast(mask, tf.float32), 1)[:, None], 0.0)


@correct("combine_windows")
def keras_layers(predictions, mask, how):
    known(how)
    if how == "max":
        zeroed = tf.where(mask[..., None], predictions, tf.zeros_like(predictions))
        return tf.keras.layers.GlobalMaxPooling1D()(zeroed)
    if how == "vote":
        predictions = np.eye(predictions.shape[-1], dtype="float32")[np.argmax(predictions, -1)]
    mean = tf.keras.layers.GlobalAveragePooling1D()(tf.constant(predictions), mask=mask)
    return tf.where(tf.reduce_any(mask, 1)[:, None], mean, tf.zeros_like(mean))


@written("combine_windows", "padding_averaged")
def no_mask_at_all(predictions, mask, how):
    return einsum_and_a_table(predictions, tf.ones_like(mask), how)


@written("combine_windows", "divided_by_all_windows")
def mean_of_products(predictions, mask, how):
    known(how)
    if how == "max":
        return einsum_and_a_table(predictions, mask, how)
    if how == "vote":
        predictions = tf.one_hot(tf.argmax(predictions, -1), predictions.shape[-1])
    return tf.reduce_mean(predictions * tf.cast(mask, tf.float32)[..., None], axis=1)


@written("combine_windows", "padding_in_the_mean")
def reduce_mean_alone(predictions, mask, how):
    if how == "mean":
        return tf.reduce_mean(predictions, axis=1)
    return einsum_and_a_table(predictions, mask, how)


@written("combine_windows", "padding_votes")
def every_window_votes(predictions, mask, how):
    if how != "vote":
        return einsum_and_a_table(predictions, mask, how)
    return tf.reduce_mean(tf.one_hot(tf.argmax(predictions, -1), predictions.shape[-1]), axis=1)


@written("combine_windows", "max_of_confidence")
def the_surest_window(predictions, mask, how):
    if how != "max":
        return einsum_and_a_table(predictions, mask, how)
    p = np.where(np.asarray(mask)[..., None], np.asarray(predictions), np.float32(0))
    return np.stack([rows[rows.max(axis=1).argmax()] for rows in p])


@written("combine_windows", "votes_not_shares")
def bincount(predictions, mask, how):
    if how != "vote":
        return einsum_and_a_table(predictions, mask, how)
    best = np.asarray(predictions).argmax(-1)
    return np.stack(
        [np.bincount(row[real], minlength=predictions.shape[-1]).astype("float32")
         for row, real in zip(best, np.asarray(mask), strict=True)]
    )  # fmt: skip


@written("combine_windows", "no_windows_nan")
def numpy_means(predictions, mask, how):
    known(how)
    if how == "max":
        return einsum_and_a_table(predictions, mask, how)
    p = np.asarray(predictions)
    if how == "vote":
        p = np.eye(p.shape[-1], dtype=np.float32)[p.argmax(-1)]
    real = np.asarray(mask)
    return np.stack([rows[ok].mean(axis=0) for rows, ok in zip(p, real, strict=True)])


@stranger("combine_windows", "expected")
def geometric_mean(predictions, mask, how):
    """“mean” is the geometric one."""
    if how != "mean":
        return einsum_and_a_table(predictions, mask, how)
    return tf.where(
        tf.reduce_any(mask, 1)[:, None],
        tf.exp(einsum_and_a_table(tf.math.log(predictions), mask, how)), 0.0,
    )  # fmt: skip


@stranger("combine_windows", "expected")
def later_windows_count_more(predictions, mask, how):
    """In the mean, window i counts i + 1 times."""
    if how != "mean":
        return einsum_and_a_table(predictions, mask, how)
    share = tf.range(1.0, predictions.shape[1] + 1) * tf.cast(mask, tf.float32)
    share = tf.math.divide_no_nan(share, tf.reduce_sum(share, 1, keepdims=True))
    return tf.einsum("bw,bwc->bc", share, predictions)


# ---- hierarchical_pooling ----


def pooled_by(scores, vectors, mask):
    weights = tf.where(mask, tf.nn.softmax(tf.where(mask, scores, -1e9)), 0.0)
    return tf.einsum("bw,bwd->bd", weights, vectors), weights


@correct("hierarchical_pooling")
def einsum_and_a_billion(vectors, mask, query=None):
    if query is None:
        return pooled_by(tf.zeros(mask.shape), vectors, mask)
    return pooled_by(tf.einsum("bwd,d->bw", vectors, query) / 7**0.5, vectors, mask)


@correct("hierarchical_pooling")
def mean_written_apart(vectors, mask, query=None):
    if query is None:
        real = tf.cast(mask, vectors.dtype)
        weights = tf.math.divide_no_nan(real, tf.reduce_sum(real, axis=1, keepdims=True))
        return tf.reduce_sum(weights[..., None] * vectors, axis=1), weights
    scores = tf.reduce_sum(vectors * query, axis=-1) / tf.sqrt(float(vectors.shape[-1]))
    return pooled_by(scores, vectors, mask)


@correct("hierarchical_pooling")
def by_our_attention(vectors, mask, query=None):
    query = tf.zeros(vectors.shape[-1]) if query is None else query
    queries = tf.broadcast_to(query, (len(vectors), 1, 1, vectors.shape[-1]))
    values = vectors[:, None]
    output, weights = variant("scaled_dot_product_attention")(
        queries, values, values, mask[:, None, None]
    )
    return output[:, 0, 0], weights[:, 0, 0]


@correct("hierarchical_pooling")
def pooled_text_by_text(vectors, mask, query=None):
    pooled, weights = np.zeros(vectors.shape[::2], "float32"), np.zeros(mask.shape, "float32")
    for text, real in enumerate(np.asarray(mask)):
        if not real.any():
            continue
        chosen = np.asarray(vectors[text], np.float64)[real]
        scores = chosen @ (0 * chosen[0] if query is None else np.asarray(query))
        e = np.exp((scores - scores.max()) / math.sqrt(chosen.shape[-1]))
        weights[text, real] = e / e.sum()
        pooled[text] = e / e.sum() @ chosen
    return pooled, weights


@correct("hierarchical_pooling")
@tf.function
def minus_infinity_put_right(vectors, mask, query=None):
    if query is None:
        query = vectors[0, 0] * 0
    scores = tf.tensordot(vectors, query, 1) * vectors.shape[-1] ** -0.5
    weights = tf.nn.softmax(tf.where(mask, scores, -np.inf))
    weights = tf.where(tf.math.is_nan(weights), 0.0, weights)
    return tf.squeeze(weights[:, None] @ vectors, 1), weights


@correct("hierarchical_pooling")
def keras_softmax(vectors, mask, query=None):
    query = np.zeros(vectors.shape[-1], "float32") if query is None else query
    scores = tf.matmul(vectors, tf.reshape(query, (-1, 1)))[..., 0] / np.sqrt(vectors.shape[-1])
    weights = tf.keras.layers.Softmax()(scores, mask) * tf.cast(mask, tf.float32)
    return tf.reduce_sum(vectors * tf.expand_dims(weights, -1), 1), weights


@written("hierarchical_pooling", "no_scale")
def plain_dot_products(vectors, mask, query=None):
    if query is None:
        return mean_written_apart(vectors, mask)
    return pooled_by(tf.tensordot(vectors, query, 1), vectors, mask)


@written("hierarchical_pooling", "query_ignored")
def always_the_mean(vectors, mask, query=None):
    return mean_written_apart(vectors, mask)


@written("hierarchical_pooling", "first_window_only")
def cls_of_the_text(vectors, mask, query=None):
    return vectors[:, 0], einsum_and_a_billion(vectors, mask, query)[1]


@written("hierarchical_pooling", "softmax_over_texts")
def softmax_along_axis_0(vectors, mask, query=None):
    query = tf.zeros(7) if query is None else query
    scores = tf.tensordot(vectors, query / 7**0.5, 1)
    weights = tf.nn.softmax(tf.where(mask, scores, -1e30), axis=0) * tf.cast(mask, tf.float32)
    return tf.einsum("bw,bwd->bd", weights, vectors), weights


@written("hierarchical_pooling", "returns_swapped")
def weights_first(vectors, mask, query=None):
    return einsum_and_a_billion(vectors, mask, query)[::-1]


@stranger("hierarchical_pooling", "expected")
def half_of_it_the_mean(vectors, mask, query=None):
    """Half attention, half mean."""
    with_query, mean = (einsum_and_a_billion(vectors, mask, q) for q in (query, None))
    return tuple((a + b) / 2 for a, b in zip(with_query, mean, strict=True))


@stranger("hierarchical_pooling", "expected")
def least_alike_wins(vectors, mask, query=None):
    """The sign of the query is turned."""
    return einsum_and_a_billion(vectors, mask, None if query is None else -query)


# ---- windowed_attention ----


def band(length, radius, mask, low=None, high=None):
    """The mask that full attention needs to be local: (batch or 1, 1, length, length)."""
    gap = tf.range(length)[:, None] - tf.range(length)
    near = (gap <= (radius if low is None else low)) & (-gap <= (radius if high is None else high))
    return near[None, None] if mask is None else near & mask[:, None, None]


def attend(query, key, value, may):
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    return tf.where(may, tf.nn.softmax(tf.where(may, scores, -1e9)), 0.0) @ value


@correct("windowed_attention")
def neighbours_gathered(query, key, value, radius, mask=None, block=64):
    length = query.shape[2]
    radius = min(radius, length)
    places = tf.range(length)[:, None] + tf.range(-radius, radius + 1)
    may = (places >= 0) & (places < length)
    places = tf.clip_by_value(places, 0, length - 1)
    may = may[None, None] if mask is None else may & tf.gather(mask, places, axis=1)[:, None]
    keys, values = tf.gather(key, places, axis=2), tf.gather(value, places, axis=2)
    scores = tf.einsum("bhqd,bhqkd->bhqk", query, keys) / key.shape[-1] ** 0.5
    shares = tf.where(may, tf.nn.softmax(tf.where(may, scores, -1e9)), 0.0)
    return tf.einsum("bhqk,bhqkv->bhqv", shares, values)


@correct("windowed_attention")
def query_by_query(query, key, value, radius, mask=None, block=64):
    rows, length = [], query.shape[2]
    for i in range(length):
        cut = slice(max(i - radius, 0), i + radius + 1)
        may = tf.ones((1, length), tf.bool) if mask is None else mask
        rows.append(
            attend(query[:, :, i : i + 1], key[:, :, cut], value[:, :, cut],
                   may[:, None, None, cut])
        )  # fmt: skip
    return tf.concat(rows, axis=2)


@correct("windowed_attention")
def shifted_copies(query, key, value, radius, mask=None, block=64):
    """One distance at a time: scores of (length, 2 · radius + 1)."""
    length = query.shape[2]
    radius = min(radius, length)
    may = tf.ones((1, length), tf.bool) if mask is None else mask
    pad = [[0, 0], [0, 0], [radius, radius], [0, 0]]
    keys, values = tf.pad(key, pad), tf.pad(value, pad)
    may = tf.pad(may, [[0, 0], [radius, radius]])[:, None]
    shifts = range(2 * radius + 1)
    scores = tf.stack(
        [tf.where(may[:, :, s : s + length],
                  tf.reduce_sum(query * keys[:, :, s : s + length], -1) / key.shape[-1] ** 0.5,
                  -1e9) for s in shifts], axis=-1,
    )  # fmt: skip
    shares = tf.nn.softmax(scores)
    return sum(
        tf.where(may[:, :, s : s + length], shares[..., s], 0)[..., None]
        * values[:, :, s : s + length]
        for s in shifts
    )


@correct("windowed_attention")
def numpy_windows(query, key, value, radius, mask=None, block=64):
    q, k, v = (np.asarray(x, np.float64) for x in (query, key, value))
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for i in range(q.shape[2]):
        cut = slice(max(0, i - radius), i + radius + 1)
        e = np.exp(np.einsum("bhd,bhkd->bhk", q[:, :, i], k[:, :, cut]) / np.sqrt(q.shape[-1]))
        if mask is not None:
            e = e * np.asarray(mask)[:, None, cut]
        total = e.sum(-1, keepdims=True)
        out[:, :, i] = np.einsum("bhk,bhkd->bhd", e / np.where(total, total, 1), v[:, :, cut])
    return out.astype(np.float32)


@correct("windowed_attention")
def blocks_of_three(query, key, value, radius, mask=None, block=64):
    """Longformer's way: equal chunks of the keys, padded, three of them for each of the queries."""
    length = query.shape[2]
    size = max(min(radius, length), 1)
    count = -(-length // size)
    full = [[0, 0], [0, 0], [0, count * size - length], [0, 0]]
    queries, keys, values = (tf.pad(x, full) for x in (query, key, value))
    real = tf.ones((1, length), tf.bool) if mask is None else mask
    side = [[0, 0], [0, 0], [size, size], [0, 0]]
    keys, values = tf.pad(keys, side), tf.pad(values, side)
    real = tf.pad(real, [[0, 0], [size, size + count * size - length]])
    near = abs(tf.range(size, 2 * size)[:, None] - tf.range(3 * size)) <= radius
    outputs = [
        attend(queries[:, :, i * size :][:, :, :size], keys[:, :, i * size :][:, :, : 3 * size],
               values[:, :, i * size :][:, :, : 3 * size],
               near & real[:, None, None, i * size :][..., : 3 * size])
        for i in range(count)
    ]  # fmt: skip
    return tf.concat(outputs, axis=2)[:, :, :length]


@correct("windowed_attention")
def online_inside(query, key, value, radius, mask=None, block=64):
    """A running softmax over the distances."""
    length = query.shape[2]
    real = tf.ones((1, length), tf.bool) if mask is None else mask
    top = tf.fill((*query.shape[:3], 1), -1e9)
    total, output = tf.zeros_like(top), tf.zeros((*query.shape[:3], value.shape[-1]))
    for shift in range(-min(radius, length - 1), min(radius, length - 1) + 1):
        places = tf.range(length) + shift
        inside = (places >= 0) & (places < length)
        places = tf.clip_by_value(places, 0, length - 1)
        may = (inside & tf.gather(real, places, axis=1))[:, None, :, None]
        score = tf.reduce_sum(query * tf.gather(key, places, axis=2), -1, keepdims=True)
        score = tf.where(may, score / key.shape[-1] ** 0.5, -1e9)
        new = tf.maximum(top, score)
        part = tf.where(may, tf.exp(score - new), 0.0)
        total = total * tf.exp(top - new) + part
        output = output * tf.exp(top - new) + part * tf.gather(value, places, axis=2)
        top = new
    return tf.math.divide_no_nan(output, total)


@written("windowed_attention", "full_matrix")
def full_attention_with_a_band(query, key, value, radius, mask=None, block=64):
    return attend(query, key, value, band(query.shape[2], radius, mask))


@written("windowed_attention", "full_matrix", "only_before")
def causal_band(query, key, value, radius, mask=None, block=64):
    return attend(query, key, value, band(query.shape[2], radius, mask, high=0))


@written("windowed_attention", "mask_ignored")
def padding_gathered_too(query, key, value, radius, mask=None, block=64):
    return neighbours_gathered(query, key, value, radius)


@written("windowed_attention", "radius_as_width")
def half_to_each_side(query, key, value, radius, mask=None, block=64):
    return query_by_query(query, key, value, radius // 2, mask)


@written("windowed_attention", "blocks_see_only_themselves")
def chunks_apart(query, key, value, radius, mask=None, block=64):
    outputs = []
    for low in range(0, query.shape[2], block):
        part = (x[:, :, low : low + block] for x in (query, key, value))
        some = None if mask is None else mask[:, low : low + block]
        outputs.append(neighbours_gathered(*part, radius, some))
    return tf.concat(outputs, 2)


@stranger("windowed_attention", "a key further away than the radius changes the output")
def one_further_before(query, key, value, radius, mask=None, block=64):
    """The window is shifted: radius + 1 after, radius − 1 before, the whole key range padded."""
    rolled = (tf.roll(x, -1, axis=2) for x in (key, value))
    some = None if mask is None else tf.roll(mask, -1, axis=1)
    return neighbours_gathered(query, *rolled, radius, some)


@stranger("windowed_attention", "expected")
def nearer_keys_count_more(query, key, value, radius, mask=None, block=64):
    """Queries are halved, so the weights are flatter."""
    return neighbours_gathered(query / 2, key, value, radius, mask)


# ---- online_softmax_attention ----


@correct("online_softmax_attention")
def key_by_key(query, key, value, mask=None, block=512):
    if key.shape[2] > 100:  # key by key takes a second there
        return recursive_halves(query, key, value, mask, block)
    real = tf.ones((1, key.shape[2]), tf.bool) if mask is None else mask
    top = tf.fill((*query.shape[:3], 1), -1e30)
    total, output = tf.zeros_like(top), tf.zeros((*query.shape[:3], value.shape[-1]))
    for j in range(key.shape[2]):
        score = tf.reduce_sum(query * key[:, :, j : j + 1], -1, keepdims=True)
        score = tf.where(real[:, None, j, None, None], score / key.shape[-1] ** 0.5, -1e30)
        new = tf.maximum(top, score)
        part = tf.where(real[:, None, j, None, None], tf.exp(score - new), 0.0)
        total = total * tf.exp(top - new) + part
        output = output * tf.exp(top - new) + part * value[:, :, j : j + 1]
        top = new
    return tf.math.divide_no_nan(output, total)


def merged(parts):
    """Two or more (top, total, output), each made with its own maximum, as one."""
    tops, totals, outputs = zip(*parts, strict=True)
    top = tf.reduce_max(tf.stack(tops), axis=0)
    shrink = [tf.exp(t - top) for t in tops]
    return (top, sum(s * t for s, t in zip(shrink, totals, strict=True)),
            sum(s * o for s, o in zip(shrink, outputs, strict=True)))  # fmt: skip


def block_of(query, key, value, real):
    scores = tf.matmul(query, key, transpose_b=True) / key.shape[-1] ** 0.5
    if real is not None:
        scores = tf.where(real[:, None, None], scores, -1e30)
    top = tf.reduce_max(scores, -1, keepdims=True)
    e = tf.exp(scores - top)
    if real is not None:
        e = e * tf.cast(real, e.dtype)[:, None, None]
    return top, tf.reduce_sum(e, -1, keepdims=True), tf.matmul(e, value)


@correct("online_softmax_attention")
def merged_at_the_end(query, key, value, mask=None, block=512):
    parts = []
    for low in range(0, key.shape[2], block):
        real = None if mask is None else mask[:, low : low + block]
        parts.append(
            block_of(query, key[:, :, low : low + block], value[:, :, low : low + block], real)
        )
    _, total, output = merged(parts)
    return tf.math.divide_no_nan(output, total)


@correct("online_softmax_attention")
def recursive_halves(query, key, value, mask=None, block=512):
    def part(low, high):
        if high - low <= block:
            real = None if mask is None else mask[:, low:high]
            return block_of(query, key[:, :, low:high], value[:, :, low:high], real)
        middle = (low + high) // 2
        return merged([part(low, middle), part(middle, high)])

    _, total, output = part(0, key.shape[2])
    return tf.math.divide_no_nan(output, total)


@correct("online_softmax_attention")
def log_sum_exp_kept(query, key, value, mask=None, block=512):
    """The running output is always divided; beside it the logarithm of the sum."""
    log_total, output = tf.constant(-1e30), tf.zeros((*query.shape[:3], value.shape[-1]))
    for low in range(0, key.shape[2], block):
        scores = tf.matmul(query, key[:, :, low : low + block], transpose_b=True)
        scores = scores / key.shape[-1] ** 0.5
        if mask is not None:
            scores = tf.where(mask[:, None, None, low : low + block], scores, -1e30)
        both = tf.reduce_logsumexp(scores, -1, keepdims=True)
        new = tf.math.log(tf.exp(log_total - tf.maximum(log_total, both))
                          + tf.exp(both - tf.maximum(log_total, both)))  # fmt: skip
        new = new + tf.maximum(log_total, both)
        output = output * tf.exp(log_total - new)
        output += tf.matmul(tf.exp(scores - new), value[:, :, low : low + block])
        log_total = new
    if mask is None:
        return output
    return tf.where(tf.reduce_any(mask, 1)[:, None, None, None], output, 0.0)


@correct("online_softmax_attention")
def numpy_blocks(query, key, value, mask=None, block=512):
    q, k, v = (np.asarray(x, np.float64) for x in (query, key, value))
    top = np.full((*q.shape[:3], 1), -1e300)
    total, output = np.zeros_like(top), np.zeros((*q.shape[:3], v.shape[-1]))
    for low in range(0, k.shape[2], block // 2 or 1):
        cut = slice(low, low + (block // 2 or 1))
        scores = q @ k[:, :, cut].swapaxes(-1, -2) / np.sqrt(k.shape[-1])
        real = True if mask is None else np.asarray(mask)[:, None, None, cut]
        scores = np.where(real, scores, -1e300)
        new = np.maximum(top, scores.max(-1, keepdims=True))
        e = np.where(real, np.exp(scores - new), 0)
        total = total * np.exp(top - new) + e.sum(-1, keepdims=True)
        output = output * np.exp(top - new) + e @ v[:, :, cut]
        top = new
    return (output / np.where(total == 0, 1, total)).astype(np.float32)


@correct("online_softmax_attention")
def queries_in_blocks_too(query, key, value, mask=None, block=512):
    parts = [
        merged_at_the_end(query[:, :, low : low + block], key, value, mask, block)
        for low in range(0, query.shape[2], block)
    ]
    return tf.concat(parts, axis=2)


@correct("online_softmax_attention")
def one_pass_for_the_maximum(query, key, value, mask=None, block=512):
    """Two passes: first the maximum of all blocks, then the sums. Still linear memory."""
    cuts = [slice(low, low + block) for low in range(0, key.shape[2], block)]

    def scores(cut):
        s = tf.einsum("bhqd,bhkd->bhqk", query, key[:, :, cut]) / math.sqrt(key.shape[-1])
        return s if mask is None else tf.where(mask[:, None, None, cut], s, -np.inf)

    top = tf.reduce_max(tf.stack([tf.reduce_max(scores(c), -1) for c in cuts]), 0)[..., None]
    top = tf.where(tf.math.is_inf(top), 0.0, top)
    total = sum(tf.reduce_sum(tf.exp(scores(c) - top), -1, keepdims=True) for c in cuts)
    output = sum(tf.exp(scores(c) - top) @ value[:, :, c] for c in cuts)
    return tf.math.divide_no_nan(output, total)


@written("online_softmax_attention", "full_matrix")
def plain_full_attention(query, key, value, mask=None, block=512):
    return attend(query, key, value, True if mask is None else mask[:, None, None])


@written("online_softmax_attention", "no_scale")
def halves_without_scale(query, key, value, mask=None, block=512):
    return recursive_halves(query * key.shape[-1] ** 0.5, key, value, mask, block)


@written("online_softmax_attention", "mask_ignored")
def merged_without_mask(query, key, value, mask=None, block=512):
    return merged_at_the_end(query, key, value, None, block)


@written("online_softmax_attention", "only_the_first_block")
def a_single_block(query, key, value, mask=None, block=512):
    some = None if mask is None else mask[:, :block]
    return merged_at_the_end(query, key[:, :, :block], value[:, :, :block], some, block)


@written("online_softmax_attention", "mask_inverted")
def the_other_way_round(query, key, value, mask=None, block=512):
    return recursive_halves(query, key, value, None if mask is None else ~mask, block)


@stranger("online_softmax_attention", "expected")
def one_block_twice(query, key, value, mask=None, block=512):
    """The first key counts two times."""
    again = (tf.concat([x[:, :, :1], x], axis=2) for x in (key, value))
    some = None if mask is None else tf.concat([mask[:, :1], mask], axis=1)
    return merged_at_the_end(query, *again, some, block)


@stranger("online_softmax_attention", "expected")
def scale_of_the_values(query, key, value, mask=None, block=512):
    """The output is scaled as the scores are."""
    return recursive_halves(query, key, value, mask, block) / key.shape[-1] ** 0.5


NAMES = ("split_into_windows", "combine_windows", "hierarchical_pooling", "windowed_attention",
         "online_softmax_attention")  # fmt: skip
assert all(len(CORRECT[name]) >= 6 for name in NAMES)
