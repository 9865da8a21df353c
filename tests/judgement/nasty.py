"""Attempts that a check must survive, with a clear answer: what they do, and what is to be said.

They are source text, as a notebook's cell is: each is executed in a room of its own, called
__main__, so that one that clears its globals or overwrites a name harms nothing else.
"""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Nasty(NamedTuple):
    """`first` and `anywhere` are pieces of the first line and of all lines."""

    what: str
    exercise: str
    state: str
    first: str
    anywhere: str
    cell: str


def in_a_notebook(cell: str, name: str) -> Callable:
    """Run a cell as a notebook would and return what it called `name`."""
    text = textwrap.dedent(cell)
    linecache.cache["<cell>"] = (len(text), None, text.splitlines(keepends=True), "<cell>")
    room = {"__name__": "__main__", "tf": tf, "np": np}
    exec(compile(text, "<cell>", "exec"), room)
    return room[name]


RIGHT = "e = tf.exp(scores - tf.reduce_max(scores, -1, keepdims=True)); "
RIGHT += "w = e / tf.reduce_sum(e, -1, keepdims=True)"


def softmax(what: str, state: str, first: str, body: str, anywhere: str = "") -> Nasty:
    """A softmax with this body."""
    cell = "def softmax(scores):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
    return Nasty(what, "softmax", state, first, anywhere, cell)


def cell(what: str, name: str, state: str, first: str, text: str, anywhere: str = "") -> Nasty:
    return Nasty(what, name, state, first, anywhere, text)


_SELF_ATTENTION = (
    "inputs, key_size, value_size, num_heads, dropout_rate, *, weights=None, mask=None, "
    "training=False"
)

