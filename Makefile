# The first Python that really starts: a shim of pyenv may not. set_up.py refuses a wrong version.
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
COURSE = .venv/bin/python

.PHONY: lab test build lock bench set-up python

# Without the news pop-up, and without a long line about language servers that are not there:
# the address to open must not sink in it.
lab: set-up
	$(COURSE) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
	--LabApp.news_url=None --LanguageServerManager.autodetect=False $(ARGS)

# One process more than CI has cores: a test waits a fifth of its time for a kernel or a time limit.
test: set-up
	$(COURSE) -m ruff check .
	$(COURSE) -m pytest -n 3 $(ARGS)

build: set-up
	$(COURSE) -m course_utils build

bench: set-up
	$(COURSE) tests/bench.py

lock: python
	"$(PYTHON)" set_up.py --lock

set-up: python
	@"$(PYTHON)" set_up.py

python:
	@"$(PYTHON)" -c "" 2>/dev/null || { echo "There is no Python$(PYTHON:%= called %). Install" \
	"Python 3.11, or say where it is: make lab PYTHON=/path/to/python3.11" >&2; exit 1; }
