"""What the learner has practised: a list of events in one readable JSON file.

Events are only ever added, and each has an id, so two notebooks that are open at once, or a file
taken home from Binder, are joined without losing anything. Schedules and reports are computed.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_data_path

VERSION = 1
# A file to use in place of the one in the user's data folder; "off": remember nothing on disk.
VARIABLE = "ATTENTION_COURSE_HISTORY"

Event = dict[str, Any]


class HistoryError(RuntimeError):
    """The history cannot be read or written; the text says what to do."""


class History:
    """The events in one file, or in memory if there is no file."""

    def __init__(self, path: Path | None = None, events: Iterable[Event] = ()):
        self.path = path
        self._in_memory = list(events)

    def events(self, kind: str | None = None) -> list[Event]:
        """All events in the order in which they happened, or those of one kind.

        A damaged file is renamed, never overwritten, and a sentence printed.
        """
        found = self._in_memory if self.path is None else self._read()
        found = sorted(found, key=lambda event: (event["at"], event["id"]))
        return [event for event in found if kind in (None, event["kind"])]

    def add(self, kind: str, at: datetime | None = None, **what: Any) -> None:
        """Record one event; `at` is now unless given. Raises HistoryError if it cannot be kept."""
        moment = (at or datetime.now(UTC)).isoformat(timespec="milliseconds")
        self.join([{"id": uuid.uuid4().hex, "at": moment, "kind": kind, **what}])

    def join(self, events: Iterable[Event]) -> int:
        """Add the events that are not there yet; how many these were."""
        if self.path is None:
            return _added(self._in_memory, events)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=10):
                kept = self._read()
                count = _added(kept, events)
                _write(self.path, kept)
        except (OSError, TimeoutError) as error:
            raise HistoryError(
                f"What you practise cannot be kept in {self.path} ({error.__class__.__name__}). "
                f"Set {VARIABLE} to a file that you may write, or to off."
            ) from None
        return count

    def _read(self) -> list[Event]:
        try:
            return parse(self.path.read_text(encoding="utf-8"), str(self.path))
        except FileNotFoundError:
            return []
        except UnicodeDecodeError:
            return self._set_aside()
        except HistoryError as error:
            if "newer" in str(error):
                raise
            return self._set_aside()

    def _set_aside(self) -> list[Event]:
        numbers = range(1, 1000)
        places = (self.path.with_suffix(f".damaged-{number}.json") for number in numbers)
        place = next(place for place in places if not place.exists())
        self.path.rename(place)
        print(
            f"The history file was damaged. It is kept as {place}, and a new one begins. If you "
            "have an exported copy, import_history brings it back."
        )
        return []


def _added(kept: list[Event], events: Iterable[Event]) -> int:
    """Put the events that `kept` does not hold behind it; how many they were."""
    before, known = len(kept), {event["id"] for event in kept}
    for event in events:
        if event["id"] not in known:
            known.add(event["id"])
            kept.append(event)
    return len(kept) - before


def parse(text: str, name: str) -> list[Event]:
    """The events in the text of a history file. Raises HistoryError that says what is wrong."""
    try:
        content = json.loads(text)
        version, events = content["version"], content["events"]
        whole = isinstance(version, int) and all(
            isinstance(event[field], str) for event in events for field in ("id", "at", "kind")
        )
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise HistoryError(f"{name} is not a history of this course, or it is damaged.")
    if version > VERSION:
        raise HistoryError(f"{name} was written by a newer version of this course: update it.")
    return events


def _write(path: Path, events: list[Event]) -> None:
    """Write beside the file and rename: whoever reads sees the old list or the new one."""
    events = sorted(events, key=lambda event: (event["at"], event["id"]))
    rows = ",\n".join(json.dumps(event, ensure_ascii=False) for event in events)
    text = f'{{"version": {VERSION}, "events": [\n{rows}\n]}}\n'
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def history() -> History:
    """The learner's own history."""
    return _history(os.environ.get(VARIABLE, ""))


@contextlib.contextmanager
def trial() -> Iterator[None]:
    """Try things out: what is practised inside is forgotten at the end."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = f"off {uuid.uuid4()}"
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


@cache
def _history(setting: str) -> History:
    if setting.startswith("off"):
        return History()
    return History(Path(setting or user_data_path("attention-course") / "history.json"))


def export_history(file: str = "attention-course-history.json") -> None:
    """Write everything practised so far to a file that can be taken to another machine."""
    path, events = Path(file), history().events()
    if path.exists():
        events += _events_of(path)  # a file of the same name holds earlier events: keep them
    kept: list[Event] = []
    number = _added(kept, events)
    _write(path, kept)
    print(f"Events in {path.name}: {number}. On the other machine: import_history({path.name!r})")


def import_history(file: str = "attention-course-history.json") -> None:
    """Add the events of an exported file to what is here; nothing is replaced."""
    try:
        count = history().join(_events_of(Path(file)))
    except FileNotFoundError:
        print(f"There is no file {file}. On the machine where you practised: export_history()")
    else:
        print(f"New events: {count}. In all: {len(history().events())}.")


def _events_of(path: Path) -> list[Event]:
    try:
        return parse(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError:
        raise HistoryError(f"{path.name} is not a history of this course.") from None
