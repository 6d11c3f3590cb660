# Two things a new machine needs: git and Python 3.11 or newer. Everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Which Python is asked for, and which one made .venv: if they differ, .venv is made again.
ASKED := $(shell $(PYTHON) -c 'import sys; print(sys.version.split()[0], sys.base_prefix)')
MADE_BY := $(VENV)/.made-by

.PHONY: demo test test-python test-torch sd-scripts-given lint bench mutants clean

demo: $(VENV)/.installed
	$(BIN)/loragit demo $(DIR)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n auto --cov --cov-report=term

# What one Python may do differently from another; VENV names a folder for it beside .venv.
test-python: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto -m every_python

# Against sd-scripts itself: SD_SCRIPTS is a checkout of it. PyTorch and what the checkout asks for, 5 GB,
# are installed into a folder beside .venv, but for what needs a graphics card. On Linux the package
# index has PyTorch with CUDA, which runs without a card as well; TORCH_INDEX names another index.
TORCH := $(VENV)-torch
test-torch: sd-scripts-given $(VENV)/.installed-dev
	test -x $(TORCH)/bin/python || $(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch torchvision
	grep -vE '^ *(#|-e|bitsandbytes|$$)' '$(SD_SCRIPTS)/requirements.txt' >$(TORCH)/requirements.txt
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check -r $(TORCH)/requirements.txt
	SD_SCRIPTS='$(abspath $(SD_SCRIPTS))' TORCH_PYTHON='$(abspath $(TORCH)/bin/python)' $(BIN)/pytest -n 0 --timeout=1800 tests/torch

sd-scripts-given:
	@test -f '$(SD_SCRIPTS)/train_network.py' || { \
	    echo 'make test-torch SD_SCRIPTS=PATH: without a checkout of sd-scripts nothing is compared' >&2; exit 2; }

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench.py

# Breaks the code in small ways, and lists those that no test notices; no part of the gate. As in
# make mutants OF="history store -n 40".
mutants: $(VENV)/.installed-dev
	$(BIN)/python tests/mutants.py $(OF)

ifneq "$(ASKED)" "$(shell cat $(MADE_BY) 2>/dev/null)"
.PHONY: $(MADE_BY)
endif
$(MADE_BY):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "loragit needs Python 3.11 or newer")'
	$(PYTHON) -m venv --clear $(VENV)
	echo '$(ASKED)' >$@

$(VENV)/.installed: pyproject.toml $(MADE_BY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(MADE_BY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV)
