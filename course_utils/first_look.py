"""A first look at an explanation, in NumPy: could these mistakes give the first case's numbers?

At the size of a case NumPy is twenty times as fast as TensorFlow, and hundreds of mistakes and
pairs are looked at. The look only rules out; what it leaves is judged with TensorFlow. What it
cannot do (a function that is not below, another kind of case) it leaves too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from course_utils.attempt import Outcome, is_numbers
from course_utils.exercise import Alternative, Call, Mistake, NotApplicable, combined, find
from course_utils.weights import Linear

# Far above what the order of a sum changes: what lies further apart is another function.
ABSOLUTE, RELATIVE = 1e-3, 1e-2


class _DType:
    """NumPy's dtype with TensorFlow's `min`. NumPy takes what has a `dtype` for a dtype."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    @property
    def min(self) -> np.floating:
        return np.finfo(self.dtype).min

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dtype, name)


class _Tensor(np.ndarray):
    """An array with such a dtype."""

    @property
    def dtype(self) -> _DType:
        return _DType(super().dtype)


def _as_tensors(inputs: Any) -> Any:
    """The same arrays, in tuples or alone, as _Tensor."""
    if isinstance(inputs, tuple):
        parts = map(_as_tensors, inputs)
        return inputs._make(parts) if hasattr(inputs, "_make") else tuple(parts)
    return inputs.view(_Tensor) if isinstance(inputs, np.ndarray) else inputs


def _reduction(reduce: Callable) -> Callable:
    def reduced(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
        return reduce(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)

    return reduced


def _matmul(a: np.ndarray, b: np.ndarray, transpose_b: bool = False) -> np.ndarray:
    return a @ (np.swapaxes(b, -1, -2) if transpose_b else b)


def _matvec(a: np.ndarray, b: np.ndarray, transpose_a: bool = False) -> np.ndarray:
    return ((np.swapaxes(a, -1, -2) if transpose_a else a) @ b[..., None])[..., 0]


def _softmax(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _gelu(x: np.ndarray, approximate: bool = False) -> np.ndarray:
    if approximate:
        return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / 2**0.5))


def _dropout(x: np.ndarray, rate: float) -> np.ndarray:
    if rate:
        raise NotImplementedError("random numbers are TensorFlow's")
    return x


def _divide_no_nan(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, np.float32(0), a / b)


def _l2_normalize(x: np.ndarray, axis: int) -> np.ndarray:
    return x / np.sqrt(np.maximum((x * x).sum(axis=axis, keepdims=True), 1e-12))


def _band_part(x: np.ndarray, below: int, above: int) -> np.ndarray:
    if (below, above) != (-1, 0):
        raise NotImplementedError
    return np.tril(x)


def _linear(inputs: np.ndarray, layer: Linear) -> np.ndarray:
    outputs = inputs @ layer.kernel
    return outputs if layer.bias is None else outputs + layer.bias


