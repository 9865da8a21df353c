"""The article's own functions, given as answers: caught, and the learner is told what is wrong."""

from __future__ import annotations

import re

import pytest

from course_utils.checking import examine

from . import article


def judged(answer, name):
    examination = examine(answer, name)
    return examination, " ".join(" ".join(examination.lines).split())


@pytest.mark.parametrize("answer, name", [
    (article.self_attention_without_helper, "self_attention"),
    (article.self_attention_with_helper, "self_attention"),
    (article.transformer_forward, "transformer_forward"),
    (article.transformer_forward_of_equal_width, "transformer_forward"),
])  # fmt: skip
def test_as_published_it_takes_no_weights(answer, name):
    examination, text = judged(answer, name)
    assert examination.state == "wrong"
    assert examination.mistakes == ("no_weights_argument",)
    assert not re.search(r"_\d+\b", text), "Keras numbers its layers: dense_24"
    assert "It does not take: weights, mask, training." in text
    assert "training" in text and "pretrained model" in text
    assert examine(answer, name) == examination, "two checks must print the same"


def test_the_missing_helper_is_named():
    _, text = judged(article.self_attention_without_helper, "self_attention")
    assert "split_heads" in text, "the learner must read that split_heads does not exist"


def test_the_wrong_width_is_seen():
    _, text = judged(article.self_attention_with_helper, "self_attention")
    assert "as wide as the inputs" in text


@pytest.mark.parametrize("answer", [
    article.transformer_forward, article.transformer_forward_of_equal_width,
])  # fmt: skip
def test_a_transformer_without_attention_is_seen(answer):
    _, text = judged(answer, "transformer_forward")
    assert "when another token changes" in text


@pytest.mark.parametrize("answer, name", [
    (article.self_attention_without_helper, "self_attention"),
    (article.self_attention_with_helper, "self_attention"),
    (article.transformer_forward, "transformer_forward"),
    (article.transformer_forward_of_equal_width, "transformer_forward"),
])  # fmt: skip
def test_with_the_course_s_arguments_added_it_is_still_caught(answer, name):
    examination, text = judged(article.with_the_course_s_arguments(answer), name)
    assert examination.state in ("wrong", "crashed"), text
    assert len(examination.lines) > 1
