"""Run a learner's function on one case so that nothing it does can bring the notebook down."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from course_utils import silent_stderr
from course_utils.exercise import Case

SECONDS_PER_CASE = 10.0
# How far two float32 results of the same mathematics may lie apart, summed in another order.
ABSOLUTE, RELATIVE = 2e-5, 2e-4
NUMBERS = (np.ndarray, np.generic, float, int, bool)


class TookTooLong(BaseException):
    """Not an Exception, so that an attempt's own `except Exception` does not swallow it."""


class Outcome(NamedTuple):
    """What came of one case: a value (nested tuples of arrays), or the error that was raised."""

    value: Any = None
    error: BaseException | None = None
    printed: bool = False


def run(attempt: Callable, case: Case, seconds: float | None = None) -> Outcome:
    """Run an attempt on a case. Never raises; prints nothing."""
    printed = io.StringIO()
    try:
        with _quiet(printed), _time_limit(SECONDS_PER_CASE if seconds is None else seconds):
            value = to_arrays(case.run(attempt))
    except BaseException as error:
        return Outcome(error=error, printed=bool(printed.getvalue()))
    return Outcome(value, None, bool(printed.getvalue()))


@contextlib.contextmanager
def _quiet(printed: io.StringIO) -> Iterator[None]:
    """Keep prints, warnings and log messages (tf.function's retracing) out of the notebook."""
    logged = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        silent_stderr(),  # tf.print and TensorFlow's C++ side
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logged)


