"""Cards, quiz, mock interview, report; and the history, of which nothing may be lost."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import tensorflow as tf
from fsrs import Rating
from ipywidgets import Checkbox, RadioButtons

from course_utils import check, history, plots
from course_utils.bank import questions
from course_utils.exercise import catalogue, exercises, variant
from course_utils.history import History, HistoryError, export_history, import_history
from course_utils.rehearsal import (
    answer,
    ask,
    cards,
    draw,
    mock,
    quiz,
    report,
    reveal,
    tick,
    widgets,
)
from course_utils.rehearsal.mock import FOLLOW_UP, ROUNDS, minutes_of_exercises, plan
from course_utils.rehearsal.report import weak_spots

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> History:
    """A history of one's own, in a file."""
    monkeypatch.setenv(history.VARIABLE, str(tmp_path / "history.json"))
    return history.history()


# ---- the history ----


def test_events_are_kept_in_a_readable_file_in_order(own):
    own.add("quiz", NOW + timedelta(1), card="B1", right=True)
    own.add("quiz", NOW, card="A1", right=False)
    content = json.loads(own.path.read_text())
    assert content["version"] == 1
    assert [event["card"] for event in content["events"]] == ["A1", "B1"]
    assert own.path.read_text().count("\n") == 4, "one line for each event"
    assert [event["card"] for event in History(own.path).events("quiz")] == ["A1", "B1"]
    assert own.events("card") == []


def test_two_notebooks_that_write_at_once_lose_nothing(own):
    code = (
        "import sys; from pathlib import Path; from course_utils.history import History\n"
        "for i in range(40): History(Path(sys.argv[1])).add('quiz', card=sys.argv[2] + str(i))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(own.path), letter]) for letter in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    names = {event["card"] for event in own.events()}
    assert names == {letter + str(i) for letter in "abc" for i in range(40)}


@pytest.mark.parametrize(
    "damage",
    [
        b'{"version": 1, "events": [\n{"id": "x"',
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b'{"version": 1, "events": [{"id": 1}]}',
    ],
)
def test_a_damaged_file_is_set_aside_and_never_overwritten(own, damage, capsys):
    for number in (1, 2):
        own.path.write_bytes(damage)
        own.add("quiz", card="A1")
        kept = own.path.with_suffix(f".damaged-{number}.json")
        assert kept.read_bytes() == damage
        assert len(own.events()) == 1
        assert kept.name in capsys.readouterr().out


def test_a_file_of_a_newer_course_is_left_alone(own):
    text = '{"version": 99, "events": []}'
    own.path.write_text(text)
    with pytest.raises(HistoryError, match="newer"):
        own.add("quiz", card="A1")
    assert own.path.read_text() == text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match=history.VARIABLE):
        History(tmp_path / "file" / "history.json").add("quiz", card="A1")


def test_export_and_import_join_and_repeat_nothing(own, tmp_path, monkeypatch, capsys):
    file = str(tmp_path / "taken home.json")
    own.add("quiz", NOW, card="A1", right=True)
    export_history(file)
    monkeypatch.setenv(history.VARIABLE, str(tmp_path / "other.json"))
    history.history().add("quiz", NOW + timedelta(1), card="B1", right=True)
    import_history(file)
    import_history(file)
    assert [event["card"] for event in history.history().events()] == ["A1", "B1"]
    export_history(file)
    assert len(json.loads((tmp_path / "taken home.json").read_text())["events"]) == 2
    assert "New events: 1. In all: 2." in capsys.readouterr().out


def test_a_trial_leaves_no_trace(own):
    own.add("quiz", NOW, card="A1", right=True)
    with history.trial():
        assert history.history().events() == []
        answer("A4", "a")
        assert len(history.history().events()) == 1
    with history.trial():
        assert history.history().events() == []
    assert [event["card"] for event in history.history().events()] == ["A1"]


def test_importing_what_is_no_history_says_so(tmp_path, capsys):
    import_history(str(tmp_path / "absent.json"))
    assert "There is no file" in capsys.readouterr().out
    (tmp_path / "other.json").write_text('{"cells": []}')
    with pytest.raises(HistoryError, match="not a history"):
        import_history(str(tmp_path / "other.json"))


