"""A clock for a debugging round: nothing runs and nothing is shown unless the learner starts it.

    timer.start(15)     from now on each `check` says how many of 15 minutes are used
    timer.stop()        says it once more, and no longer
"""

from __future__ import annotations

import time

_round: dict[str, float] = {}  # when it began, in seconds of the monotonic clock; its minutes


def start(minutes: float = 15) -> None:
    """Begin a round of so many minutes; a round that runs already ends without a word."""
    if not minutes > 0:
        raise ValueError(f"a round takes more than 0 minutes, not {minutes}")
    _round.update(began=time.monotonic(), minutes=minutes)
    print(f"⏱ {minutes:g} minutes from now.")


def stop() -> None:
    """End the round and print the time used."""
    print("\n".join(lines()) or "⏱ No round is running: timer.start(15) begins one.")
    _round.clear()


def lines() -> list[str]:
    """What `check` adds: the time used in the round that runs; nothing if none does."""
    if not _round:
        return []
    used = (time.monotonic() - _round["began"]) / 60
    late = ": time is up, say what you would try next" if used > _round["minutes"] else ""
    return [f"⏱ {used:.0f} of {_round['minutes']:g} minutes used{late}."]
