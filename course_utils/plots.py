"""The pictures of the course: each function draws one, shows it and returns nothing.

What they are given may be an array, a tensor or a list. A cell that is not a number is grey.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

# On a fresh machine matplotlib reports that it builds its font cache; a notebook would keep that.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import colormaps  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.image import AxesImage  # noqa: E402
from numpy.typing import ArrayLike  # noqa: E402

NUMBERS_UP_TO = 8  # tokens on a side; in a larger map the numbers would not fit into the cells
CELL = 0.55  # inches
# Dashes and widths: the later a line, the thinner, so that of two equal lines both can be seen.
LINES = (("-", 7), ("--", 3), ("--", 2.5), ("-.", 2), ("-", 1.5))


def heat_map(
    weights: ArrayLike,
    tokens: Sequence[str],
    title: str = "",
    key_tokens: Sequence[str] | None = None,
) -> None:
    """Who looks at whom: weights (query_len, key_len), a row for each query, a column for each key.

    `key_tokens` label the columns if they are not the tokens of the rows.
    """
    weights = np.asarray(weights)
    fig, ax = plt.subplots(figsize=_size(weights), layout="constrained")
    fig.colorbar(_map(ax, weights, tokens, tokens if key_tokens is None else key_tokens), ax=ax)
    ax.set(title=title, xlabel="key (looked at)", ylabel="query (looks)")
    _show()


def head_maps(
    weights: ArrayLike, tokens: Sequence[str], title: str = "", panel: str = "head"
) -> None:
    """One small map for each head, all on one colour scale: (num_heads, query_len, key_len).

    `panel` is what one map is called, if it is not a head.
    """
    weights = np.asarray(weights)
    columns = min(len(weights), 4)
    rows = -(-len(weights) // columns)
    side = 1.4 + (0.14 if len(weights) > 3 else 0.3) * weights.shape[-1]
    fig, axes = plt.subplots(
        rows,
        columns,
        figsize=(side * columns + 0.5, side * rows + 0.4),
        layout="constrained",
        squeeze=False,
    )
    for ax in axes.flat[len(weights) :]:
        ax.set_axis_off()
    for head, ax in zip(range(len(weights)), axes.flat, strict=False):
        image = _map(ax, weights[head], tokens, tokens, limit=_limit(weights), numbers=False)
        ax.set_title(f"{panel} {head}", fontsize=9)
        ax.tick_params(labelsize=8 if rows == 1 else 7, labelleft=head % columns == 0)
        ax.tick_params(axis="x", labelrotation=90)
    fig.colorbar(image, ax=axes, shrink=0.8)
    fig.suptitle(title)
    fig.supxlabel("key (looked at)", fontsize=9)
    fig.supylabel("query (looks)", fontsize=9)
    _show()


def row_sums(weights: ArrayLike, tokens: Sequence[str], title: str = "") -> None:
    """A heat map beside the sum of each row, which a softmax makes 1: (query_len, key_len)."""
    weights = np.asarray(weights)
    width, height = _size(weights)
    _, (left, right) = plt.subplots(
        1, 2, figsize=(width + 1.6, height), layout="constrained", width_ratios=(2, 1)
    )
    _map(left, weights, tokens, tokens)
    left.set(title=title, xlabel="key (looked at)", ylabel="query (looks)")
    sums = weights.sum(axis=-1)
    bars = right.barh(np.arange(len(sums)), sums, color="tab:blue")
    right.axvline(1, color="grey", linestyle=":")
    over_the_line = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    right.bar_label(bars, [_number(s) for s in sums], padding=4, bbox=over_the_line)
    right.set(title="sum of the row", yticks=[], ylim=left.get_ylim(), xticks=[0, 1])
    right.set_xlim(0, max(1.4, 1.4 * np.nanmax(sums, initial=0)))
    _show()


def softmax_factors(
    scores: Sequence[float], factors: Sequence[float], weights: ArrayLike
) -> None:
    """What softmax makes of scores × factor: weights (len(factors), len(scores)), a panel each."""
    weights = np.asarray(weights)
    _, axes = plt.subplots(
        1, len(factors), figsize=(2.2 * len(factors), 2.6), layout="constrained", squeeze=False
    )
    for ax, factor, row in zip(axes.flat, factors, weights, strict=True):
        bars = ax.bar([str(score) for score in scores], row, color="tab:blue")
        ax.bar_label(bars, [f"{weight:.2f}" for weight in row], fontsize=8)
        ax.set(title=f"scores × {factor}", ylim=(0, 1.1), xlabel="score")
    axes[0, 0].set_ylabel("weight")
    _show()


def softmax_scale(
    key_sizes: Sequence[int], scaled: Sequence[float], unscaled: Sequence[float]
) -> None:
    """The largest weight of a row as key_size grows, with and without 1/√key_size."""
    _, ax = plt.subplots(figsize=(5, 3), layout="constrained")
    ax.plot(key_sizes, unscaled, "o-", color="tab:red", label="q · k")
    ax.plot(key_sizes, scaled, "s-", color="tab:blue", label="q · k / √key_size")
    ax.set_xscale("log", base=2)
    ax.set_xticks(key_sizes, [str(k) for k in key_sizes])
    ax.set(ylim=(0, 1.05), xlabel="key_size", ylabel="largest weight of a row")
    ax.legend()
    _show()


def influence_map(matrix, tokens: Sequence[str], title: str = "") -> None:
    """What `influence` measured: (length, length), [i, j] = how much input j changes output i."""
    matrix = np.asarray(matrix)
    fig, ax = plt.subplots(figsize=_size(matrix), layout="constrained")
    fig.colorbar(_map(ax, matrix, tokens, tokens), ax=ax)
    ax.set(title=title, xlabel="input that was changed", ylabel="output that changes")
    _show()


def positional_encoding(encoding: ArrayLike) -> None:
    """The whole encoding (length, d_model) as a picture, and four of its columns as curves."""
    encoding = np.asarray(encoding)
    length, d_model = encoding.shape
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    image = left.imshow(encoding, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1)
    left.set(xlabel="feature", ylabel="position")
    fig.colorbar(image, ax=left)
    for column in sorted({round(i * (d_model - 1) / 3) for i in range(4)}):
        right.plot(np.arange(length), encoding[:, column], ".-", label=f"feature {column}")
    right.set(xlabel="position", ylabel="value")
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))  # beside the curves
    _show()


def scale_over_depth(lines: Mapping[str, Sequence[float]]) -> None:
    """The standard deviation of the activations after each layer; one line for each name."""
    _, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
    for (name, deviations), (dashes, width) in zip(lines.items(), cycle(LINES), strict=False):
        ax.plot(np.arange(len(deviations)), deviations, dashes, linewidth=width, label=name,
                alpha=0.5 if width > 5 else 1)  # fmt: skip
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_yscale("log")  # without a norm it grows or shrinks by a factor in every layer
    ax.set(xlabel="layer (0 = the input)", ylabel="standard deviation")
    ax.legend(fontsize=8)
    _show()


def similarity(
    matrix: ArrayLike, labels_a: Sequence[str], labels_b: Sequence[str], title: str = ""
) -> None:
    """How alike two lists of things are: (len(labels_a), len(labels_b)), such as cosines."""
    matrix = np.asarray(matrix)
    width, height = _size(matrix)
    letter = 0.08  # inches; these labels may be whole sentences
    width += letter * max(map(len, labels_a), default=0)
    height += letter * max(map(len, labels_b), default=0)
    fig, ax = plt.subplots(figsize=(width, height), layout="constrained")
    fig.colorbar(_map(ax, matrix, labels_a, labels_b), ax=ax)
    ax.set(title=title)
    _show()


def known_by_topic(topics: Mapping[str, float | None]) -> None:
    """A bar for each topic: the share that is known, from 0 to 1; None draws an empty place."""
    names = list(topics)[::-1]
    _, axes = plt.subplots(figsize=(6, 0.3 * len(names) + 0.8))
    axes.barh(names, [topics[name] or 0.0 for name in names])
    for row, name in enumerate(names):
        if topics[name] is None:
            axes.text(0.01, row, "not seen yet", va="center", color="gray")
    axes.set(xlim=(0, 1), xlabel="known the last time")
    _show()


def windows_over_text(starts: Sequence[int], content: int, length: int, title: str = "") -> None:
    """Which tokens of a text each window holds: a bar from its start, `content` tokens or less."""
    _, ax = plt.subplots(figsize=(6.5, 1.1 + 0.28 * len(starts)), layout="constrained")
    widths = [min(content, length - start) for start in starts]
    colours = [f"C{number % 2}" for number in range(len(starts))]
    ax.barh(range(len(starts)), widths, left=starts, color=colours, alpha=0.7)
    ax.axvline(length, color="grey", linestyle=":")
    ax.set(title=title, xlabel="token of the text", ylabel="window", yticks=range(len(starts)))
    ax.invert_yaxis()
    _show()


def accuracy_and_cost(
    accuracy: Mapping[str, tuple[float, float]], tokens: Mapping[str, float], title: str = ""
) -> None:
    """Each strategy's accuracy with its interval (mean, half width) over the tokens it encodes."""
    _, (left, right) = plt.subplots(
        1, 2, figsize=(9, 1 + 0.3 * len(accuracy)), layout="constrained", sharey=True,
        width_ratios=(3, 2),
    )  # fmt: skip
    places = np.arange(len(accuracy))
    means, halves = np.array(list(accuracy.values())).T
    left.errorbar(means, places, xerr=halves, fmt="o", capsize=4)
    left.set_yticks(places, list(accuracy))
    left.set(xlabel="accuracy, 95 % interval over seeds", title=title)
    left.grid(axis="x", alpha=0.3)
    bars = right.barh(places, [tokens[name] for name in accuracy], color="tab:orange")
    right.bar_label(bars, [f"{tokens[name]:,.0f}" for name in accuracy], padding=3, fontsize=8)
    right.set(xlabel="tokens encoded for one text", xlim=(0, 1.25 * max(tokens.values())))
    left.invert_yaxis()
    _show()