NASTY = (
    # what comes back
    softmax("returns None", "wrong", "❌ softmax", f"{RIGHT}", "it returned None"),
    softmax("prints instead", "wrong", "❌ softmax", f"{RIGHT}; print(w)", "`print` shows"),
    softmax("only passes", "wrong", "❌ softmax", "pass", "it returned None"),
    softmax("returns two things", "wrong", "❌ softmax", f"{RIGHT}\nreturn w, w", "it returned 2 "),
    softmax("returns a string", "wrong", "❌ softmax", "return 'weights'", "is a str"),
    softmax("returns a dict", "wrong", "❌ softmax", "return {'weights': scores}", "is a dict"),
    softmax("returns a set", "wrong", "❌ softmax", "return {1, 2}", "is a set"),
    softmax("returns a function", "wrong", "❌ softmax", "return softmax", "is a function"),
    softmax("returns a list", "wrong", "❌ softmax", f"{RIGHT}\nreturn w.numpy().tolist()"),
    softmax("returns an empty list", "wrong", "❌ softmax", "return []", "it returned 0 "),
    softmax("returns a number", "wrong", "❌ softmax", "return 1.0", "shape ()"),
    softmax("returns float64", "wrong", "❌ softmax", f"{RIGHT}\nreturn tf.cast(w, tf.float64)",
            "dtype float64"),
    softmax("returns integers", "wrong", "❌ softmax", "return tf.cast(scores, tf.int32)",
            "dtype int32"),
    softmax("returns objects", "wrong", "❌ softmax", "return np.array(scores, dtype=object)",
            "dtype object"),
    softmax("returns strings", "wrong", "❌ softmax",
            "return tf.strings.as_string(scores)", "dtype"),
    softmax("returns complex numbers", "wrong", "❌ softmax",
            f"{RIGHT}\nreturn tf.cast(w, tf.complex64)", "dtype complex64"),
    softmax("returns a wrong shape", "wrong", "❌ softmax", "return scores[None]", "has shape"),
    softmax("returns NaN", "wrong", "❌ softmax", "return scores * np.nan", "NaN"),
    softmax("returns infinity", "wrong", "❌ softmax", "return scores * np.inf", "inf"),
    softmax("is a generator", "wrong", "❌ softmax", f"{RIGHT}\nyield w", "is a generator"),
    cell("is asynchronous", "softmax", "wrong", "❌ softmax",
         "async def softmax(scores):\n    return tf.nn.softmax(scores)", "is a coroutine"),
    softmax("returns an object that refuses everything", "crashed", "💥 softmax", """
        class Refuses:
            def __getattr__(self, name): raise RuntimeError("no")
            def __repr__(self): raise RuntimeError("no")
            def __array__(self, *_): raise RuntimeError("no")
            def __eq__(self, other): raise RuntimeError("no")
        return Refuses()"""),
    softmax("returns what says that it is equal", "wrong", "❌ softmax", """
        class Equal(np.ndarray):
            def __eq__(self, other): return np.ones(self.shape, bool)
            def __ne__(self, other): return np.zeros(self.shape, bool)
            def __abs__(self): return np.zeros(self.shape)
            def __sub__(self, other): return np.zeros(self.shape)
            __rsub__ = __sub__
        return np.zeros(scores.shape, "float32").view(Equal)"""),
    softmax("returns a list that holds itself", "crashed", "💥 softmax", """
        endless = []
        endless.append(endless)
        return endless""", "RecursionError"),
    cell("returns one thing of two", "scaled_dot_product_attention", "wrong",
         "❌ scaled_dot_product_attention",
         "def scaled_dot_product_attention(query, key, value, mask=None, dropout_rate=0.0):\n"
         "    return tf.matmul(tf.nn.softmax(query @ tf.linalg.matrix_transpose(key)), value)",
         "output, weights"),
    cell("returns three things of two", "scaled_dot_product_attention", "wrong",
         "❌ scaled_dot_product_attention",
         "def scaled_dot_product_attention(query, key, value, mask=None, dropout_rate=0.0):\n"
         "    return query, key, value", "output, weights"),
    # what it raises
    softmax("raises at once", "crashed", "your code raised ValueError",
            "raise ValueError('not like this')", "not like this"),
    softmax("raises without a word", "crashed", "your code raised KeyError", "raise KeyError"),
    softmax("asserts", "crashed", "your code raised AssertionError", "assert scores is None"),
    softmax("leaves Python", "crashed", "SystemExit", "raise SystemExit(1)"),
    softmax("calls exit", "crashed", "SystemExit", "import sys; sys.exit('bye')"),
    softmax("presses Ctrl-C", "crashed", "KeyboardInterrupt", "raise KeyboardInterrupt"),
    softmax("calls itself for ever", "crashed", "RecursionError", "return softmax(scores)"),
    softmax("takes all memory", "crashed", "MemoryError", "return np.zeros(10**16)"),
    softmax("misspells a name", "crashed", "NameError", "return tf.exp(score)", "score"),
    softmax("multiplies wrong shapes", "crashed", "💥 softmax: your code raised",
            "return tf.matmul(scores, tf.ones((99, 98)))"),
    softmax("raises an exception that cannot be printed", "crashed", "💥 softmax", """
        class Mute(Exception):
            def __str__(self): raise RuntimeError("no")
        raise Mute"""),
    softmax("raises an exception that raises itself when printed", "crashed", "💥 softmax", """
        class Mute(Exception):
            def __str__(self): raise self
        raise Mute"""),
    softmax("raises an exception that shows an address", "crashed", "ValueError",
            "raise ValueError(object())", "object object"),
    softmax("raises a group", "crashed", "ExceptionGroup",
            "raise ExceptionGroup('two', [ValueError('a'), TypeError('b')])"),
    softmax("raises a very long message", "crashed", "ValueError",
            "raise ValueError('x y ' * 10**5)"),
    softmax("closes the output", "crashed", "💥 softmax", "import sys; sys.stdout.close()"),
    cell("raises inside tf.function", "softmax", "crashed", "ValueError",
         "@tf.function\ndef softmax(scores):\n    raise ValueError('not in a graph')",
         "not in a graph"),
    cell("wrong shapes inside tf.function", "softmax", "crashed", "💥 softmax: your code raised",
         "@tf.function\ndef softmax(scores):\n    return tf.matmul(scores, tf.ones((99, 98)))",
         "must be"),
    softmax("needs a helper that is not started", "crashed", "NotImplementedError", """
        def split_heads(x):
            raise NotImplementedError("write split_heads here")
        return split_heads(scores)""", "split_heads"),
    softmax("starts and stops there", "not started", "⏳ softmax: not started",
            "print('soon'); raise NotImplementedError('write softmax here')"),
    # what does not end
    softmax("loops for ever", "crashed", "did not end within", "while True: pass", "loop"),
    softmax("loops for ever and catches everything", "crashed", "did not end within", """
        n = 0
        while True:
            try:
                n += 1
            except: pass""", "loop"),
    softmax("sleeps", "crashed", "did not end within", "import time; time.sleep(1000)"),
    softmax("loops in a comprehension", "crashed", "did not end within", """
        import itertools
        return [tf.exp(scores) for _ in itertools.count()]"""),
    softmax("loops for ever in the second call only", "crashed", "did not end within", """
        while len(scores.shape) == 1: pass
        return tf.nn.softmax(scores)""", "one row"),
    # how it is called
    cell("no parameters", "softmax", "wrong", "its parameters are not those of the exercise",
         "def softmax(): return 1", "It does not take: scores"),
    cell("one parameter too many", "softmax", "wrong", "its parameters are not",
         "def softmax(scores, axis): return tf.nn.softmax(scores, axis)", "demands"),
    cell("a keyword that must be given", "softmax", "wrong", "its parameters are not",
         "def softmax(scores, *, axis): return tf.nn.softmax(scores, axis)", "axis"),
    cell("no weights", "self_attention", "wrong", "its parameters are not",
         "def self_attention(inputs, key_size, value_size, num_heads, dropout_rate, mask=None, "
         "training=False): return inputs", "It does not take: weights"),
    cell("is a class", "softmax", "wrong", "❌ softmax",
         "class softmax:\n    def __init__(self, scores): self.scores = scores", "is a softmax"),
    cell("is None", "softmax", "crashed", "not a function", "softmax = None", "`def`"),
    cell("is a number", "softmax", "crashed", "not a function", "softmax = 3", "int"),
    cell("is a string", "softmax", "crashed", "not a function", "softmax = 'softmax'", "str"),
    cell("is a tensor", "softmax", "crashed", "not a function", "softmax = tf.ones(3)"),
    cell("is a module", "softmax", "crashed", "not a function", "softmax = np", "module"),
    cell("is an object that refuses everything", "softmax", "crashed", "💥 softmax", """
class Refuses:
    def __getattr__(self, name): raise RuntimeError("no")
    def __repr__(self): raise RuntimeError("no")
softmax = Refuses()"""),
    cell("is an object that pretends to be anything", "softmax", "crashed", "💥 softmax", """
class Anything:
    def __getattr__(self, name): return self
softmax = Anything()"""),
    cell("is a built-in", "softmax", "wrong", "❌ softmax", "softmax = len", "has shape ()"),
    cell("is a partial function", "softmax", "passed", "✅ softmax",
         "import functools\nsoftmax = functools.partial(tf.nn.softmax, axis=-1)"),
    cell("is a bound method", "softmax", "passed", "✅ softmax",
         "class Net:\n    def softmax(self, scores): return tf.nn.softmax(scores)\n"
         "softmax = Net().softmax"),
    # what it does beside its work
    softmax("prints a lot", "passed", "✅ softmax",
            f"for _ in range(10**4): print('here')\n{RIGHT}\nreturn w"),
    softmax("writes to stderr", "passed", "✅ softmax",
            f"import sys; print('here', file=sys.stderr)\n{RIGHT}\nreturn w"),
    softmax("warns", "passed", "✅ softmax",
            f"import warnings; warnings.warn('careful')\n{RIGHT}\nreturn w"),
    softmax("logs", "passed", "✅ softmax",
            f"import logging; logging.warning('careful')\n{RIGHT}\nreturn w"),
    softmax("prints with tf.print", "passed", "✅ softmax", f"tf.print('here')\n{RIGHT}\nreturn w"),
    softmax("sets the seeds", "passed", "✅ softmax",
            f"np.random.seed(0); tf.random.set_seed(0)\n{RIGHT}\nreturn w"),
    softmax("makes NumPy raise", "passed", "✅ softmax",
            f"old = np.seterr(all='raise')\n{RIGHT}\nnp.seterr(**old)\nreturn w"),
    softmax("clears its globals", "crashed", "NameError",
            "w = tf.nn.softmax(scores)\nglobals().clear()\nreturn w"),
    softmax("deletes the library's name", "crashed", "NameError",
            "global tf\nw = tf.nn.softmax(scores)\ndel tf\nreturn w", "'tf' is not defined"),
    softmax("gives back its input", "wrong", "❌ softmax", "return scores"),
    softmax("returns a variable", "passed", "✅ softmax", f"{RIGHT}\nreturn tf.Variable(w)"),
    cell("changes its inputs in place", "self_attention", "crashed", "changed its inputs",
         f"def self_attention({_SELF_ATTENTION}):\n"
         "    return tf.raw_ops.InplaceAdd(x=inputs, i=[0], v=inputs[:1])"),
    cell("takes its weights from the list", "transformer_forward", "crashed", "AttributeError",
         "def transformer_forward(inputs, num_layers, key_size, value_size, num_heads, "
         "dropout_rate, *, weights=None, mask=None, training=False):\n"
         "    while weights:\n"
         "        weights.pop()\n"
         "    return inputs"),
    cell("is compiled and traced anew each time", "softmax", "passed", "✅ softmax",
         "def softmax(scores):\n    return tf.function(lambda x: tf.nn.softmax(x))(scores)"),
)  # fmt: skip

# Functions that a learner might overwrite, with what they put there.
OVERWRITTEN = (
    (np, "allclose", lambda *_, **__: True),
    (np, "array_equal", lambda *_, **__: True),
    (np, "isclose", lambda *_, **__: True),
    (tf, "reduce_all", lambda *_, **__: tf.constant(True)),
    (tf, "reduce_sum", lambda x, *_, **__: x),
    (tf, "matmul", lambda a, *_, **__: a),
    (tf.nn, "softmax", lambda x, *_, **__: x),
    (tf.math, "reduce_max", lambda x, *_, **__: x),
    (tf.debugging, "assert_near", lambda *_, **__: None),
    (np.testing, "assert_allclose", lambda *_, **__: None),
    (np.linalg, "norm", lambda *_, **__: 0.0),
)
