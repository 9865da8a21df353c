"""Speed and memory against the goals, one table each: `make bench`.

    python tests/bench.py [check] [forward] [memory] [training] [import] [long]

runs only the named parts. Nothing here fails: a time says as much about the machine and what else
it does as about the course. So look at ratios before seconds. Times are medians; what is compared
runs in turn within one process, and a ratio is the median of the turns' ratios.
The forward pass with oneDNN on: TF_ENABLE_ONEDNN_OPTS=1 python tests/bench.py forward
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

FIRST_CHECK, LATER_CHECK, IMPORT = 1.0, 0.3, 0.2  # seconds
KERNEL_GB = 1.2
TRAINING, TRAINING_GB, TRAINED = 150.0, 1.5, 0.85  # seconds, GB, share of the held-out questions
SHAPES = ((1, 16), (1, 128), (8, 128), (1, 512), (4, 512))  # (batch, length)
FRESH = 3  # processes for what can be measured only once in each
LATER = 5


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as they come, so that a long run can be watched."""
    widths = [max(len(name), 9) for name in head]
    widths[0] = max(widths[0], 40)
    print(f"\n{title}")
    for row in (head, ["-" * width for width in widths]):
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)))
    for row in rows:
        cells = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row)
        line = (f"{text:<{width}}" for text, width in zip(cells, widths, strict=True))
        print("  ".join(line), flush=True)


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fresh_python(*arguments: str) -> str:
    """What a new Python process prints."""
    done = subprocess.run(
        (sys.executable, *arguments), check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


# ---- check ----


def bench_check() -> None:
    """First check in a fresh process, and later ones, of a right answer and of the slowest."""
    from course_utils.exercise import exercises

    rows = (
        check_row(name, kind) for name in sorted(exercises()) for kind in ("right", "unexplained")
    )
    title = (
        f"check, in seconds. Goal: first under {FIRST_CHECK:g} (TensorFlow imported), "
        f"later under {LATER_CHECK:g}.\n"
        "unexplained = output + 1: every mistake and every pair of mistakes is tried.\n"
        "µs = what one eager 8 × 8 matmul took in the same processes: the machine's mood."
    )
    table(title, ("exercise, answer", "first", "later", "µs", "goal"), rows)


def check_row(name: str, kind: str) -> tuple:
    runs = [fresh_python(__file__, "one-check", name, kind).split() for _ in range(FRESH)]
    columns = (map(float, column) for column in zip(*runs, strict=True))
    first, later, matmul = map(statistics.median, columns)
    met = verdict(first < FIRST_CHECK and later < LATER_CHECK)
    return f"{name}, {kind}", first, later, f"{matmul:.0f}", met


def one_check(name: str, kind: str) -> None:
    """In a process of its own: print the seconds of the first check and of later ones."""
    from course_utils import check
    from course_utils.checking import examine
    from course_utils.exercise import find

    answer = find(name).reference
    if kind == "unexplained":
        answer = one_more(answer)
    with contextlib.redirect_stdout(io.StringIO()):
        first, *later = [seconds(lambda: check(answer)) for _ in range(1 + LATER)]
    found = examine(answer)
    expected = ("passed", ()) if kind == "right" else ("wrong", ())
    assert (found.state, found.mistakes) == expected, found.lines
    print(first, statistics.median(later), small_matmul())


def one_more(right: Callable) -> Callable:
    """The same function, with 1 added to all that it returns: no catalogued mistake."""
    import tensorflow as tf

    def answer(*args, **kwargs):
        outputs = right(*args, **kwargs)
        return tf.nest.map_structure(lambda output: tf.cast(output, tf.float32) + 1.0, outputs)

    answer.__name__ = right.__name__
    return answer


# ---- forward ----


def bench_forward() -> None:
    """The references with the real weights against transformers' TFBertModel."""
    ours, theirs = our_model(), their_model()
    head = (
        "(batch, length)", "eager ms", "TFBert", "ratio", "function ms", "TFBert", "ratio",
        "XLA ms", "function", "XLA", "goal",
    )  # fmt: skip
    for masked in (False, True):
        title = (
            f"Forward pass of all-MiniLM, {'with a padding mask' if masked else 'no padding'}. "
            "ratio = TFBertModel's time / ours. Goal: at least 1, eager and tf.function.\n"
            "Last: which share of the speed of one large tf.matmul function and XLA reach."
        )
        if not masked:
            title += "\nOurs gets no mask; TFBertModel makes one of ones and always adds it."
        table(title, head, (forward_row(ours, theirs, *shape, masked) for shape in SHAPES))


def our_model() -> Callable:
    from course_utils.exercises.pretrained_weights import embed_tokens
    from course_utils.exercises.transformer_forward import transformer_forward
    from course_utils.pretrained import load_minilm

    model = load_minilm()
    sizes = (len(model.blocks), model.key_size, model.value_size, model.num_heads)

    def ours(token_ids, mask=None):
        hidden = embed_tokens(token_ids, model.embeddings)
        keys = None if mask is None else mask[:, None, None, :]
        return transformer_forward(hidden, *sizes, 0.0, weights=model.blocks, mask=keys)

    return ours


def their_model() -> Callable:
    import tensorflow as tf
    from transformers import TFAutoModel, logging

    from course_utils.pretrained import load_minilm

    logging.set_verbosity_error()
    model = TFAutoModel.from_pretrained(load_minilm().folder)

    def theirs(token_ids, mask=None):
        numbers = None if mask is None else tf.cast(mask, tf.int32)
        return model(token_ids, attention_mask=numbers, training=False).last_hidden_state

    return theirs


def forward_row(ours: Callable, theirs: Callable, batch: int, length: int, masked: bool) -> tuple:
    """Times in ms, ratios and shares of one shape; the outputs are compared first."""
    import numpy as np
    import tensorflow as tf

    inputs = token_ids_and_mask(batch, length, masked)
    square = tf.random.stateless_normal((1024, 1024), (0, 0))
    ways = {
        "eager": ours,
        "their eager": theirs,
        "function": tf.function(ours),
        "their function": tf.function(theirs),
        "xla": tf.function(ours, jit_compile=True),
    }
    calls = {name: lambda way=way: way(*inputs).numpy() for name, way in ways.items()}
    calls["matmul"] = lambda: tf.matmul(square, square).numpy()
    outputs = [calls[name]() for name in ways]
    assert all(np.allclose(outputs[1], output, atol=1e-3) for output in outputs)
    turns = max(7, min(40, 12_000 // (batch * length)))
    times = {name: [] for name in calls}
    for turn in range(turns):
        for name in sorted(calls, reverse=turn % 2):  # no way is always the first after another
            times[name].append(seconds(calls[name]))
    return (f"({batch}, {length})", *columns(times, flops(batch, length) / (2 * 1024**3)))


def columns(times: dict[str, list[float]], matmuls: float) -> Iterable[str]:
    """The cells of one row; the pass is worth so many of the measured matrix products."""

    def ms(name: str) -> str:
        return f"{1000 * statistics.median(times[name]):.1f}"

    def ratio(above: str, below: str) -> float:
        pairs = zip(times[above], times[below], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 2)

    eager, function = ratio("their eager", "eager"), ratio("their function", "function")
    shares = (f"{matmuls * ratio('matmul', name):.0%}" for name in ("function", "xla"))
    return (
        ms("eager"), ms("their eager"), f"{eager:.2f}",
        ms("function"), ms("their function"), f"{function:.2f}",
        ms("xla"), *shares, verdict(min(eager, function) >= 1),
    )  # fmt: skip


def token_ids_and_mask(batch: int, length: int, masked: bool) -> tuple:
    """Random words; with a mask, sequences of all lengths from nearly full to a third."""
    import numpy as np
    import tensorflow as tf

    words = np.random.default_rng(0).integers(1000, 20000, (batch, length))
    token_ids = tf.constant(words, tf.int32)
    lengths = np.linspace(0.9 * length, length / 3, batch).astype(int)
    mask = tf.constant(np.arange(length) < lengths[:, None])
    return (token_ids, mask) if masked else (token_ids,)


def flops(batch: int, length: int) -> int:
    """Multiplications and additions in the matrix products of all-MiniLM: 6 layers of width 384.

    Per token and layer four projections of 384 and two of 4 * 384; per pair of tokens q·k and
    weights · values.
    """
    per_token = 4 * 384 * 384 + 2 * 384 * 1536
    return 6 * 2 * batch * (length * per_token + length * length * 2 * 384)


# ---- memory ----

# The highest resident memory of the kernel's process, in bytes. On Linux from /proc: getrusage
# there remembers the process that started the kernel.
PEAK = """
import pathlib, sys
_status = pathlib.Path("/proc/self/status")
if _status.exists():
    print(int(_status.read_text().partition("VmHWM:")[2].split()[0]) * 1024)
else:
    import resource
    _peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(_peak if sys.platform == "darwin" else _peak * 1024)
"""


def bench_memory() -> None:
    from course_utils.notebooks import NOTEBOOKS

    files = sorted(NOTEBOOKS.glob("*.ipynb")) + sorted((NOTEBOOKS / "solved").glob("*.ipynb"))
    title = (
        f"Peak memory of each notebook's kernel, in GB. Goal: under {KERNEL_GB:g}, "
        f"under {TRAINING_GB:g} where a model is trained (05)."
    )
    table(title, ("notebook", "GB", "seconds", "goal"), map(memory_row, files))


def memory_row(file: Path) -> tuple:
    """Run the notebook in memory, with one cell more; the file stays as it is."""
    from nbformat.v4 import new_code_cell

    from course_utils.build import execute
    from course_utils.notebooks import NOTEBOOKS, read

    notebook = read(file)
    notebook.cells.append(new_code_cell(PEAK))
    taken = seconds(lambda: execute(notebook, NOTEBOOKS, file.stem))
    gigabytes = int(notebook.cells[-1].outputs[0].text) / 1e9
    state = "solved" if file.parent != NOTEBOOKS else "as handed out"
    goal = TRAINING_GB if file.stem.startswith("05") else KERNEL_GB
    return f"{file.stem}, {state}", gigabytes, f"{taken:.0f}", verdict(gigabytes < goal)


# ---- training ----


def bench_training() -> None:
    """The training of notebook 05 in a fresh process: time, memory, accuracy."""
    title = (
        "Fine-tuning all-MiniLM with ktrain on 1,600 TREC questions, as notebook 05 does. Goal: at "
        f"least {TRAINED:g} of the 600\nheld-out questions right, within {TRAINING:g} seconds on 2 "
        f"cores, everything built, under {TRAINING_GB:g} GB."
    )
    head = ("what", "fit s", "all s", "GB", "accuracy", "goal")
    table(title, head, (training_row() for _ in range(1)))


def training_row() -> tuple:
    fit, whole, peak, accuracy = map(float, fresh_python(__file__, "one-training").split())
    met = accuracy >= TRAINED and whole <= TRAINING and peak < TRAINING_GB * 1e9
    what = "fit_onecycle, one epoch"
    return what, f"{fit:.0f}", f"{whole:.0f}", peak / 1e9, accuracy, verdict(met)


def one_training() -> None:
    """In a process of its own: print the seconds of the fit and of all, the peak, the accuracy."""
    import numpy as np

    from course_utils import check  # noqa: F401  it sets TensorFlow up
    from course_utils.assets import find
    from course_utils.datasets import load_trec

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        import ktrain
        import tf_keras
        from ktrain import text

        data = load_trec()
        tf_keras.utils.set_random_seed(1)
        made = text.Transformer(str(find("minilm")), maxlen=20, class_names=[*data.class_names])
        train = made.preprocess_train(data.train_texts[:1600], data.train_labels[:1600], verbose=0)
        test = made.preprocess_test(data.test_texts, data.test_labels, verbose=0)
        model = made.get_classifier()
        for part in (model.bert.embeddings, *model.bert.encoder.layer[:3]):
            part.trainable = False
        adam = tf_keras.optimizers.legacy.Adam()
        model.compile(adam, model.loss, metrics=["accuracy"])  # else it is not frozen
        learner = ktrain.get_learner(model, train_data=train, batch_size=16)
        fit = seconds(lambda: learner.fit_onecycle(3e-4, 1, verbose=0))
        test.batch_size = 64
        right = np.mean(learner.predict(val_data=test).argmax(axis=1) == data.test_labels)
    print(fit, time.perf_counter() - start)
    exec(PEAK, {})
    print(right)


# ---- import ----


def bench_import() -> None:
    """What `import course_utils` adds to a bare Python."""
    bare, ours = (
        statistics.median(seconds(lambda code=code: fresh_python("-c", code)) for _ in range(5))
        for code in ("", "import course_utils")
    )
    loaded = "import course_utils, sys; print('tensorflow' in sys.modules)"
    without = fresh_python("-c", loaded).strip() == "False"
    met = verdict(without and ours - bare < IMPORT)
    rows = [("import course_utils", ours - bare, "no" if without else "YES", met)]
    title = f"import course_utils, in seconds. Goal: under {IMPORT:g}, and no TensorFlow."
    table(title, ("what", "seconds", "TensorFlow", "goal"), rows)


# ---- long ----


def bench_long() -> None:
    """Attention against length: all of it at once, in a band, in blocks with an online softmax."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
    from long_text import KINDS, attention_measured

    measured = attention_measured()
    by_length = {kind: {row["length"]: row for row in measured[kind]} for kind in KINDS}
    head = ("length", *(f"{kind} ms" for kind in KINDS), "online/full", "processor",
            *(f"{kind} MB" for kind in KINDS), "goal")  # fmt: skip
    title = (
        "One head of width 64: best time, compiled; memory on top of the inputs, not compiled.\n"
        "Goal: online at most 1.3 times the time of full at 1,024, less at 8,192.\n"
        "processor = the same ratio of processor time, which a busy machine disturbs less."
    )
    table(title, head, (long_row(by_length, length) for length in by_length["online"]))
    rows = [(kind, *exponents(measured[kind])) for kind in KINDS]
    rows = [(*row, verdict(row[2] < 1.3) if row[0] != "full" else "") for row in rows]
    title = "Growth from 2,048 on: length to the power of … Goal: memory linear (under 1.3)."
    table(title, ("kind", "time", "memory", "goal"), rows)


def long_row(by_length: dict, length: int) -> tuple:
    rows = {kind: rows.get(length) for kind, rows in by_length.items()}
    ms = (f"{1000 * row['seconds']:.1f}" if row else "" for row in rows.values())
    megabytes = (str(row["megabytes"]) if row else "" for row in rows.values())
    ratio, processor, met = "", "", ""
    if rows["full"]:
        ratio = round(rows["online"]["seconds"] / rows["full"]["seconds"], 2)
        processor = round(rows["online"]["processor"] / rows["full"]["processor"], 2)
        limit = {1024: 1.3, 8192: 1.0}.get(length)
        met = verdict(ratio < limit) if limit else ""
    return (f"{length:,}", *ms, str(ratio), str(processor), *megabytes, met)


def exponents(rows: Sequence[dict]) -> tuple[float, float]:
    """The slopes of processor seconds and of megabytes on logarithmic axes, from 2,048 on."""
    import numpy as np

    rows = [row for row in rows if row["length"] >= 2048]  # below, memory is mostly chance
    lengths = np.log([row["length"] for row in rows])
    return tuple(float(np.polyfit(lengths, np.log([row[what] for row in rows]), 1)[0])
                 for what in ("processor", "megabytes"))  # fmt: skip


# ---- all ----


def small_matmul() -> float:
    """Microseconds of the smallest work for TensorFlow, to judge other times by."""
    import tensorflow as tf

    small = tf.ones((8, 8))
    return 1e6 * statistics.median(seconds(lambda: tf.matmul(small, small)) for _ in range(2000))


def describe_machine() -> None:
    """What to know before believing a second."""
    from course_utils import check  # noqa: F401  it sets TensorFlow up, and starts it silently

    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(
        f"{os.cpu_count()} cores, load {load}, an eager 8 × 8 matmul takes "
        f"{small_matmul():.0f} µs, oneDNN is "
        f"{'off' if os.environ['TF_ENABLE_ONEDNN_OPTS'] == '0' else 'on'}."
    )


PARTS = {
    "import": bench_import,
    "check": bench_check,
    "forward": bench_forward,
    "memory": bench_memory,
    "training": bench_training,
    "long": bench_long,
}


def main(names: Sequence[str]) -> None:
    unknown = set(names) - set(PARTS)
    if unknown:
        sys.exit(f"There is no part {', '.join(sorted(unknown))}. The parts: {', '.join(PARTS)}.")
    for name, part in PARTS.items():
        if not names or name in names:
            describe_machine()
            part()
            print()


if __name__ == "__main__":
    if sys.argv[1:2] == ["one-check"]:
        one_check(*sys.argv[2:])
    elif sys.argv[1:2] == ["one-training"]:
        one_training()
    else:
        main(sys.argv[1:])