# ---- cards ----


def test_the_rating_follows_from_the_ticks():
    given = [cards.rating(share, wrong) for share, wrong in ((1, 0), (0.8, 0), (0.5, 0), (0.2, 0))]
    assert given == [Rating.Easy, Rating.Good, Rating.Hard, Rating.Again]
    assert cards.rating(1.0, 1) == Rating.Again, "a false claim is remembered"


def test_what_is_known_well_comes_back_later():
    def due(*ratings: str) -> datetime:
        reviews = [
            {"card": "A1", "rating": rating, "at": (NOW + timedelta(days=day)).isoformat()}
            for day, rating in enumerate(ratings)
        ]
        return cards.schedule(reviews)["A1"].due

    assert due("Easy") > due("Good") > due("Again") > NOW
    assert due("Good", "Good") - due("Good") > timedelta(days=1)


def test_due_cards_come_first_then_the_new_ones_most_often_asked():
    three = [questions()[name] for name in ("A4", *list(questions())[:2]) if name in questions()]
    first, due = cards.next_card(three, [], NOW)
    assert due and first == max(three, key=lambda q: (q.counted == "question", q.banks))
    again = {"card": "A4", "rating": "Again", "at": NOW.isoformat()}
    later = NOW + timedelta(hours=1)
    assert cards.next_card(three, [again], later) == (questions()["A4"], True)
    all_known = [{**again, "card": q.id, "rating": "Easy"} for q in three]
    assert cards.next_card(three, all_known, later)[1] is False


def test_a_card_as_text_from_face_to_next_date(own, capsys):
    draw(topic="self-attention")
    assert 'Then: reveal("A' in capsys.readouterr().out
    reveal("A4")
    shown = capsys.readouterr().out
    assert all(f"\n{number}. " in shown for number in range(1, 6))
    tick("A4", said=[1, 2, 3, 4])
    assert "4 of 5 points: good.\nThis card comes back in 10 minutes." in capsys.readouterr().out
    tick("A4", said=[1, 2], wrong=[1])
    assert "2 of 5 points, 1 false claim: again." in capsys.readouterr().out
    assert [event["rating"] for event in own.events("card")] == ["Good", "Again"]


def test_wrong_use_of_cards_is_explained_and_records_nothing(own, capsys):
    tick("A4", said=[9])
    tick("A4", wrong=[0])
    tick("Z9")
    reveal("a4")
    draw(topic="cooking")
    said = capsys.readouterr().out
    for piece in ("numbers from 1 to 5", "from 1 to 3", "no question 'Z9'", "Topics: self-att"):
        assert piece in said
    assert own.events() == []


# ---- quiz ----


def test_every_quiz_item_is_asked_until_it_is_right(own, capsys):
    items = quiz.with_quiz()
    for _ in items:
        item = quiz.next_item(items, own.events("quiz"))
        wrong = next(choice.letter for choice in item.quiz[1] if not choice.right)
        answer(item.id, wrong)
    assert quiz.next_item(items, own.events("quiz")) == items[0]
    for item in items:
        answer(item.id, next(choice.letter for choice in item.quiz[1] if choice.right))
    assert quiz.next_item(items, own.events("quiz")) is None
    capsys.readouterr()
    ask()
    assert f"All {len(items)} items" in capsys.readouterr().out


def test_an_answer_gives_a_reason_for_every_choice(own, capsys):
    ask("self-attention")
    answer("A4", "b")
    text = capsys.readouterr().out
    assert "No: c is right." in text
    reasons = [choice.reason for choice in questions()["A4"].quiz[1]]
    assert len(reasons) == 4 and all(reason[:20] in " ".join(text.split()) for reason in reasons)
    answer("A4", "z")
    answer("none", "a")
    assert "choices a, b, c, d" in (said := capsys.readouterr().out) and "'none'" in said
    assert len(own.events()) == 1


# ---- the mock interview ----


