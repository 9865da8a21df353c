"""The data sets: their sizes, their splits, and that no part tells more than it should."""

import hashlib
import re

import numpy as np
import pytest

from course_utils import datasets


@pytest.fixture(scope="module")
def questions():
    return datasets.load_trec()


@pytest.fixture(scope="module")
def pieces():
    return datasets.load_books()


@pytest.fixture(scope="module")
def books(pieces):
    return datasets.split_by_book(pieces)


def fingerprint(texts: list[str]) -> str:
    """Of the texts in their order: a change of it changes every result in the notebooks."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


@pytest.mark.parametrize("name", ["questions", "books"])
def test_texts_labels_and_class_names_fit(request, name):
    data = request.getfixturevalue(name)
    for texts, labels in (data[0:2], data[2:4]):
        assert isinstance(texts, list) and all(texts)
        assert labels.shape == (len(texts),) and labels.dtype == np.int64
        assert set(labels) == set(range(len(data.class_names)))
    assert not set(data.train_texts) & set(data.test_texts)


# ---- questions ----


def test_counts_of_questions(questions):
    assert questions.class_names[0] == "abbreviation" and len(questions.class_names) == 6
    assert np.bincount(questions.train_labels).tolist() == [76, 1023, 1106, 1079, 732, 760]
    assert np.bincount(questions.test_labels).tolist() == [10, 128, 139, 135, 92, 96]


def test_the_split_of_questions_is_the_same_everywhere(questions):
    assert fingerprint(questions.train_texts) == "11a856bdf7a1"
    assert fingerprint(questions.test_texts) == "f43692b9f244"


def test_no_question_is_there_twice_whatever_its_case_and_punctuation(questions):
    def letters(text):
        return re.sub("[^a-z0-9]", "", text.lower())

    texts = questions.train_texts + questions.test_texts
    assert len({letters(text) for text in texts}) == len(texts) == 5376


def test_classes_are_what_the_questions_ask_for(questions):
    by_text = dict(zip(questions.train_texts, questions.train_labels, strict=True))
    by_text |= dict(zip(questions.test_texts, questions.test_labels, strict=True))
    for text, expected in {
        "What is the full form of .com?": "abbreviation",
        "How did serfdom develop in and then leave Russia?": "description",
        "What films featured the character Popeye Doyle?": "entity",
        "Who killed Gandhi?": "human",
        "Where is the Kalahari desert?": "location",
        "When was Ozzy Osbourne born?": "number",
    }.items():
        assert questions.class_names[by_text[text]] == expected


def test_the_first_training_questions_are_a_fair_sample(questions):
    shares = np.bincount(questions.train_labels) / len(questions.train_labels)
    of_first = np.bincount(questions.train_labels[:1000], minlength=6) / 1000
    np.testing.assert_allclose(of_first, shares, rtol=0, atol=0.04)


def test_another_size_of_the_test_set_keeps_the_shares(questions):
    smaller = datasets.load_trec(test_size=300)
    assert len(smaller.test_texts) == pytest.approx(300, abs=3)
    assert set(smaller.test_texts) < set(questions.test_texts)


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("What 's a fax , please ?", "What's a fax, please?"),
        ("What is `` dew point '' ?", 'What is "dew point"?'),
        ("What does the name ` Ann ' mean ?", "What does the name 'Ann' mean?"),
        ("Which countries do n't border Brazil ?", "Which countries don't border Brazil?"),
        ("What are dogs ' tails for ?", "What are dogs' tails for?"),
        ("What is the full form of .com ?", "What is the full form of .com?"),
        ("a sister\N{REPLACEMENT CHARACTER}city", "a sister city"),
    ],
)
def test_questions_are_written_as_people_write(cut, whole):
    assert datasets.readable(cut) == whole


# ---- books ----


def test_counts_of_pieces(pieces, books):
    assert len(pieces) == 1013
    assert books.class_names == ("Austen", "Chesterton", "Edgeworth")
    assert np.bincount(books.train_labels).tolist() == [394, 215, 143]
    assert np.bincount(books.test_labels).tolist() == [118, 81, 62]
    assert fingerprint([piece.text for piece in pieces]) == "cce5f9a3e43b"


def test_a_piece_has_the_words_that_were_asked_for(pieces):
    assert {len(piece.text.split()) for piece in pieces} == {datasets.PIECE_WORDS}
    shorter = datasets.load_books(words=100)
    assert {len(piece.text.split()) for piece in shorter} == {100}
    assert shorter[0].text == " ".join(pieces[0].text.split()[:100])


def test_pieces_are_longer_than_the_model_can_read(pieces):
    from course_utils.pretrained import load_minilm

    model = load_minilm()
    lengths = [len(model.tokens(piece.text)) for piece in pieces[::50]]
    assert set(lengths) == {512}, "cut"


def test_pieces_of_a_book_are_numbered_in_order(pieces):
    for book in {piece.book for piece in pieces}:
        numbers = [piece.number for piece in pieces if piece.book == book]
        assert numbers == list(range(len(numbers)))


def test_whole_books_are_held_out(pieces, books):
    held_out = {piece.text for piece in pieces if piece.book in datasets.TEST_BOOKS}
    assert set(books.test_texts) == held_out
    assert set(datasets.TEST_BOOKS) <= {piece.book for piece in pieces}


def test_every_author_has_books_for_both_parts(pieces):
    for author in {piece.author for piece in pieces}:
        theirs = {piece.book for piece in pieces if piece.author == author}
        assert theirs & set(datasets.TEST_BOOKS) and theirs - set(datasets.TEST_BOOKS)


@pytest.mark.parametrize("mark", ["Gutenberg", "Chesterton", "Austen", "Edgeworth", "CHAPTER", "_"])
def test_nothing_around_the_text_tells_the_author(pieces, mark):
    assert not [piece[1:] for piece in pieces if mark in piece.text]


def test_books_begin_and_end_where_the_author_does(pieces):
    first = {piece.book: piece.text for piece in pieces if piece.number == 0}
    last = {piece.book: piece.text for piece in pieces}
    assert first["Emma"].startswith("Emma Woodhouse, handsome, clever, and rich,")
    assert first["The Man Who Was Thursday"].startswith("THE suburb of Saffron Park lay")
    assert first["The Orphans"].startswith("Near the ruins of the castle of Rossmore")
    assert "Donations" not in last["The Ball and the Cross"]
    assert not {"Eton Montem", "Old Poz"} & set(first), "plays"
