# `make` lists the targets. A machine needs Python >= 3.10 with pip and venv, make, git and a C compiler.

PYTHON ?= python3
# Where pip looks for torch first. On Linux, PyPI's own torch brings gigabytes of CUDA libraries that
# nothing here needs; `make TORCH_INDEX= demo` takes it all the same.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

DEMO := train lm --config examples/demo.yaml

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed-cli ## train a character LSTM on Python's standard library (about 3 minutes)
	$(BIN)/unrolled $(DEMO)

test: $(VENV)/.installed-test ## run the tests, as many at once as there are cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

check: $(VENV)/.installed-dev ## formatter, linter and type checker; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

format: $(VENV)/.installed-dev ## format, and fix what the linter can fix
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-cli ## write the generated parts of the documentation
	$(BIN)/python docs/generate.py

clean: ## remove the virtual environment and all caches; trained models stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an environment that was cut off half-way is built again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Unrolled needs Python 3.10 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=/path/to/python3 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	touch $@

# .installed-cli, -test or -dev: the package, editable, with that extra.
$(VENV)/.installed-%: pyproject.toml constraints.txt $(VENV)/.created
	$(PIP) install --no-deps --retries 1 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(PIP) install -c constraints.txt -e '.[$*]'
	touch $@
