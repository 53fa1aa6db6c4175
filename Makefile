# One command each; `make` alone lists them. Everything installs into .venv, from the pins in requirements/.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
ARGS ?=
WORKERS ?= 3
INTEGRATION = $(PYTEST) tests/integration --timeout=300 --durations=15

.PHONY: help
help: ## List the targets
	@echo "undaunted: model code that keeps working while database nodes fail"
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  PYTHON=/path/to/python3 chooses the interpreter; ARGS='...' goes to pytest, the demo or the benchmarks."

# --- what a user runs -------------------------------------------------------------------------------------------------

DEMO = $(BIN)/python examples/demo/run.py

.PHONY: demo
demo: $(VENV)/run ## Real clusters of each database, used plainly and undaunted, while their nodes fail (2 minutes each)
	@$(DEMO) $(ARGS)

.PHONY: demo-mongodb demo-cassandra demo-postgresql
demo-mongodb: $(VENV)/run ## The demo on a MongoDB replica set alone
	@$(DEMO) --backend mongodb $(ARGS)

demo-cassandra: $(VENV)/run ## The demo on a Cassandra cluster alone
	@$(DEMO) --backend cassandra $(ARGS)

demo-postgresql: $(VENV)/run ## The demo on a PostgreSQL primary with its standbys alone
	@$(DEMO) --backend postgresql $(ARGS)

BACKENDS ?= cassandra,mongodb,postgresql
EXAMPLE = $(BIN)/python examples/run.py $(if $(PORT),--port $(PORT))

.PHONY: example example-flask
example: $(VENV)/test ## A small shop on Django, on real clusters to break (BACKENDS=mongodb for one alone, PORT=8000)
	@$(EXAMPLE) --backends $(BACKENDS) $(ARGS)

example-flask: $(VENV)/test ## The same shop in one file: Flask, on MongoDB alone
	@$(EXAMPLE) --app flask $(ARGS)

.PHONY: test
test: test-unit test-integration ## All tests, on real servers

# --- the tests in parts -----------------------------------------------------------------------------------------------

.PHONY: test-unit
test-unit: $(VENV)/test $(VENV)/browser ## Tests without node faults: unit, contract, docs (ARGS='-k name')
	$(PYTEST) --ignore=tests/integration --timeout=120 --numprocesses=2 $(ARGS)

# Most of these wait, for elections and for servers that start: so several run side by side, each worker on clusters of
# its own. Those that measure times come after them, one by one, with nothing beside them; so do those on Cassandra, whose
# nodes take both cores and share one cluster. Pytest's status 2 is Ctrl-C; 5 is that nothing was chosen, which `-k` may
# do to some parts, not to all.
.PHONY: test-integration
test-integration: $(VENV)/test $(VENV)/browser ## Tests that make the nodes of real clusters fail (WORKERS=3 of them at a time)
	@status=5; \
	part() { \
		$(INTEGRATION) "$$@" $(ARGS); said=$$?; \
		case $$status,$$said in *,2) exit 2 ;; 5,*) status=$$said ;; 0,5 | 0,0) ;; 0,*) status=$$said ;; esac; \
	}; \
	part -m 'not alone and not cassandra' --numprocesses=$(WORKERS) --dist=worksteal; \
	part -m 'alone and not cassandra'; \
	part -m cassandra; \
	exit $$status

.PHONY: soak
soak: $(VENV)/test ## The tests that take minutes each, which no other target runs
	$(PYTEST) tests/integration -m soak --timeout=1800 $(ARGS)

.PHONY: coverage
coverage: $(VENV)/test ## Every branch of core, the decisions, is taken by its own tests
	$(BIN)/python -m coverage run -m pytest -q tests/unit/core $(ARGS)
	$(BIN)/python -m coverage report --include='src/undaunted/core/*' --skip-covered --fail-under=100

.PHONY: matrix
matrix: $(VENV)/test ## Unit and contract tests on every Python found, oldest and newest drivers, scylla-driver
	$(BIN)/python tools/matrix.py $(ARGS)

.PHONY: bench
bench: $(VENV)/run ## What the layer costs, paired with the plain ORM in one run
	for program in benchmarks/*.py; do $(BIN)/python $$program $(ARGS) || exit 1; done

# --- what a contributor runs ------------------------------------------------------------------------------------------

.PHONY: check
check: lint types docs coverage test ## All that .ci/run asks: lint, types, docs, coverage of core and tests

.PHONY: lint
lint: $(VENV)/check ## ruff (rules and format), import directions, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/codespell

.PHONY: types
types: $(VENV)/check ## mypy and pyright, both strict, over the package and the program in tests/typing
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: format
format: $(VENV)/check ## Let ruff format the code and sort the imports
	$(BIN)/ruff check --select I,RUF100 --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(VENV)/check ## The documentation, warnings being errors: docs/_build/html/index.html
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html

.PHONY: screenshots
screenshots: $(VENV)/test $(VENV)/browser ## Pictures for the documentation, which the tests in a browser take: docs/_generated/screens
	mkdir -p docs/_generated/screens
	UNDAUNTED_SCREENSHOTS=$(CURDIR)/docs/_generated/screens $(PYTEST) -m 'integration' --timeout=300 \
		tests/integration/example/test_example_browser.py tests/integration/frameworks/test_page.py $(ARGS)

.PHONY: changelog
changelog: $(VENV)/check ## Show what the next release's changelog says
	$(BIN)/towncrier build --draft

.PHONY: pins
pins: $(VENV)/check ## Resolve the requirements anew (asks the package index)
	tools/pin-requirements $(BIN)

.PHONY: clean
clean: ## Remove all that these targets made
	rm -rf $(VENV) .matrix docs/_build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment: each file below is a step that is done --------------------------------------------------
# Three sets, each holding the one before: what `make demo` needs, what the tests need, what the checks need.

$(VENV)/python: requirements/run.txt requirements/test.txt requirements/check.txt
	@python=$$(PYTHON="$(PYTHON)" tools/find-python) && echo "Making $(VENV) with $$python" && rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@touch $@

$(VENV)/run: $(VENV)/python pyproject.toml
	@echo "Installing the package, its MongoDB lab and the command line"
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/test: $(VENV)/run
	@echo "Installing what the tests need"
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

# Where it finds none, it says so, and the tests in a browser fail and say it again; the others run all the same.
$(VENV)/browser: $(VENV)/python
	-@tools/find-browser >$@

$(VENV)/check: $(VENV)/test
	@echo "Installing what the checks need"
	@$(PIP) install --require-hashes -r requirements/check.txt
	@touch $@
