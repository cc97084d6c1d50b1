# SNYPER. `make` alone lists what there is.

PYTHON  ?= python3
ENGINE  ?= cpython
LISTEN  ?=
TARGETS ?= 4
HUB     ?=
PORT    ?=
ROLE    ?=
ID      ?=
ARGS    ?=
# Most tests wait for boards and timers: six at a time keep two processors busy.
JOBS    ?= 6

VENV  := .venv
BIN   := $(VENV)/bin
STUBS := $(VENV)/micropython-stubs
READY := $(VENV)/.ready
PIP   := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input

# What measures brings the keys that it needs: those of whoever runs it stay out.
pictures memory skew bench chaos faults faults-full cuts: export SNYPER_KEY =

.DEFAULT_GOAL := help
.PHONY: help setup demo play hub simulate watch deploy skew bench docs pictures memory chaos faults faults-full long cuts test package check format clean

help: ## List the targets
	@echo "usage: make TARGET [NAME=value ...]"
	@echo
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Create .venv with everything the project needs
	@echo "setup: ready ($(BIN)/snyper)"

demo: $(READY) ## Run the whole system on this machine for a look
	@$(BIN)/snyper demo

play: $(READY) ## Open a range to click through: hub, simulated targets, dashboard
	@$(BIN)/snyper play $(ARGS)

hub: $(READY) ## Run a hub (ENGINE=cpython LISTEN=host:port)
	@$(BIN)/snyper hub --engine $(ENGINE) $(if $(LISTEN),--listen $(LISTEN)) $(ARGS)

simulate: $(READY) ## Run simulated targets (TARGETS=4 HUB=host:port)
	@$(BIN)/snyper simulate --targets $(TARGETS) $(if $(HUB),--hub $(HUB))

watch: $(READY) ## Watch a running hub (HUB=host:port)
	@$(BIN)/snyper watch $(if $(HUB),--hub $(HUB))

deploy: $(READY) ## Put the firmware on a board (PORT=/dev/ttyACM0 ROLE=target ID=target_1)
	@$(BIN)/snyper deploy $(if $(PORT),--port $(PORT)) $(if $(ROLE),--role $(ROLE)) $(if $(ID),--id $(ID)) $(if $(HUB),--hub $(HUB)) $(ARGS)

docs: $(READY) ## Write the generated pages, pictures and package.json files again
	@$(BIN)/python -m tools.configuration_doc
	@$(BIN)/python -m tools.wiring
	@$(BIN)/python -m tools.mip_packages
	@$(BIN)/python -m tools.event_tables
	@$(BIN)/python -m tools.faults.page

pictures: $(READY) ## Take the pictures of the dashboard again (needs Chromium)
	@$(BIN)/python -m tools.pictures $(ARGS)

memory: $(READY) ## Show what fits a board's heap, and run an hour of board time
	@$(BIN)/python -m tools.memory $(ARGS)

skew: $(READY) ## Measure how well targets rise together (2.5 min)
	@$(BIN)/python -m tools.skew $(ARGS)

bench: $(READY) ## Measure the link (ARGS="--against ../before" compares; "--records 1000000": cameras)
	@$(BIN)/python -m tools.bench $(ARGS)

chaos: $(READY) ## Inject faults in 1,000 runs, or in 10,000 simulated ones (ARGS="--simulated --seed 7")
	@$(BIN)/python -m tools.chaos $(ARGS)

faults: $(READY) ## Attack a running system in every known way, with a figure each (ARGS="--case 5")
	@$(BIN)/python -m tools.faults $(ARGS)

faults-full: $(READY) ## The same with the full numbers: hours
	@$(BIN)/python -m tools.faults --full $(ARGS)

long: $(READY) ## Run in full what the tests have a part of: power cuts, 1 GiB (ARGS="-k array")
	@SNYPER_LONG=1 $(BIN)/python -m pytest -m long --numprocesses $(JOBS) $(ARGS)

cuts: $(READY) ## Cut the power at each command to the flash (ARGS="--depth 2")
	@$(BIN)/python -m tools.power_cuts $(ARGS)

test: $(READY) ## Run the tests but the slow ones, some side by side (JOBS=6 ARGS="-k link -x")
	@$(BIN)/python -m pytest -m "not slow" --numprocesses $(JOBS) $(ARGS)

slow: $(READY) ## Run the slow tests, which `make test` leaves out (ARGS="-k camera")
	@$(BIN)/python -m pytest -m slow --numprocesses $(JOBS) $(ARGS)

package: $(READY) ## Build the wheel, install it beside other packages, and try it there
	@$(BIN)/python -m pytest -o faulthandler_timeout=1800 tests/package $(ARGS)

check: $(READY) ## Check style and types (for CPython, then for the board)
	@status=0; \
	echo "check: ruff check";        $(BIN)/ruff check --quiet || status=1; \
	echo "check: ruff format";       $(BIN)/ruff format --check --quiet || status=1; \
	echo "check: mypy, for CPython"; $(BIN)/mypy || status=1; \
	echo "check: mypy, for the board"; $(BIN)/mypy --config-file mypy-board.ini || status=1; \
	exit $$status

format: $(READY) ## Put the code into the project's style
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

clean: ## Remove .venv and everything else that was generated
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so a setup that broke off is taken up again by the next run.
$(READY): pyproject.toml
	@rm -f $@
	@command -v $(PYTHON) >/dev/null || { \
	    echo "setup: no $(PYTHON) found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "setup: Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1);" \
	         "name another: make PYTHON=python3.12" >&2; exit 1; }
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    echo "setup: 1/3 creating $(VENV)"; \
	    rm -rf $(VENV); \
	    $(PYTHON) -m venv $(VENV) || { \
	        echo "setup: Python's venv is missing (on Debian: apt install python3-venv)" >&2; exit 1; }; \
	fi
	@echo "setup: 2/3 installing snyper and its tools"
	@$(PIP) install --editable '.[dev]'
	@echo "setup: 3/3 installing the board's type stubs"
	@rm -rf $(STUBS)
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["stubs"], sep="\n")' \
	    > $(VENV)/stubs.txt
	@$(PIP) install --target $(STUBS) --requirement $(VENV)/stubs.txt
	@touch $@
