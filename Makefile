# The one door. Each target sets up what it needs: Python 3.11+, make and a package index suffice.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
TOOLS := .tools/.ready

# What starts often, as the tests start it, is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo help setup chart-tools test oldest-sdk drills check faults faults-short fuzz corpus bench-gateway measure \
	wheel picture screenshot format schemas settings lock clean

demo: $(READY)  ## a day of events of all seven uses through the whole pipeline, on this machine alone
	@$(BIN)/pipeline demo

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) $(TOOLS)  ## .venv and .tools, to work on the code; the other targets do what they need of it

chart-tools: $(TOOLS)  ## helm and kube-score, from source (needs Go, takes minutes)
	@deploy/tools/install-go

test: $(READY) $(TOOLS)  ## unit, property, integration and end-to-end tests
	@tests/browser/install
	@deploy/setup/install .venv deploy/trust/requirements.lock
	@$(BIN)/pytest -n auto

oldest-sdk: $(READY)  ## what depends on Anthropic's SDK, with the oldest release that is taken
	@tests/sdk/oldest -n auto

drills: $(READY) $(TOOLS)  ## long runs of whole programs against the clock; want a quiet machine
	@$(BIN)/pytest -m drill

check: $(READY) $(TOOLS)  ## formatter, linter, types, import directions, schemas, docs/SETTINGS.md: what CI runs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy --python-executable .tools/bin/python --package deploy
	@$(BIN)/lint-imports
	@$(BIN)/pipeline schemas --check
	@$(BIN)/python -m pipeline.config.document docs/SETTINGS.md --check

faults: $(READY)  ## hostile records; replicas, brokers and API die for ten minutes; offsets are moved; tokens end (Java 17+, mvn)
	@$(BIN)/python -m tests.faults poison --nodes 1
	@$(BIN)/python -m tests.faults
	@$(BIN)/python -m tests.faults disasters
	@$(BIN)/python -m tests.faults expiring

faults-short: $(READY)  ## the last three of these, a minute or two each; results in Avro, by a registry
	@$(BIN)/python -m tests.faults --short --avro
	@$(BIN)/python -m tests.faults disasters --short
	@$(BIN)/python -m tests.faults expiring --short --nodes 1

fuzz: $(READY)  ## hostile input to the raw models and the file checks, for ten minutes
	@$(BIN)/python -m tests.fuzz

corpus: $(READY)  ## 600 files that viewers open, by ten programs: none may be refused (two minutes)
	@tests/corpus/install
	@folder=$$(mktemp -d) && $(BIN)/python -m tests.corpus $$folder && rm -r $$folder

wheel: $(READY)  ## dist/*.whl, to install without the repository: pip install 'dist/...whl[local]'
	@$(BIN)/python -m hatchling build -t wheel

picture: $(READY)  ## docs/demo.svg: what the demo shows last; on a quiet machine
	@$(BIN)/pipeline demo --svg docs/demo.svg

screenshot: $(READY)  ## docs/dashboard.png: the page over a pipeline that works, for some minutes
	@tests/browser/install
	@$(BIN)/python -m tests.browser.screenshot

bench-gateway: $(READY)  ## every goal of the Claude gateway, on a quiet machine (Java 17+, mvn)
	@$(BIN)/python -m benchmarks.suite

measure: $(READY)  ## how large the code is to its reader; docs/ARCHITECTURE.md has the targets
	@$(BIN)/python -m benchmarks.measure

format: $(READY)  ## let the tools fix what they can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

schemas: $(READY)  ## write schemas/ again; refuses a change that would break a reader
	@$(BIN)/pipeline schemas

settings: $(READY)  ## write docs/SETTINGS.md again
	@$(BIN)/python -m pipeline.config.document docs/SETTINGS.md

lock: $(READY)  ## resolve the dependencies again
	@$(BIN)/uv pip compile pyproject.toml --extra local --extra otel --extra s3 --extra registry --extra msk \
		--extra heic --extra office --extra split --extra desk --extra aws --extra vertex --extra foundry \
		--group dev --universal --generate-hashes \
		--python-version 3.11 --no-emit-index-url --no-header --no-annotate --upgrade \
		--output-file requirements.lock
	@for room in setup tools sbom trust; do \
		$(BIN)/uv pip compile deploy/$$room/requirements.in --universal --generate-hashes \
			--python-version 3.11 --no-emit-index-url --no-header --no-annotate --upgrade \
			--output-file deploy/$$room/requirements.lock; done

$(READY): requirements.lock pyproject.toml deploy/setup/requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Setting up .venv (once, some ten seconds and a download of 130 MB) ..."
	@$(PYTHON) -m venv .venv
	@deploy/setup/install .venv requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

# What checks deploy/, beside the environment of the pipeline, which needs none of it.
$(TOOLS): deploy/tools/install deploy/tools/requirements.lock
	@echo "Setting up .tools (once, some ten seconds) ..."
	@deploy/tools/install $(PYTHON)

clean:  ## remove what the targets made
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
