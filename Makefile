# The one door. Each target sets up what it needs: Python 3.11+, make and a package index suffice.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check format schemas lock clean

demo: $(READY)  ## tickets, invoices and images through the whole pipeline, on this machine alone
	@$(BIN)/pipeline demo

test: $(READY)  ## unit, property, integration and end-to-end tests
	@$(BIN)/pytest -n auto --dist loadfile

check: $(READY)  ## formatter, linter, types, import directions, schemas: what CI runs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pipeline schemas --check

format: $(READY)  ## let the tools fix what they can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

schemas: $(READY)  ## write schemas/ anew
	@$(BIN)/pipeline schemas

lock: $(READY)  ## resolve the dependencies anew
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra local --group dev --universal --generate-hashes \
		--python-version 3.11 --no-emit-index-url --no-header --no-annotate --upgrade \
		--output-file requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Setting up .venv (once, about a minute) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:  ## remove what the targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