def time_and_memory(
    measured: Mapping[str, Sequence[Mapping[str, float]]], slopes: Mapping[str, tuple[float, float]]
) -> None:
    """Processor seconds and megabytes against length, on logarithmic axes.

    measured: for each kind rows with length, processor, megabytes; slopes: the exponents fitted to
    the two.
    """
    _, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for number, (ax, what) in enumerate(zip(axes, ("processor", "megabytes"), strict=True)):
        for (kind, rows), marker in zip(measured.items(), cycle("os^")):
            seen = [row for row in rows if row[what] > 0.5 or what == "processor"]
            label = f"{kind}: length^{slopes[kind][number]:.1f}"
            lengths = [row["length"] for row in seen]
            ax.plot(lengths, [row[what] for row in seen], f"{marker}-", label=label)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        lengths = sorted({row["length"] for rows in measured.values() for row in rows})
        ax.set_xticks(lengths, [f"{length:,}" for length in lengths], fontsize=8, rotation=45)
        ax.set(xlabel="length", ylabel={"processor": "processor seconds"}.get(what, what))
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    _show()


def _map(
    ax: Axes,
    matrix: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    limit: float | None = None,
    numbers: bool = True,
) -> AxesImage:
    """A matrix with a label on every row and column; from 0 in blue, or red and blue around 0."""
    rows, columns = [str(label) for label in rows], [str(label) for label in columns]
    limit = limit or _limit(matrix)
    signed = np.nanmin(matrix, initial=0) < 0
    cmap = colormaps["RdBu_r" if signed else "Blues"].with_extremes(bad="lightgrey")
    image = ax.imshow(matrix, cmap=cmap, vmin=-limit if signed else 0, vmax=limit)
    ax.set_xticks(range(len(columns)), columns, rotation=90 if sum(map(len, columns)) > 30 else 0,
                  parse_math=False)  # fmt: skip
    ax.set_yticks(range(len(rows)), rows, parse_math=False)
    if numbers and max(matrix.shape) <= NUMBERS_UP_TO:
        for (row, column), number in np.ndenumerate(matrix):
            colour = "white" if abs(number) > 0.6 * limit else "black"
            ax.text(column, row, _number(number), ha="center", va="center", color=colour,
                    fontsize=8)  # fmt: skip
    return image