# Where code that is not the learner's comes from.
_LIBRARIES = (
    *(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")),
    *("<frozen", "<__array_function__", str(Path(__file__).parent)),
)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TookTooLong in the learner's own lines, again and again until they give in.

    Never inside a library: an exception in the middle of TensorFlow's work can leave a lock held
    or crash the kernel. Only Unix has interval timers, and only on the main thread; elsewhere
    there is no limit.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not (hasattr(signal, "setitimer") and on_main_thread):
        yield
        return

    def stop(frame: Any, event: str = "line", _: Any = None) -> Any:
        if frame.f_code.co_filename.startswith(_LIBRARIES):
            return None
        if event == "exception":  # of ours; raising here would end the tracing
            return stop
        raise TookTooLong

    def interrupt(_: int, frame: Any) -> None:
        sys.settrace(stop)  # the next line or call that is the learner's raises
        above = frame
        while above and above.f_code is not run.__code__:
            above.f_trace = stop
            above = above.f_back
        stop(frame)

    trace, before = sys.gettrace(), signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.settrace(trace)


def to_arrays(value: Any) -> Any:
    """Tensors as arrays, lists as tuples; anything else unchanged."""
    if isinstance(value, (list, tuple)):
        return tuple(to_arrays(part) for part in value)
    return value.numpy() if hasattr(value, "numpy") else value


def is_numbers(value: Any) -> bool:
    """Is this an array, a number, or a tuple of them?"""
    return all(map(is_numbers, value)) if isinstance(value, tuple) else isinstance(value, NUMBERS)


def same_form(expected: Any, got: Any) -> bool:
    """Numbers where numbers are expected, and as many results as there should be?"""
    if isinstance(expected, tuple) != isinstance(got, tuple) or not is_numbers(got):
        return False
    return not isinstance(got, tuple) or len(got) == len(expected)


def same(expected: Outcome, got: Outcome) -> bool:
    """Do two outcomes agree: the same error type, or the same numbers within the tolerance?"""
    if expected.error is not None or got.error is not None:
        return type(expected.error) is type(got.error)
    return _agree(expected.value, got.value)


def _agree(expected: Any, got: Any) -> bool:
    """As `difference(...) is None`, without finding words: it runs for hundreds of explanations."""
    if isinstance(expected, tuple) or isinstance(got, tuple):
        both = isinstance(expected, tuple) and isinstance(got, tuple) and len(expected) == len(got)
        return both and all(_agree(e, g) for e, g in zip(expected, got, strict=True))
    if not isinstance(got, NUMBERS):
        return False
    expected, got = np.asarray(expected), np.asarray(got)
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    return bool(_close(expected, got).all())


def _close(expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Elementwise: equal within the tolerance; infinities and NaN equal themselves."""
    if expected.dtype.kind not in "fc":
        return np.asarray(got == expected)
    with np.errstate(all="ignore"):
        close = abs(got - expected) <= ABSOLUTE + RELATIVE * abs(expected)
    close &= abs(expected) < np.inf  # or anything would be near infinity
    close |= got == expected
    close |= (got != got) & (expected != expected)  # NaN is the only value that differs from itself
    return np.asarray(close)


def difference(expected: Any, got: Any, returns: tuple[str, ...] = ("output",)) -> str | None:
    """What is different, as a sentence for the learner; None if nothing is.

    Built on array methods and operators only: a learner who redefines `np.allclose` or
    `tf.reduce_all` must not be able to change a verdict.
    """
    if got is None:
        return "it returned None: is there a `return` at the end?"
    if isinstance(expected, tuple):
        return _different_parts(expected, got, returns)
    if isinstance(got, tuple):
        return f"it returned {len(got)} results; expected one, {returns[0]}."
    if not isinstance(got, NUMBERS):
        return f"{returns[0]} is a {type(got).__name__}; expected a tensor."
    return _different_array(np.asarray(expected), np.asarray(got), returns[0])


def _different_parts(expected: tuple, got: Any, returns: tuple[str, ...]) -> str | None:
    names = returns if len(returns) == len(expected) else ("output",) * len(expected)
    if not isinstance(got, tuple) or len(got) != len(expected):
        count = len(got) if isinstance(got, tuple) else 1
        results = "one result" if count == 1 else f"{count} results"
        return f"it returned {results}; expected {len(expected)}: {', '.join(names)}."
    differences = (difference(e, g, (n,)) for e, g, n in zip(expected, got, names, strict=True))
    return next((d for d in differences if d), None)


def _different_array(expected: np.ndarray, got: np.ndarray, name: str) -> str | None:
    if got.shape != expected.shape:
        return f"{name} has shape {got.shape}; expected {expected.shape}."
    if got.dtype != expected.dtype:
        return f"{name} has dtype {got.dtype}; expected {expected.dtype}."
    close = _close(expected, got)
    if close.all():
        return None
    nan = got != got
    if nan.any() and not (expected != expected).any():
        return f"{name} contains NaN (not a number) in {nan.sum()} of {got.size} places."
    wrong = ~close
    if expected.dtype.kind == "f":
        with np.errstate(all="ignore"):
            # An array even for one number, of which NumPy makes a scalar.
            gap = np.array(abs(got.astype(np.float64) - expected.astype(np.float64)))
        gap[gap != gap] = np.inf
        wrong &= gap >= gap[wrong].max()
    return _first_wrong(expected, got, wrong, name)


def _first_wrong(expected: np.ndarray, got: np.ndarray, wrong: np.ndarray, name: str) -> str:
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"{name}{list(place)}" if place else name
    return f"{where} is {_shown(got[place])}; expected {_shown(expected[place])}."


def _shown(number: Any) -> str:
    return f"{float(number):.4g}" if np.asarray(number).dtype.kind == "f" else str(number)


def missing_parameters(reference: Callable, attempt: Callable) -> tuple[list[str], list[str]]:
    """Parameters the exercise passes that the attempt does not take, and ones only it demands.

    What has no default is passed by position, what has one by name.
    """
    try:
        theirs = inspect.signature(attempt).parameters.values()
    except (TypeError, ValueError):
        return [], []  # a built-in that does not tell; calling it will
    ours = inspect.signature(reference).parameters.values()
    kinds = {p.kind for p in theirs}
    positional = [p for p in theirs if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in ours if p.default is p.empty]
    optional = [p.name for p in ours if p.default is not p.empty]
    missing = [] if inspect.Parameter.VAR_POSITIONAL in kinds else required[len(positional) :]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        named = {p.name for p in theirs if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        missing += [name for name in optional if name not in named]
    demanded = [p.name for p in theirs if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    demanded += [p.name for p in positional[len(required) :] if p.default is p.empty]
    return missing, [name for name in demanded if name not in optional]


def where_raised(error: BaseException, attempt: Callable) -> str:
    """The learner's own line that raised, with its number in the cell: 'line 4: scores = q @ k'."""
    file = getattr(inspect.unwrap(attempt), "__code__", None)
    file = file and file.co_filename
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"line {frames[-1].lineno}: {frames[-1].line}" if frames else ""


def short_message(error: BaseException) -> str:
    """The first line of an error's message, without addresses and TensorFlow's internal names."""
    try:
        lines = str(error).strip().splitlines() or [""]
    except Exception:  # an exception of the learner's own that cannot even be shown
        return ""
    if isinstance(error, RecursionError):  # how the sentence ends depends on where it was noticed
        return "the function calls itself without end"
    line = lines[-1] if lines[0].startswith("in user code:") else lines[0]
    line = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", line)
    line = re.sub(r" at 0x[0-9a-f]+", "", line)
    line = re.sub(r'"(\w+?)_\d+"', r'"\1"', line)  # Keras counts the layers it has made
    return re.sub(r"\s+", " ", line).strip()[:200]


def replaced_library_functions() -> list[str]:
    """Functions of NumPy and TensorFlow that were overwritten in the notebook."""
    rooms = {"np": np, "tf": tf, "tf.nn": tf.nn, "tf.math": tf.math, "tf.linalg": tf.linalg}
    return [
        f"{room}.{name}"
        for room, module in rooms.items()
        for name, thing in list(vars(module).items())
        if getattr(thing, "__module__", None) == "__main__"
    ]