_TENSORFLOW = SimpleNamespace(
    float32=np.float32,
    bool=np.bool_,
    matmul=_matmul,
    reshape=np.reshape,
    transpose=np.transpose,
    where=np.where,
    cast=lambda x, dtype: np.asarray(x).astype(dtype),
    range=lambda *args, dtype=np.int32: np.arange(*args, dtype=dtype),
    ones=np.ones,
    ones_like=np.ones_like,
    zeros=np.zeros,
    zeros_like=np.zeros_like,
    fill=lambda shape, number: np.full(shape, np.float32(number)).view(_Tensor),
    shape=np.shape,
    gather=lambda x, rows: x[rows],
    norm=lambda x, axis, keepdims: np.linalg.norm(x, axis=axis, keepdims=keepdims),
    divide=np.divide,
    exp=np.exp,
    sin=np.sin,
    cos=np.cos,
    square=np.square,
    sqrt=np.sqrt,
    tanh=np.tanh,
    sigmoid=_sigmoid,
    maximum=np.maximum,
    add_n=sum,
    stack=np.stack,
    concat=lambda parts, axis: np.concatenate(parts, axis),
    pad=np.pad,
    constant=np.asarray,
    minimum=np.minimum,
    repeat=np.repeat,
    reduce_sum=_reduction(np.sum),
    reduce_mean=_reduction(np.mean),
    reduce_max=_reduction(np.max),
    reduce_min=_reduction(np.min),
    linalg=SimpleNamespace(
        matvec=_matvec,
        matrix_transpose=lambda x: np.swapaxes(x, -1, -2),
        band_part=_band_part,
    ),
    math=SimpleNamespace(
        rsqrt=lambda x: 1 / np.sqrt(x),
        reciprocal=lambda x: 1 / x,
        log=np.log,
        erf=_erf,
        divide_no_nan=_divide_no_nan,
        l2_normalize=_l2_normalize,
    ),
    nn=SimpleNamespace(
        softmax=_softmax,
        dropout=_dropout,
        gelu=_gelu,
        relu=lambda x: np.maximum(x, 0),
        silu=lambda x: x * _sigmoid(x),
        bias_add=np.add,
    ),
)
_IN_NUMPY = {"tf": _TENSORFLOW, "linear": _linear}

_values: dict = {}  # (exercise, ids of the changes) -> the changes, and what they give or None
_shown: dict[tuple[str, int], bool] = {}  # (exercise, id of a change) -> seen in the first case?


def rules_out(name: str, outcome: Outcome, changes: tuple[Mistake | Alternative, ...]) -> bool:
    """Is it certain that the reference with these changes gives another first outcome?"""
    with np.errstate(all="ignore"):
        if len(changes) > 1 and find(name).inherits:
            # The first case has no mask, no dropout, no extreme numbers: what shows nothing there
            # alone shows nothing beside another mistake, which spares looking at most pairs.
            changes = tuple(change for change in changes if _shows(name, change))
        try:
            value = _value(name, changes)
        except NotApplicable:
            return True
        return value is not None and _far(value, outcome.value)


def _shows(name: str, change: Mistake | Alternative) -> bool:
    """Does this change alone make a difference in the first case?"""
    key = (name, id(change))
    if key not in _shown:
        right, changed = _value(name, ()), _value(name, (change,))
        _shown[key] = right is None or changed is None or _far(right, changed, 1e-4, 1e-3)
    return _shown[key]


def _value(name: str, changes: tuple[Mistake | Alternative, ...]) -> Any:
    """What NumPy gives for the first case, once a session; None if it cannot tell."""
    key = (name, *map(id, changes))
    if key not in _values:
        # The changes stay with the value, so that nothing else can get their ids.
        _values[key] = (changes, _computed(name, changes))
    return _values[key][1]


def _computed(name: str, changes: tuple[Mistake | Alternative, ...]) -> Any:
    call = find(name).cases[0].run
    if type(call) is not Call:
        return None
    function = combined(name, *changes, instead=_IN_NUMPY)
    try:
        value = function(*_as_tensors(call.args), **call.kwargs)
    except Exception:  # the changed function crashes, or a part of TensorFlow is not here
        return None
    return value if is_numbers(value) else None


def _far(expected: Any, got: Any, absolute: float = ABSOLUTE, relative: float = RELATIVE) -> bool:
    """Another form, another shape, or a number far from the other? NaN tells nothing."""
    if isinstance(expected, tuple) or isinstance(got, tuple):
        both = isinstance(expected, tuple) and isinstance(got, tuple) and len(expected) == len(got)
        return not both or any(
            _far(e, g, absolute, relative) for e, g in zip(expected, got, strict=True)
        )
    expected, got = np.asarray(expected), np.asarray(got)
    if expected.shape != got.shape:
        return True
    if expected.dtype.kind not in "fi" or got.dtype.kind not in "fi":
        return False
    return bool((abs(expected - got) > absolute + relative * abs(expected)).any())
