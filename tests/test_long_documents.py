"""What notebook 06 is given: shipped vectors, shipped numbers, and the classifiers behind them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from course_utils import long_documents as long


@pytest.mark.parametrize("name", ["books", "constructed"])
def test_shipped_vectors_have_length_1_where_there_is_a_window(name):
    embedded = long.load(name)
    lengths = np.linalg.norm(embedded.windows, axis=-1)
    np.testing.assert_allclose(lengths, embedded.mask, atol=0.01)
    assert len(embedded.labels) == len(embedded.groups) == len(embedded.windows)


def test_saving_loses_less_than_a_hundredth(tmp_path):
    some = long.load("constructed")
    turned = some._replace(windows=some.windows[..., ::-1], tail=some.tail * 0.5)
    long.save(tmp_path / "some.npz", {"turned": turned})
    again = long.load("turned", tmp_path / "some.npz")
    for before, after in zip(turned, again, strict=True):
        if before.dtype.kind == "f":
            np.testing.assert_allclose(before, after, atol=0.002)
        else:
            np.testing.assert_array_equal(before, after)


def test_the_file_is_small():
    assert (long.RESULTS / "long_text.npz").stat().st_size < 2e6


def test_no_book_is_trained_and_tested_on():
    books = long.load("books")
    for seed in range(10):
        test = long.held_out(books.groups, books.labels, seed)
        assert not set(books.groups[test]) & set(books.groups[~test])
        assert set(books.labels[test]) == set(books.labels)


def test_shipped_accuracies_are_those_of_the_shipped_vectors():
    shipped = json.loads((long.RESULTS / "long_text.json").read_text())
    books, seed = long.load("books"), 3
    found = long.compare_strategies(books, long.held_out(books.groups, books.labels, seed))
    for name, right in found.items():
        assert right.mean() == pytest.approx(shipped["books"][name][seed], abs=0.04), name


def test_a_linear_classifier_learns_what_is_linear():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(90, 5)).astype(np.float32)
    labels = (vectors[:, 1] > 0.2).astype(int)
    classify = long.fit_linear(vectors, labels, 2)
    assert (classify(vectors).argmax(-1) == labels).mean() > 0.95


def test_the_sentence_stands_where_it_should():
    places = long._places(14)
    assert list(places) == list(long.PLACES)
    cut = places["across a cut"]
    assert cut // long.CONTENT != (cut + 13) // long.CONTENT
    for place in long.PLACES[:3]:
        start = places[place]
        assert start // long.CONTENT == (start + 13) // long.CONTENT, place


def test_interval_is_student_s():
    mean, half = long.interval([0.8, 0.9] * 5)
    assert mean == pytest.approx(0.85)
    assert half == pytest.approx(2.262 * np.std([0.8, 0.9] * 5, ddof=1) / 10**0.5)
