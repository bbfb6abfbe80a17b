# Two commands need nothing but Python 3.11 and make: `make demo` and `make test`.

HOST ?= 127.0.0.1
PORT ?= 8000
ARGS ?=

# Of the fleet's three; where one is not given, 9000, 8000 and 8001, or a free one.
SERVER_PORT ?=
SHOP_PORT ?=
PAYMENTS_PORT ?=

VENV := .venv
BIN  := $(VENV)/bin

# The first Python on PATH that runs and is new enough.
find_python = for name in $(1); do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done
PYTHON ?= $(shell $(call find_python,$(BIN)/python python3.11 python3 python3.12 python3.13 python3.14 python))
PYTHON313 ?= $(shell $(call find_python,python3.13 $(HOME)/.pyenv/versions/3.13.*/bin/python))

# Three workers keep two cores busy, because tests wait for processes. A file's tests stay together, so that
# what they share is started once; tests/conftest.py says with which files to begin.
SPREAD ?= -n 3 --dist loadfile --no-loadscope-reorder

# What measures: `make coverage` sets it.
COVERAGE ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-fleet demo-reset demo-check test coverage test-313 test-fastapi-0115 lint format messages services clean python python313

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: python ## Run the example shop: HOST=127.0.0.1 PORT=8000
	@$(PYTHON) example_project/demo.py --host "$(HOST)" --port "$(PORT)" --only-try-port
	@$(PYTHON) .ci/environment.py demo
	@exec $(BIN)/python example_project/demo.py --host "$(HOST)" --port "$(PORT)"

demo-fleet: python ## Run a Shield Server, the shop and a FastAPI service: SERVER_PORT= SHOP_PORT= PAYMENTS_PORT=
	@$(PYTHON) .ci/environment.py fleet
	@exec $(BIN)/python example_project/fleet.py --host "$(HOST)" \
		$(if $(SERVER_PORT),--server-port "$(SERVER_PORT)") \
		$(if $(SHOP_PORT),--shop-port "$(SHOP_PORT)") \
		$(if $(PAYMENTS_PORT),--payments-port "$(PAYMENTS_PORT)")

demo-reset: ## Throw away the data of a demo that has ended; the next `make demo` starts clean
	@rm -rf .demo
	@echo "The demo's data is gone; 'make demo' starts clean."

demo-check: python ## Start the demo, see 200, 503 and 200 again, stop it
	@$(PYTHON) .ci/environment.py --quiet demo
	@$(BIN)/python .ci/demo_check.py

test: python services ## Run all tests: ARGS="-k window -x"
	@$(PYTHON) .ci/environment.py --quiet test
	@rm -f .coverage .coverage.*
	@$(BIN)/python -X dev $(COVERAGE) -m pytest $(SPREAD) $(ARGS)
	@$(if $(COVERAGE),$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report)

coverage: ## Run all tests and tell what they cover; takes half as long again
	@$(MAKE) --no-print-directory test COVERAGE="-m coverage run"

test-313: ## Run the core and Django suites on Python 3.13 with Django 6.1
	@test -n "$(PYTHON313)" || { echo "SKIPPED: no Python 3.13 on PATH or in ~/.pyenv"; exit 1; }
	@$(PYTHON313) .ci/environment.py --quiet --venv .venv313 --with "django~=6.1.0" test
	@.venv313/bin/python -X dev -m pytest $(SPREAD) -m "not heavy and not once" \
		--ignore tests/demo --ignore tests/docs $(ARGS)

test-fastapi-0115: python ## Run the FastAPI suites on FastAPI 0.115
	@$(PYTHON) .ci/environment.py --quiet --venv .venv-fastapi-0115 --with "fastapi~=0.115.0" test
	@.venv-fastapi-0115/bin/python -X dev -m pytest tests/fastapi_app tests/parity $(ARGS)

lint: python ## ruff, mypy, import-linter
	@$(PYTHON) .ci/environment.py --quiet test lint
	@failed=0; for check in "ruff check ." "ruff format --check ." mypy lint-imports; do \
		echo "$$check"; $(BIN)/$$check || failed=1; done; exit $$failed

format: ## Format the code and sort its imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

messages: python ## Renew the catalogues in shield_django/locale; needs gettext
	cd shield_django && ../$(BIN)/django-admin makemessages --all --no-location --no-obsolete
	cd shield_django && ../$(BIN)/django-admin compilemessages

services: ## Find PostgreSQL, Redis and Chromium; install them where we are root
	@.ci/services

clean: ## Remove environments, the demo's data and caches
	rm -rf .venv .venv313 .venv-fastapi-0115 .demo .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis

python313:
	@echo "$(PYTHON313)"

python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found on PATH."; exit 1; }
