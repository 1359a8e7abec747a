# Every target installs foal into .venv first, if need be; see README.md.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
XDIST = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# The packages, tests and benchmarks that exist; mypy wants them inside a folder called foal.
CHECKED = $(addprefix foal/,$(wildcard shared manifests extract train predict tests benchmarks))

.PHONY: demo test test-fast benchmarks-tiny faults faults-sample soak audit check lint types docs format clean help

help:
	@echo "make demo           generate a corpus, extract, train, show the results (about two minutes after installation)"
	@echo "make check          ruff and mypy over packages, tests and benchmarks"
	@echo "make test           the whole test suite (about 8 minutes on two cores)"
	@echo "make test COVERAGE=1  the same with a coverage figure, commands and Dask workers included; slower"
	@echo "make test-fast      the tests that take no more than seconds (about a minute)"
	@echo "make benchmarks-tiny  every benchmark script for a few seconds, to test the scripts (two minutes)"
	@echo "make faults         the fault suite, and its table in docs/reliability.md (about 20 minutes)"
	@echo "make faults-sample  one of each kind of fault (5 minutes)"
	@echo "make soak           half an hour of load, memory compared"
	@echo "make docs           the documentation as a web site, in build/site"
	@echo "make format         ruff check --fix and ruff format"
	@echo "make audit          known vulnerabilities of the pinned packages (asks pypi.org)"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,dvc,docs,tls,vad]'
	touch $(STAMP)

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" dvc repro
	$(BIN)/foal inspect feats.h5
	$(BIN)/foal results runs/main
	$(BIN)/foal report runs/main

# COVERAGE=1 prints the share of lines that the tests run; it costs half as much time again.
test: $(STAMP)
	$(BIN)/python -m pytest $(XDIST) $(if $(COVERAGE),--cov --cov-report=term)

test-fast: $(STAMP)
	$(BIN)/python -m pytest $(XDIST) -m "not slow and not faults and not soak and not benchmarks"

benchmarks-tiny: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -m benchmarks $(XDIST)

faults: $(STAMP)
	$(BIN)/python -m pytest tests/faults -m "faults and not soak" $(XDIST) --faults-table docs/reliability.md

faults-sample: $(STAMP)
	$(BIN)/python -m pytest tests/faults -m "faults and sample" $(XDIST)

soak: $(STAMP)
	$(BIN)/python -m pytest tests/faults -m soak -s

docs: $(STAMP)
	$(BIN)/mkdocs build --strict --quiet --site-dir build/site

# In a separate environment, so that only the pinned packages are looked up. --strict: a failed look-up is an error.
audit:
	test -x $(VENV)-audit/bin/pip-audit || ($(PYTHON) -m venv $(VENV)-audit && \
	  $(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7')
	$(VENV)-audit/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r constraints.txt

check: lint types

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	@# A clone may have any name, so mypy sees it through a temporary link called foal.
	tmp=$$(mktemp -d) && ln -s "$$PWD" $$tmp/foal && cd $$tmp && \
	  MYPYPATH=.:foal/benchmarks "$(abspath $(BIN))/mypy" --config-file foal/pyproject.toml $(CHECKED); \
	  status=$$?; rm -rf $$tmp; exit $$status

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
