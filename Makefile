# What people and CI share. `make help` lists the verbs.
.DEFAULT_GOAL := help
.PHONY: help install lock demo test lint bench crds kind images screenshots described soak clean

PYTHON := .venv/bin/python
TIER ?= all

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: ## Put everything, and the captionfleet command, into .venv
	@scripts/install

demo: install ## Start everything on this machine with a few toy models
	@$(PYTHON) -m captionfleet_cli up examples/shapes --demo

test: install ## Run every check and test; one tier by TIER=unit, services, control-plane or node
	@scripts/test $(TIER)

lint: install ## Check format, style, types and who imports whom
	@scripts/lint

bench: install ## Run the benchmarks; each prints one JSON line
	@scripts/bench

soak: install ## Send 20,000 pictures through a fleet; memory must stay as it is
	@$(PYTHON) -m benchmarks.soak

crds: install ## Write crds/*.yaml, their copies in charts/ and the pages of docs/ from the types
	@$(PYTHON) -m captionfleet.resources.crd crds && $(PYTHON) scripts/reference.py docs
	@$(PYTHON) scripts/charts.py charts

kind: ## Install everything into a Kubernetes in Docker on this machine; ended by scripts/kind down
	@scripts/kind

images: ## Build the images of worker and server with docker, podman or buildah
	@scripts/images

screenshots: install ## Take the pictures of the console that the README shows
	@$(PYTHON) scripts/screenshots.py

described: install ## Write docs/troubleshooting.md with what kubectl prints on a real node
	@scripts/install --cluster
	@CAPTIONFLEET_DESCRIBED=docs/troubleshooting.md $(PYTHON) -m pytest -q tests/node/test_troubles.py

lock: install ## Resolve the newest versions that work together into locks/*.txt
	@scripts/lock

clean: ## Remove what install and demo made
	rm -rf .venv examples/*/.captionfleet .mypy_cache .ruff_cache .pytest_cache .hypothesis
