# `make quickstart` and `make test` are all a fresh machine needs: Python 3.11, pip and make.
PYTHON ?= python3
VENV := .venv
UNDO := $(VENV)/bin/undo

.PHONY: quickstart test families check docs clean

quickstart: $(VENV)/.installed
	$(UNDO) run quickstart

test: $(VENV)/.installed-dev
	HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

# tiny models of every family of transformers, a quarter of an hour or more; writes docs/families.md
families: $(VENV)/.installed-dev
	HF_HUB_OFFLINE=1 $(VENV)/bin/python -m tests.families.sweep --write docs/families.md

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

docs: $(VENV)/.installed-dev
	$(VENV)/bin/python -m undo.cli.reference > docs/cli.md
	$(VENV)/bin/python -m undo.spec.load > src/undo/recipes/recipe.schema.json

clean:
	rm -rf $(VENV) build src/*.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "undo needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# torch comes from the constraints; which build of it (PyPI's brings gigabytes of CUDA on Linux) is the index's choice
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed
