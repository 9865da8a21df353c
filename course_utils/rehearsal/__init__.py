"""Practice for the interview: flash cards, a quiz, a timed mock, and a report of weak spots.

Everything here works as plain text; widgets.py puts buttons on top of it. What was practised is
kept as a list of events (course_utils/history.py), and all the rest is computed from that list.
"""

from course_utils.history import export_history, import_history, trial
from course_utils.rehearsal.cards import draw, reveal, tick
from course_utils.rehearsal.coach import coach
from course_utils.rehearsal.mock import mock
from course_utils.rehearsal.quiz import answer, ask
from course_utils.rehearsal.report import weak_spots

__all__ = [
    "answer",
    "ask",
    "coach",
    "draw",
    "export_history",
    "import_history",
    "mock",
    "reveal",
    "tick",
    "trial",
    "weak_spots",
]
