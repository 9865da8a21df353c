"""Buttons on top of the text: flash cards, quiz and mock interview for who has a widget manager.

What is shown comes from the same functions that the text verbs print, so the two cannot differ.
"""

from __future__ import annotations

import contextlib
import html
import io
from collections.abc import Callable
from datetime import UTC, datetime

import ipywidgets as widgets
from IPython import get_ipython

from course_utils.bank import Question, questions
from course_utils.history import history
from course_utils.rehearsal import cards, quiz
from course_utils.rehearsal.coach import advice, sentences
from course_utils.rehearsal.mock import ROUNDS, MockInterview, mock

ANY = "any"
WIDE = widgets.Layout(width="46em", max_width="98%")
WRAPPED = widgets.Layout(flex_flow="row wrap")
FITTING = {"description_width": "initial"}
# JupyterLab breaks preformatted text inside words, and ends what is written beside a checkbox in
# "…" where the line is full.
PRE = "white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere"
WHOLE_LABELS = """<style>
.course-points .widget-checkbox, .course-points .widget-checkbox label
{ height: auto; white-space: normal; line-height: 1.5 }
</style>"""


def flash_cards() -> widgets.VBox:
    """Cards one after the other: answer, reveal, tick, next."""
    topics = list(dict.fromkeys(question.topic for question in questions().values()))
    topic = widgets.Dropdown(options=[ANY, *topics], description="topic")
    level = widgets.Dropdown(options=[ANY, "junior", "senior", "staff"], description="level")
    asked = widgets.IntSlider(0, 0, 24, description="banks, at least", style=FITTING)
    card = _Card()

    def show(*_: object) -> None:
        wanted = [None if box.value == ANY else box.value for box in (topic, level)]
        chosen = cards.chosen(*wanted, asked.value)
        if not chosen:
            card.say("No card fits: choose another topic or level, or fewer banks.")
            return
        card.show(cards.next_card(chosen, history().events("card"), datetime.now(UTC))[0])

    for box in (topic, level, asked):
        box.observe(show, "value")
    card.then = show
    show()
    return widgets.VBox([widgets.HBox([topic, level, asked], layout=WRAPPED), card.box])


class _Card:
    """One card: its face, room for a written answer, and after `Reveal` the points to tick."""

    def __init__(self) -> None:
        self.face, self.verdict = _text(), _text()
        self.written = widgets.Textarea(
            placeholder="Your answer, aloud or here", layout=WIDE, rows=4
        )
        self.reveal = _button("Reveal", self._reveal)
        self.points = widgets.VBox()
        self.points.add_class("course-points")
        self.box = widgets.VBox([self.face, self.written, self.reveal, self.points, self.verdict])
        self.then: Callable[[], None] = lambda: None
        self.rate: Callable[[Question, set[int], set[int]], str] = cards.record

    def show(self, question: Question) -> None:
        """Put another card on the table."""
        self.question, self.written.value, self.points.children = question, "", ()
        self.reveal.disabled = False
        _say(self.face, cards.face(question))

    def say(self, text: str) -> None:
        """A message in place of a card."""
        self.points.children, self.reveal.disabled = (), True
        _say(self.face, text)

    def _reveal(self) -> None:
        answer = _text()
        _say(answer, cards.wrapped(self.question.sections["In 30 seconds"]))
        hint = _text()
        if sentences(self.written.value):
            _say(hint, advice(self.question, self.written.value))
        said = [_box(point) for point in self.question.rubric]
        wrong = [_box(claim) for claim in self.question.not_to_say]

        def rate() -> None:
            rated = self.question
            verdict = self.rate(rated, _ticked(said), _ticked(wrong))
            self.then()
            _say(self.verdict, verdict and f"{rated.id}: {verdict}")
            self.written.focus()  # the points are gone: else the page stays far below the card

        self.reveal.disabled, self.verdict.value = True, ""
        self.points.children = (
            widgets.HTML(WHOLE_LABELS),
            answer,
            hint,
            widgets.HTML("<b>An interviewer listens for</b> (tick what you said)"),
            *said,
            widgets.HTML("<b>Must not be said</b> (tick what you said)"),
            *wrong,
            _button("Rate, and next", rate),
        )


def quiz_cards() -> widgets.VBox:
    """Quiz items one after the other, with the reason for every choice."""
    asked, reasons = _text(), _text()
    choices = widgets.RadioButtons(options=[], layout=WIDE)
    item: Question | None = None

    def show() -> None:
        nonlocal item
        item = quiz.next_item(quiz.with_quiz(), history().events("quiz"))
        _say(asked, cards.wrapped(f"{item.id} · {item.quiz[0]}") if item else "All are right.")
        choices.options = (
            [(f"{c.letter}) {c.text}", c.letter) for c in item.quiz[1]] if item else []
        )
        choices.value, check.disabled, reasons.value = None, item is None, ""

    def judge() -> None:
        if not choices.value:
            _say(reasons, "Choose one first.")
            return
        _say(reasons, quiz.record(item, choices.value))
        check.disabled = True

    check, following = _button("Check", judge), _button("Next", show)
    show()
    return widgets.VBox([asked, choices, widgets.HBox([check, following]), reasons])


def mock_interview() -> widgets.VBox:
    """A mock interview with buttons; functions are judged by the name they have in the notebook."""
    length = widgets.Dropdown(options=list(ROUNDS), description="minutes")
    said, card = _text(), _Card()
    name = widgets.Text(description="function")
    code = widgets.HBox()
    interview: list[MockInterview] = []

    def step(call: Callable[[], object]) -> None:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            call()
        _say(said, text.getvalue())
        item = interview[-1].item
        talk = item is not None and item.name in questions()
        if talk:
            card.show(questions()[item.name])
        elif item is not None:
            name.value = item.name
        card.box.layout.display = "" if talk else "none"
        code.layout.display = "none" if talk or item is None else ""
        skip.disabled, start.disabled = item is None, item is not None

    def begin() -> None:
        step(lambda: interview.append(mock(length.value, buttons=True)))

    def judge() -> None:
        shell = get_ipython()
        function = shell and shell.user_ns.get(name.value.strip())
        step(lambda: interview[-1].judge(function))

    def rate(_: Question, points: set[int], wrong: set[int]) -> str:
        step(lambda: interview[-1].tick(sorted(points), sorted(wrong)))
        return ""

    start, skip = _button("Begin", begin), _button("Skip", lambda: step(interview[-1].skip))
    card.rate, skip.disabled = rate, True
    code.children = (name, _button("Judge", judge))
    card.box.layout.display = code.layout.display = "none"
    return widgets.VBox([widgets.HBox([length, start, skip], layout=WRAPPED), said, card.box, code])


def _text() -> widgets.HTML:
    return widgets.HTML()


def _say(place: widgets.HTML, text: str) -> None:
    """Show text as it would be printed."""
    place.value = f"<pre style='{PRE}'>{html.escape(text)}</pre>" if text else ""


def _box(text: str) -> widgets.Checkbox:
    layout = widgets.Layout(width="auto")
    return widgets.Checkbox(description=text, indent=False, layout=layout)


def _ticked(boxes: list[widgets.Checkbox]) -> set[int]:
    return {number for number, box in enumerate(boxes, 1) if box.value}


def _button(text: str, action: Callable[[], None]) -> widgets.Button:
    button = widgets.Button(description=text)
    button.on_click(lambda _: action())
    return button
