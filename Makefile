# `make demo` and `make test` do all the set-up on a fresh machine; see README.md.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo test faults soak audit check format clean help

help:
	@echo "make demo   draw a corpus, extract, train, show the results (about 5 minutes after installation)"
	@echo "make test   the test suite        make check   ruff and mypy --strict        make format   ruff format"
	@echo "make faults break it on purpose (about 20 minutes)        make soak    half an hour without a pause"
	@echo "make audit  known vulnerabilities of the pinned packages (asks pypi.org)"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,dvc]'
	touch $(STAMP)

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" dvc repro
	$(BIN)/foal inspect feats.h5
	$(BIN)/foal results runs/main

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

faults: $(STAMP)
	$(BIN)/python -m pytest tests/faults -m "faults and not soak" --numprocesses auto --maxprocesses 4 --dist loadfile \
	  --faults-table docs/reliability.md

soak: $(STAMP)
	$(BIN)/python -m pytest tests/faults -m soak -s

# In an environment of its own, whose packages are nobody else's; --strict: what cannot be looked up is an error, too.
audit:
	test -x $(VENV)-audit/bin/pip-audit || ($(PYTHON) -m venv $(VENV)-audit && \
	  $(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7')
	$(VENV)-audit/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r constraints.txt

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy wants a folder called foal, and a clone may be called anything.
	tmp=$$(mktemp -d) && ln -s "$$PWD" $$tmp/foal && cd $$tmp && "$(abspath $(BIN))/mypy" --strict \
	  --config-file foal/pyproject.toml -p foal.shared -p foal.manifests -p foal.extract -p foal.train; \
	  status=$$?; rm -rf $$tmp; exit $$status
