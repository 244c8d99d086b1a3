# `make demo` shows a forecast, `make studies` remakes every study, `make test` checks everything.
# Each makes its own virtual environment; PYTHON and VENV may be given.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

RECORDS := studies/jets/records
DEMO := demo

.PHONY: demo studies test lint types format docs clean

# The base package only: no torch, no event generator.
$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade "pip>=25.1"
	$(PIP_INSTALL) -c constraints.txt -e .
	touch $@

$(VENV)/.all: $(VENV)/.base
	$(PIP_INSTALL) -c constraints.txt -e ".[simulation,importers,cluster]" --group dev --group docs
	touch $@

# Fit the committed runs without the dearest tenth, forecast that tenth, then a new budget: what it
# is worth, the cheapest plan for a target, the runs to train next, and all of it in one page.
# Runs above 1.9 nat have hardly left guessing (ln 10 = 2.30), where no power law holds.
demo: $(VENV)/.base
	$(BIN)/isoflop fit $(RECORDS) -o $(DEMO)/posterior.nc --hold-out 0.1 --loss-below 1.9 \
		--figure $(DEMO)/held_out.png
	$(BIN)/isoflop forecast $(DEMO)/posterior.nc --budget 1e15 --group full-128 \
		--scenario scenarios/hh4b.toml --figure $(DEMO)/forecast.png \
		--rejection-figure $(DEMO)/rejection.png \
		--signal Hbb --signal Hcc --signal Hqql --signal Tbl
	$(BIN)/isoflop plan $(DEMO)/posterior.nc --budget "10 USD" --target "rejection:Hbb 1000" \
		--group full-128 --max-passes 16 --scenario scenarios/hh4b.toml \
		--costs costs/cpu.toml --figure $(DEMO)/plan.png
	$(BIN)/isoflop design $(DEMO)/posterior.nc --budget 1e15 --spend 1e13 --runs 3 --group full-128
	$(BIN)/isoflop report $(DEMO)/posterior.nc -o $(DEMO)/report.html \
		--scenario scenarios/hh4b.toml --costs costs/cpu.toml

# Every study's figures and numbers from the committed records and public laws, one fit for all of
# them. The jets, the runs, the refits of simulated tables and the fits of the
# known floors are not remade.
studies: $(VENV)/.all
	$(BIN)/snakemake -s studies/Snakefile --cores 2 --forceall --quiet
	$(BIN)/python -m studies.known_floor.draw
	$(BIN)/python studies/schedules/schedules.py
	$(BIN)/python studies/jets/rates.py
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/snakemake -s studies/budget/Snakefile --cores 2 --forceall --quiet
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/snakemake -s studies/ladder/Snakefile --cores 2 --forceall --quiet

test: $(VENV)/.all
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.all
	$(BIN)/mypy

format: $(VENV)/.all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site in build/site; a warning is an error.
docs: $(VENV)/.all
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(DEMO) dist build
