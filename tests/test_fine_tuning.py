"""What notebook 05 stands on: serving in NumPy, progress that prints the same, stored results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import transformers

from course_utils import serving
from course_utils.assets import find
from course_utils.datasets import load_trec
from course_utils.training import ShowProgress
from experiments import fine_tuning

TEXTS = ("Who wrote Hamlet?", "How many legs does a spider have, and what are they all for?", "")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model with a random head, its tokenizer, and the folder for the service."""
    transformers.logging.set_verbosity_error()
    folder = tmp_path_factory.mktemp("served")
    model = transformers.TFAutoModelForSequenceClassification.from_pretrained(
        find("minilm"), num_labels=3
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(find("minilm"))
    serving.export(model, tokenizer, ["one", "two", "three"], folder)
    return model, tokenizer, folder


@pytest.mark.parametrize("text", TEXTS)
def test_numpy_gives_the_scores_of_the_trained_model(served, text):
    model, tokenizer, folder = served
    theirs = model(tokenizer(text, return_tensors="tf")).logits.numpy()[0]
    np.testing.assert_allclose(serving.Classifier(folder).scores(text), theirs, atol=1e-5)


def test_a_text_over_512_tokens_is_cut_as_in_training(served):
    model, tokenizer, folder = served
    batch = tokenizer("a long text " * 300, truncation=True, return_tensors="tf")
    theirs = model(batch).logits.numpy()[0]
    ours = serving.Classifier(folder).scores("a long text " * 300)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_service_needs_none_of_the_training_libraries(served):
    command = (sys.executable, "-m", "course_utils.serving", served[2], TEXTS[0])
    root = Path(serving.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    answer, loaded = done.stdout.splitlines()
    assert answer in [f"{TEXTS[0]} -> {name}" for name in ("one", "two", "three")]
    assert loaded == "of ktrain, transformers and TensorFlow loaded here: none"


@pytest.mark.parametrize(("steps", "epochs"), [(3, 1), (7, 2), (94, 1), (200, 3)])
def test_progress_prints_the_same_whatever_the_losses_are(steps, epochs, capsys):
    progress = ShowProgress()
    progress.set_params({"steps": steps, "epochs": epochs})
    progress.on_train_begin()
    for step in range(steps * epochs):
        progress.on_train_batch_end(step % steps, {"loss": step})
    progress.on_train_end()
    assert capsys.readouterr().out == f"{steps * epochs} steps {'▪' * ShowProgress.MARKS} done\n"


def test_progress_says_that_a_training_was_stopped(capsys):
    progress = ShowProgress()
    progress.set_params({"steps": 10, "epochs": 1})
    progress.on_train_begin()
    progress.on_train_batch_end(0)
    progress.on_train_end()
    assert capsys.readouterr().out == f"10 steps {'▪' * 4} stopped\n"


def test_temporary_files_of_any_library_are_removed_at_exit():
    code = (
        "import tempfile; from course_utils.training import temporary_folder\n"
        "folder = temporary_folder(); assert temporary_folder() == folder\n"
        "print(folder, tempfile.mkstemp()[1], sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    folder, file = map(Path, done.stdout.splitlines())
    assert file.parent == folder and not folder.exists()


def test_stored_results_are_what_the_script_makes_today():
    """Results of other settings than those in the script would be shown under a wrong label."""
    results = fine_tuning.stored()
    rates = {(run.rate, run.seed, run.rows) for run in results["rates"]}
    rows = fine_tuning.RATE_ROWS
    assert rates == {(r, s, rows) for r in fine_tuning.RATES for s in fine_tuning.SEEDS[:2]}
    tuned = {(r.rows, r.seed) for r in results["few_labels"] if r.method == "fine-tuned"}
    assert tuned == {
        (rows, seed) for rows in fine_tuning.LABELS
        for seed in fine_tuning.SEEDS[: 2 if rows >= fine_tuning.LONG else 3]
    }  # fmt: skip
    assert {run.method for run in results["few_labels"]} == {
        "word counts", "frozen encoder", "fine-tuned", "upper 3 layers",
    }  # fmt: skip


def test_two_trainings_from_one_model_start_from_the_same_weights(monkeypatch):
    questions = load_trec()
    few = questions._replace(
        test_texts=questions.test_texts[:32], test_labels=questions.test_labels[:32]
    )
    monkeypatch.setattr(fine_tuning, "load_trec", lambda: few)
    model = fine_tuning._model()
    one, other = (fine_tuning.fine_tuned(model, 16, 0, 1e-4, 1, layers=1) for _ in range(2))
    assert one == other
    model.restore()
    assert all(np.array_equal(w, s) for w, s in zip(model.keras.weights, model.start, strict=True))
