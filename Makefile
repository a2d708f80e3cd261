# make demo and make test need only Python with pip, and make: each builds .venv when it is missing.
PYTHON ?= python3
VENV := .venv
CONSTRAINTS ?= constraints.txt
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet -c $(CONSTRAINTS)
SOURCES := pyproject.toml $(CONSTRAINTS)
# Threads that spin while they wait slow everything down where other processes share the cores.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help demo test soak kernels lint types benchmark install clean

help:
	@echo "make demo        score, retrain and compare pretrained modules, then train some"
	@echo "make test        run the tests"
	@echo "make soak        run the slow tests, which make test leaves out"
	@echo "make kernels     run the tests as other processors compute, and with 1, 2, 3 threads (an hour)"
	@echo "make lint types  check style and types"
	@echo "make benchmark   measure time and memory, write benchmarks.json"
	@echo "make install     install all that the tests can use (extras demo, hub, dev)"
	@echo "make clean       remove .venv"

demo: $(VENV)/.with-demo
	$(VENV)/bin/modtools demo

test: $(VENV)/.with-dev
	$(RUN) -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

soak: $(VENV)/.with-dev
	$(RUN) -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal -m slow

kernels: $(VENV)/.with-dev
	$(RUN) tests/kernels.py

lint: $(VENV)/.with-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/.with-dev
	$(RUN) -m mypy

benchmark: $(VENV)/.with-dev
	$(RUN) tests/benchmarks/run.py

install: $(VENV)/.with-torch
	$(INSTALL) -e ".[demo,hub,dev]"
	touch $(VENV)/.with-demo $(VENV)/.with-dev

clean:
	rm -rf $(VENV)

# A Python without ensurepip (Debian without python3-venv) makes an empty environment, which the pip
# outside then fills.
$(RUN):
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(RUN) install pip; }

$(VENV)/.with-torch: $(CONSTRAINTS) | $(RUN)
	$(INSTALL) torch
	touch $@

$(VENV)/.with-%: $(SOURCES) $(VENV)/.with-torch
	$(INSTALL) -e ".[$*]"
	touch $@
