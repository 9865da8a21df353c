"""The numbers behind the pictures, read back from matplotlib's own objects."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils import plots

TOKENS = ["the", "dog", "chased"]
WEIGHTS = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8]])


@pytest.fixture(autouse=True)
def keep_figures(monkeypatch):
    """plt.show would close nothing here, but it warns that there is no screen."""
    monkeypatch.setattr(plt, "show", lambda: plt.gcf().canvas.draw())
    yield
    plt.close("all")


def image(ax):
    return np.asarray(ax.get_images()[0].get_array())


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_heat_map_has_queries_as_rows_and_keys_as_columns():
    plots.heat_map(WEIGHTS[:2], TOKENS[:2], "title", key_tokens=TOKENS)
    ax = plt.gcf().axes[0]
    np.testing.assert_array_equal(image(ax), WEIGHTS[:2])
    assert labels(ax.xaxis) == TOKENS
    assert labels(ax.yaxis) == TOKENS[:2]
    assert [text.get_text() for text in ax.texts][:3] == ["0.20", "0.30", "0.50"]


def test_heat_map_of_a_long_sentence_writes_no_numbers():
    plots.heat_map(np.eye(20), ["$a"] * 20)
    assert not plt.gcf().axes[0].texts


def test_heat_map_takes_nan_and_negative_numbers():
    plots.heat_map([[np.nan, -2.0], [1.0, -0.0]], TOKENS[:2])
    ax = plt.gcf().axes[0]
    assert ax.get_images()[0].get_clim() == (-2, 2)
    assert ax.texts[-1].get_text() == "0.00"


@pytest.mark.parametrize("num_heads", [1, 2, 12])
def test_head_maps_draw_every_head_on_one_scale(num_heads):
    heads = np.stack([WEIGHTS / (head + 1) for head in range(num_heads)])
    plots.head_maps(heads, TOKENS, "title")
    maps = [ax for ax in plt.gcf().axes if ax.get_title().startswith("head")]
    np.testing.assert_array_equal([image(ax) for ax in maps], heads)
    assert {ax.get_images()[0].get_clim() for ax in maps} == {(0, 1)}


def test_row_sums_are_beside_their_rows():
    plots.row_sums(WEIGHTS * [[1], [0.5], [0]], TOKENS)
    left, right = plt.gcf().axes
    assert [bar.get_width() for bar in right.patches] == pytest.approx([1, 0.5, 0])
    assert [text.get_text() for text in right.texts] == ["1.00", "0.50", "0.00"]
    assert left.get_ylim() == right.get_ylim()


def test_softmax_factors_has_a_panel_for_each_factor():
    plots.softmax_factors([0.5, 1.0, -0.5], [0, 1, 3], WEIGHTS)
    assert [ax.get_title() for ax in plt.gcf().axes] == [f"scores × {f}" for f in (0, 1, 3)]
    heights = [[bar.get_height() for bar in ax.patches] for ax in plt.gcf().axes]
    np.testing.assert_array_equal(heights, WEIGHTS)


def test_softmax_scale_labels_its_two_lines():
    plots.softmax_scale([2, 8], [0.3, 0.4], [0.5, 0.9])
    lines = {line.get_label(): list(line.get_ydata()) for line in plt.gca().lines}
    assert lines == {"q · k": [0.5, 0.9], "q · k / √key_size": [0.3, 0.4]}


def test_influence_map_has_outputs_as_rows():
    plots.influence_map(np.tril(WEIGHTS), TOKENS)
    ax = plt.gcf().axes[0]
    np.testing.assert_array_equal(image(ax), np.tril(WEIGHTS))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input that was changed", "output that changes")


@pytest.mark.parametrize("d_model", [1, 6, 33])
def test_positional_encoding_draws_first_and_last_column(d_model):
    encoding = np.random.default_rng(0).uniform(-1, 1, (10, d_model))
    plots.positional_encoding(encoding)
    left, right = plt.gcf().axes[:2]
    np.testing.assert_array_equal(image(left), encoding)
    np.testing.assert_array_equal(right.lines[0].get_ydata(), encoding[:, 0])
    np.testing.assert_array_equal(right.lines[-1].get_ydata(), encoding[:, -1])


def test_scale_over_depth_draws_every_line():
    plots.scale_over_depth({"with": [1.0, 1.0, 1.0], "without": [1.0, 10.0, 100.0]})
    ax = plt.gca()
    assert [line.get_label() for line in ax.lines] == ["with", "without"]
    assert list(ax.lines[1].get_ydata()) == [1, 10, 100]


def test_similarity_labels_both_sides():
    plots.similarity(WEIGHTS[:, :2], TOKENS, ["a", "b"], "title")
    ax = plt.gcf().axes[0]
    assert (labels(ax.yaxis), labels(ax.xaxis)) == (TOKENS, ["a", "b"])


def test_no_cell_says_minus_nought():
    plots.similarity([[-0.001, -0.006], [0.004, 1.0]], ["a", "b"], ["c", "d"])
    assert [t.get_text() for t in plt.gcf().axes[0].texts] == ["0.00", "-0.01", "0.00", "1.00"]


def test_windows_over_text_ends_with_the_text():
    plots.windows_over_text([0, 4, 8, 12], content=6, length=17)
    bars = [(bar.get_x(), bar.get_width()) for bar in plt.gca().patches]
    assert bars == [(0, 6), (4, 6), (8, 6), (12, 5)]


def test_accuracy_and_cost_has_a_row_for_each_strategy():
    plots.accuracy_and_cost({"head": (0.7, 0.02), "mean": (0.9, 0.01)}, {"head": 128, "mean": 990})
    left, right = plt.gcf().axes
    assert labels(left.yaxis) == ["head", "mean"]
    assert [bar.get_width() for bar in right.patches] == [128, 990]


def test_time_and_memory_draws_every_kind_twice():
    rows = [{"length": n, "processor": n / 1e3, "megabytes": n / 100} for n in (512, 1024)]
    plots.time_and_memory({"full": rows, "online": rows}, {"full": (1.0, 1.0), "online": (1, 1)})
    left, right = plt.gcf().axes
    assert [len(ax.lines) for ax in (left, right)] == [2, 2]
    assert list(right.lines[0].get_ydata()) == [5.12, 10.24]


def test_curves_draws_a_line_for_each_name():
    plots.curves({"up": [1, 2, 3], "down": [3, 2, 1]}, "step", "loss", log=True)
    ax = plt.gcf().axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["up", "down"]
    assert [list(line.get_ydata()) for line in ax.lines] == [[1, 2, 3], [3, 2, 1]]
    assert ax.get_yscale() == "log"


def test_points_and_means_goes_through_the_means_and_shows_every_point():
    plots.points_and_means({"a": {50: [0.2, 0.4], 1000: [0.8]}}, "labels", "accuracy")
    ax = plt.gcf().axes[0]
    mean, *points = ax.lines
    np.testing.assert_allclose(mean.get_ydata(), [0.3, 0.8])
    assert [list(line.get_ydata()) for line in points] == [[0.2, 0.4], [0.8]]
    assert labels(ax.xaxis) == ["50", "1,000"]


def test_word_weights_has_the_first_word_on_top():
    plots.word_weights(["how", "many"], [0.5, -1.0], "title")
    ax = plt.gcf().axes[0]
    assert labels(ax.yaxis) == ["how", "many"] and ax.yaxis_inverted()
    assert [bar.get_width() for bar in ax.patches] == [0.5, -1.0]


def test_page_shows_a_text_as_it_is():
    plots.page("loss 0.1 $5\n\nend\n")
    assert [text.get_text() for text in plt.gcf().axes[0].texts] == ["loss 0.1 $5\n\nend"]


def test_rate_test_is_cut_off_where_the_loss_explodes():
    plots.rate_test([1e-5, 1e-3, 1.0], [1.8, 1.6, 900.0], ceiling=3)
    ax = plt.gcf().axes[0]
    assert list(ax.lines[0].get_ydata()) == [1.8, 1.6, 900.0]
    assert ax.get_xscale() == "log" and ax.get_ylim() == pytest.approx((1.28, 3))