@pytest.mark.parametrize("minutes", ROUNDS)
@pytest.mark.parametrize("seed", range(5))
def test_a_plan_fills_the_time_and_mixes_kinds(minutes, seed):
    items = plan(minutes, [], seed)
    assert items == plan(minutes, [], seed)
    assert minutes - FOLLOW_UP - 1 <= sum(item.minutes for item in items) <= minutes
    assert len({item.name for item in items}) == len(items)
    kinds = [item.kind for item in items]
    code, debugging = ROUNDS[minutes]
    assert kinds.count("code") == code
    specimens = [e for e in exercises().values() if e.broken]
    assert kinds.count("debugging") == (debugging if specimens else 0)
    for item, following in itertools.pairwise(items):
        if following.kind == "follow-up":
            assert following.name in questions()[item.name].follow_ups


def test_often_asked_and_weakly_known_questions_are_drawn_more():
    def times(name: str, events: list) -> int:
        plans = [plan(20, events, seed) for seed in range(200)]
        return sum(item.name == name for items in plans for item in items)

    known = [{"kind": "card", "card": "A4", "share": 1.0, "wrong": []}]
    weak = [{"kind": "card", "card": "A4", "share": 0.0, "wrong": []}]
    assert times("A4", weak) > times("A4", []) > times("A4", known)


def test_every_exercise_has_its_minutes():
    assert set(minutes_of_exercises()) == set(exercises())


def test_an_interview_from_first_question_to_report(own, capsys):
    interview = mock(20, seed=1)
    interview.clock = lambda: interview.started + 125
    while item := interview.item:
        if item.kind == "code":
            interview.tick([1])  # not how code is judged: nothing happens
            interview.judge(variant(item.name))
        elif item.name == interview.items[0].name:
            interview.skip()
        else:
            interview.reveal()
            interview.tick(range(1, len(questions()[item.name].rubric) + 1))
    interview.skip()  # it is over
    text = capsys.readouterr().out
    assert "Mock interview of 20 minutes: 2 of 20 minutes used." in text
    assert text.count("100% of the points") == len(interview.items) - 1
    assert text.count("not answered") == 1
    assert "The interview is over" in text and "Here it is interview.judge" in text
    assert [event["item"] for event in own.events("mock")] == [i.kind for i in interview.items]


def test_only_a_function_is_judged_and_its_name_does_not_matter(own, capsys):
    interview = mock(20, seed=1)
    while interview.item.kind != "code":
        interview.skip()
    name = interview.item.name
    for nothing in (None, 3, name):
        interview.judge(nothing)
        assert interview.item.name == name and "not a function" in capsys.readouterr().out
    mine = variant(name)
    mine.__name__ = "mine"
    interview.judge(mine)
    assert interview.item is None and "✅" in capsys.readouterr().out
    (event,) = own.events("check")
    assert (event["exercise"], event["state"]) == (name, "passed")


def test_code_may_be_mended_and_a_false_claim_is_reported(own, capsys):
    interview = mock(20, seed=1)
    interview.tick(said=[1, 2], wrong=[1])
    while interview.item.kind != "code":
        interview.skip()
    name = interview.item.name
    interview.judge(lambda *args, **kwargs: None)
    assert interview.item.name == name and "Mend it and judge it again" in capsys.readouterr().out
    interview.report()
    text = capsys.readouterr().out
    assert "a false claim, so nothing counts" in text and "0% of the points" in text
    interview.judge(variant(name))
    assert interview.shares[-1] == 1.0 and interview.shares[0] == 0.0 and interview.item is None


def test_the_last_verdict_counts_for_code_that_is_left(own, capsys):
    interview = mock(20, seed=1)
    while interview.item.kind != "code":
        interview.skip()
    interview.judge(variant(interview.item.name, catalogue(interview.item.name)[-1]))
    interview.skip()
    assert 0 <= interview.shares[-1] < 1
    assert interview.judged is None and "of the points" in capsys.readouterr().out


def test_an_interview_of_an_odd_length_is_refused(capsys):
    assert mock(7) is None
    assert "20, 45, 60" in capsys.readouterr().out


# ---- widgets ----


