# `make` lists the verbs. Everything runs in .venv, which is made and kept current by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
#: An interpreter of your choice: make PYTHON=/path/to/python3.13
PYTHON ?=
#: Options that are passed on: make up ARGS="--user alice", make test PYTEST_ARGS="-k import"
ARGS ?=
PYTEST_ARGS ?=
#: Tests wait more than they work: two processes are quicker than one, even on one core.
TEST_PROCESSES ?= 3
#: Where the checks look.
PLACES := pkg svc fun cmd tests
SCRIPTS := build.sh $(wildcard .ci/* k8s/components/*/*.sh)
# Each deployable's own requirements; dev has everything.
LOCKED := link-service user-service social-graph-service api-gateway-service news-service link-checker-service \
	link-check-function operations troubleshooting local-stack
# Versions stay as they are, unless: make lock LOCK_ARGS=--upgrade
LOCK_ARGS ?=
# Tools with requirements of their own: each in an environment of its own.
CHECKOV := $(VENV)-checkov
RESOURCE_TYPES := $(VENV)-resource-types
AUDIT := $(VENV)-audit
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-strip-extras \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-config --custom-compile-command "make lock" $(LOCK_ARGS)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without bytecode every process of every test would compile the house anew.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.PHONY: help up migrate test faults drills strain fuzz images images-test bench check checkov audit resource-types fmt proto lock hooks venv clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: venv ## run the whole system here, until Ctrl-C (ARGS="--user alice --gateway-port 0 ...")
	@exec $(BIN)/python cmd/up.py $(ARGS)

migrate: venv ## bring the databases that the environment names to the newest schema (ARGS="--help")
	@exec $(BIN)/python cmd/migrate.py $(ARGS)

test: venv ## run every test, on servers that the tests start themselves (PYTEST_ARGS="-k import")
	$(BIN)/python -m pytest --ignore=tests/faults --ignore=tests/images --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)

faults: venv ## harm a running system in every way while people use it, and show that nothing is lost (ARGS="--help")
	@exec $(BIN)/python -m tests.faults $(ARGS)

drills: venv ## the long drills: every secret changed, an account deleted, while processes are killed
	$(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

strain: venv ## the event path with two of each service: 100,000 events behind, a million rows in the outbox (ARGS="--rows 0")
	@exec $(BIN)/python -m tests.faults.strain $(ARGS)

images: venv ## build every container image, with Docker or Podman (ARGS="--only user --prefix ghcr.io/you --tag 1.0")
	@$(BIN)/python cmd/build_images.py $(ARGS)

images-test: venv ## build the images for real, and run the system in them from its manifests (needs Podman)
	$(BIN)/python -m pytest tests/images --capture=no $(PYTEST_ARGS)

bench: venv ## what requests and events cost, against one raw process (ARGS="--requests 3000 --rounds 5")
	@$(BIN)/python -m tests.load.bench $(ARGS)

fuzz: venv ## requests that nobody thought of, held against what the services say of themselves (ARGS="--examples 100")
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

check: venv ## lint, formatting, types, import rules, shell scripts
	$(BIN)/shellcheck $(SCRIPTS)
	$(BIN)/ruff check $(PLACES)
	$(BIN)/ruff format --check $(PLACES)
	$(BIN)/mypy
	$(BIN)/lint-imports

checkov: $(CHECKOV)/.installed ## install checkov, so that `make test` has it look at the manifests as well

$(CHECKOV)/.installed: requirements/tools/checkov.txt | venv
	rm -rf $(CHECKOV)
	$(BIN)/python -m venv $(CHECKOV)
	$(CHECKOV)/bin/python -m pip install --quiet --no-compile --require-hashes --requirement $<
	@touch $@

resource-types: $(RESOURCE_TYPES)/.installed ## install what others publish of their resources, so that `make test` holds ours against it (needs npm)

$(RESOURCE_TYPES)/.installed: requirements/tools/resource-types/package.json requirements/tools/resource-types/package-lock.json
	rm -rf $(RESOURCE_TYPES)
	mkdir $(RESOURCE_TYPES)
	cp $^ $(RESOURCE_TYPES)
	cd $(RESOURCE_TYPES) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

audit: $(AUDIT)/.installed ## ask PyPI for known weaknesses of the locked libraries
	$(AUDIT)/bin/pip-audit --progress-spinner off --require-hashes --disable-pip --requirement requirements/dev.txt

$(AUDIT)/.installed: requirements/tools/audit.txt | venv
	rm -rf $(AUDIT)
	$(BIN)/python -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --no-compile --require-hashes --requirement $<
	@touch $@

fmt: venv ## format the code, and repair what the linter can
	$(BIN)/ruff check --fix --quiet $(PLACES) || true
	$(BIN)/ruff format $(PLACES)

proto: venv ## generate the code of every .proto file
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
		$$(find pb -name '*.proto' | LC_ALL=C sort)

lock: venv ## write requirements/*.txt anew from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)
	$(LOCK) --extra dev --output-file requirements/dev.txt pyproject.toml
	for name in $(LOCKED); do \
		$(LOCK) --extra $$name --constraint requirements/dev.txt --output-file requirements/$$name.txt pyproject.toml; \
	done
	$(LOCK) --group checkov --output-file requirements/tools/checkov.txt
	$(LOCK) --group audit --output-file requirements/tools/audit.txt

hooks: venv ## run the checks before each commit, from now on
	$(BIN)/pre-commit install

venv: $(INSTALLED)

$(INSTALLED): requirements/dev.txt
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || { \
		rm -rf $(VENV); \
		found=$$(.ci/find_python $(PYTHON)); \
		echo "making $(VENV) with $$found"; \
		"$$found" -m venv $(VENV); \
	}
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	@touch $@

clean: ## remove what was made here: the environment, caches, the local data
	rm -rf $(VENV) $(CHECKOV) $(AUDIT) $(RESOURCE_TYPES) .delinkcious .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