def _number(number: float) -> str:
    """Two decimals, and never "-0.00"."""
    return f"{round(float(number), 2) + 0.0:.2f}"


def _limit(matrix: np.ndarray) -> float:
    """The end of the colour scale: the largest size in the matrix, never 0."""
    finite = matrix[np.isfinite(matrix)]
    return float(abs(finite).max(initial=0)) or 1.0


def _size(matrix: np.ndarray) -> tuple[float, float]:
    """Inches of a figure with one map; cells shrink once their numbers are left out."""
    cell = CELL if max(matrix.shape) <= NUMBERS_UP_TO else 0.26
    return 2.2 + cell * matrix.shape[1], 1.3 + cell * matrix.shape[0]


def _show() -> None:
    with warnings.catch_warnings():  # a reader's own sentence may hold what the font lacks
        warnings.filterwarnings("ignore", message="Glyph")
        plt.show()


# ---- 05: fine-tuning ----


def curves(
    lines: Mapping[str, ArrayLike], xlabel: str, ylabel: str, title: str = "", log: bool = False
) -> None:
    """A line for each name, over 0, 1, 2, …; `log` makes the vertical axis logarithmic."""
    _, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
    for (name, values), (dashes, width) in zip(lines.items(), cycle(LINES[1:]), strict=False):
        ax.plot(np.asarray(values), dashes, linewidth=width, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if log:
        ax.set_yscale("log")
    ax.legend(fontsize=8)
    _show()


def points_and_means(
    lines: Mapping[str, Mapping[float, Sequence[float]]], xlabel: str, ylabel: str, title: str = ""
) -> None:
    """Repeated measurements: a point for each, a line through their means. The x-axis is log."""
    _, ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
    for number, (name, measured) in enumerate(lines.items()):
        places = sorted(measured)
        colour, marker = f"C{number}", "osD^v"[number % 5]
        ax.plot(places, [np.mean(measured[x]) for x in places], color=colour, marker=marker,
                label=name)  # fmt: skip
        for x in places:
            ax.plot([x] * len(measured[x]), measured[x], marker, color=colour, alpha=0.35)
    ticks = sorted({x for measured in lines.values() for x in measured})
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_xticks(ticks, [f"{x:g}" if x < 1 else f"{x:,.0f}" for x in ticks])
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(0, 1.03))
    ax.legend(fontsize=8)
    _show()