def parts(widget) -> list:
    """The widget and everything in it."""
    return [widget, *(part for child in getattr(widget, "children", ()) for part in parts(child))]


def button(widget, name: str):
    (found,) = (p for p in parts(widget) if getattr(p, "description", "") == name)
    return found


def click(widget, name: str) -> None:
    assert not button(widget, name).disabled
    button(widget, name).click()


def text_of(widget) -> str:
    return " ".join(str(getattr(part, "value", "")) for part in parts(widget))


def test_flash_cards_with_buttons(own):
    app = widgets.flash_cards()
    first = next(name for name in questions() if f"{name} ·" in text_of(app))
    click(app, "Reveal")
    boxes = [part for part in parts(app) if isinstance(part, Checkbox)]
    assert len(boxes) == len(questions()[first].rubric) + len(questions()[first].not_to_say)
    boxes[0].value = boxes[1].value = True
    click(app, "Rate, and next")
    (event,) = own.events("card")
    assert event["card"] == first and event["share"] == round(2 / len(questions()[first].rubric), 2)
    assert f"{first} ·" not in text_of(app) and "comes back" in text_of(app)


def test_flash_cards_filtered_by_topic(own):
    app = widgets.flash_cards()
    topic = next(part for part in parts(app) if getattr(part, "description", "") == "topic")
    topic.value = "masks"
    assert "· masks ·" in text_of(app)
    asked = next(
        part for part in parts(app) if getattr(part, "description", "") == "banks, at least"
    )
    asked.value = 24
    assert "No card fits" in text_of(app)


def test_quiz_with_buttons(own):
    app = widgets.quiz_cards()
    choices = next(part for part in parts(app) if isinstance(part, RadioButtons))
    click(app, "Check")
    assert own.events() == [], "nothing was chosen"
    assert "Choose one first" in text_of(app)
    choices.value = "a"
    click(app, "Check")
    assert len(own.events("quiz")) == 1 and "right" in text_of(app).lower()
    click(app, "Next")
    assert choices.value is None


def test_a_mock_interview_with_buttons(own):
    app = widgets.mock_interview()
    click(app, "Begin")
    for _ in range(20):
        if "Mock interview of 20 minutes" in text_of(app):
            break
        assert "interview." not in text_of(app), "buttons do it"
        if not button(app, "Reveal").disabled:  # a question, not code
            click(app, "Reveal")
            click(app, "Rate, and next")
        else:
            click(app, "Skip")
    assert "Mock interview of 20 minutes" in text_of(app)
    assert own.events("mock")


# ---- weak spots ----


def test_check_notes_mistakes_once_and_the_report_shows_where_to_read(own, capsys, monkeypatch):
    softmax = variant("softmax")
    broken = variant("softmax", exercises()["softmax"].mistakes[0])
    for fn in (broken, broken, softmax, broken):
        check(fn)
    noted = [event["state"] for event in own.events("check")]
    assert noted == ["wrong", "passed", "wrong"]
    answer("A4", "b")
    drawn = []
    monkeypatch.setattr(plots, "known_by_topic", drawn.append)
    capsys.readouterr()
    weak_spots()
    text = capsys.readouterr().out
    name = exercises()["softmax"].mistakes[0].name
    assert f"{name} in softmax, 2 times, open: 00_start_here.ipynb" in text
    assert "A4 (01)" in text
    assert drawn[0]["self-attention"] == 0.0 and drawn[0]["masks"] is None


def test_a_report_on_nothing_says_how_to_begin(capsys):
    weak_spots()
    assert "draw()" in capsys.readouterr().out


def test_a_false_claim_counts_as_nothing_known():
    events = [{"kind": "card", "card": "A4", "share": 0.8, "wrong": [1]}]
    topic = next(t for t in report.by_topic(events) if t.name == "self-attention")
    assert topic.known == 0.0 and topic.weakest == ("A4",)


def test_check_says_its_verdict_where_nothing_can_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(history.VARIABLE, str(tmp_path / "file" / "history.json"))
    check(variant("softmax"))
    assert "right in all" in capsys.readouterr().out
    assert tf.constant(1).numpy() == 1
