# make demo   swap a face in a short clip made from public-domain photographs
# make test   the test-suite
# make check  everything CI runs
# make clean  remove what the others made, except .venv

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
# Two to four workers: each holds its own copy of the models.
# A file stays with one worker, so that what its tests share is made once.
TESTFLAGS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check clean

demo: .venv/installed-demo
	$(BIN)/python scripts/demo.py

test: .venv/installed-dev
	$(BIN)/python -m pytest $(TESTFLAGS)

check: .venv/installed-dev
	scripts/check

# pip reads dependency groups since 25.1.
.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/it")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

.venv/installed-demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo]'
	@touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo]' --group dev
	@touch $@ .venv/installed-demo

clean:
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov .coverage*
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