def word_weights(words: Sequence[str], weights: Sequence[float], title: str = "") -> None:
    """A bar for each word, to the right if it speaks for the class, to the left if against it."""
    _, ax = plt.subplots(figsize=(5, 0.8 + 0.3 * len(words)), layout="constrained")
    weights = np.asarray(weights)
    ax.barh(np.arange(len(words)), weights, color=np.where(weights < 0, "tab:red", "tab:blue"))
    ax.set_yticks(np.arange(len(words)), words, parse_math=False)
    ax.invert_yaxis()
    ax.axvline(0, color="grey")
    ax.set(title=title, xlabel="weight")
    _show()


def page(text: str) -> None:
    """A text as a picture: for what differs from machine to machine, such as a loss."""
    lines = text.strip("\n").splitlines()
    width = max(map(len, lines), default=1)
    _, ax = plt.subplots(figsize=(0.085 * width + 0.3, 0.19 * len(lines) + 0.2))
    ax.set_axis_off()
    ax.text(0, 1, "\n".join(lines), family="monospace", fontsize=9, va="top", parse_math=False)
    _show()


def rate_test(rates: Sequence[float], losses: Sequence[float], ceiling: float) -> None:
    """The loss of each step against its learning rate (log), up to a loss of `ceiling`."""
    _, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
    ax.plot(rates, losses, ".-")
    ax.set_xscale("log")
    ax.set(xlabel="learning rate of the step", ylabel="loss of the batch")
    ax.set_ylim(0.8 * min(losses), ceiling)
    _show()
