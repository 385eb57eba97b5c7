# Everything a developer does here; `make` alone lists it. Each target installs what it needs first.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

BIN := .venv/bin
BUILT := .aws-sam/build
# A part of the suite, or more words: make test TESTS="tests/flows -k link"
TESTS ?=

# ---- environments: installed again only when their pins change ----------------------------------------------

# Compiled when first imported: compiling a whole environment up front takes half a minute.
INSTALL := -m pip install --no-input --disable-pip-version-check --progress-bar off --no-deps --no-compile --no-compile

# An environment that works is brought up to date where it is; one that does not is made anew.
define environment
@echo "==> $(1): installing $(2) (once; takes a minute or two)"
@$(1)/bin/python -m pip --version >/dev/null 2>&1 || \
	{ python="$$(local/find_python.sh)" && rm -rf $(1) && "$$python" -m venv $(1); }
@$(1)/bin/python $(INSTALL) --require-hashes $(patsubst %,-r %,$^)
@$(1)/bin/python -m pip check
endef

# On all cores, where pip takes one. What does not compile is a package's own template or its old tests.
define compiled
@echo "==> $(1): compiling"
@$(1)/bin/python -m compileall -qq -j 0 $(1)/lib || true
endef

.venv/.pins: layers/linking/requirements.txt requirements/dev.txt
	$(call environment,.venv,what the project runs and is tested with)
	$(call compiled,.venv)
	@touch $@

# The project itself, editable, so that nothing needs path tricks. setuptools is among the pins: no registry is asked.
.venv/.ready: .venv/.pins pyproject.toml
	@$(BIN)/python $(INSTALL) --quiet --no-build-isolation --editable .
	@touch $@

.venv-aws/.ready: requirements/aws.txt
	$(call environment,.venv-aws,MiniStack - the AWS services of the local world)
	$(call compiled,.venv-aws)
	@touch $@

.venv-sam/.ready: requirements/sam.txt
	$(call environment,.venv-sam,the SAM command line)
	@touch $@

.venv-bench/.ready: layers/linking/requirements.txt requirements/bench.txt
	$(call environment,.venv-bench,what is measured: the runtime, and what it is compared with)
	$(call compiled,.venv-bench)
	@touch $@

.venv-lint/.ready: requirements/lint.txt
	$(call environment,.venv-lint,linters that do not fit beside the rest)
	@touch $@

.venv-sbom/.ready: requirements/sbom.txt
	$(call environment,.venv-sbom,what writes the bill of materials)
	@touch $@

.PHONY: install
install: .venv/.ready .venv-aws/.ready .venv-sam/.ready ## Install all that the other targets need

# ---- working ------------------------------------------------------------------------------------------------

# `exec`: the world takes the shell's place, so that the SIGTERM that make passes on to its child reaches it.
.PHONY: run
run: .venv/.ready .venv-aws/.ready ## Start the local world: API, functions, AWS services, a TikTok, a sample product
	@exec $(BIN)/python -m local.world

.PHONY: test
test: test-ready ## Run the whole test suite (a part: make test TESTS="tests/flows -k link")
	@$(BIN)/python -m pytest $(TESTS)

# A build that fails does not stop the rest of the suite: the package tests report it.
.PHONY: test-ready
test-ready: install
	@local/provide_chromium.sh $(BIN)/python
	@$(MAKE) --no-print-directory sbom || echo "==> the build failed: the tests of the package will fail and say so"

.PHONY: picture
picture: .venv/.ready .venv-aws/.ready ## Take the README's picture from a running world
	@local/provide_chromium.sh $(BIN)/python
	@$(BIN)/python -m tests.browser.picture

.PHONY: test-iam
test-iam: .venv/.ready .venv-aws/.ready ## Take each power from each function's role: what needs it must be denied (two minutes)
	@$(BIN)/python -m pytest tests/template/test_powers.py tests/template/test_needed_powers.py tests/iam -m "iam or not iam"

.PHONY: faults
faults: .venv/.ready .venv-aws/.ready ## Inject every fault at every call and write docs/faults.md (a look: FAULTS="--every 11"; go on after a stop: FAULTS=--go-on)
	@$(BIN)/python -m tests.faults.sweep --write $(FAULTS)

.PHONY: check
check: .venv/.ready .venv-sam/.ready .venv-lint/.ready ## Format, lint, types, import contracts, secrets, template (what CI checks before the tests)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint template.yaml
	@mkdir -p artifacts
	$(BIN)/python -m local.translation template.yaml > artifacts/template.translated.json
	$(BIN)/cfn-lint artifacts/template.translated.json
	$(BIN)/python -m tests.lint.findings .venv-lint/bin artifacts/template.translated.json
	$(SAM) validate --lint

.PHONY: format
format: .venv/.ready ## Put the code into its format and repair what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# ---- building -----------------------------------------------------------------------------------------------

# Building and validating need no account, yet sam looks for one: made-up credentials and an STS that refuses at
# once spare seconds a start. .venv/bin comes first because sam build takes its python3.13 from PATH.
SAM := env SAM_CLI_TELEMETRY=0 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=us-east-1 \
	AWS_ENDPOINT_URL_STS=http://127.0.0.1:9 AWS_MAX_ATTEMPTS=1 AWS_EC2_METADATA_DISABLED=true \
	PATH="$(CURDIR)/$(BIN):$$PATH" .venv-sam/bin/sam

# This machine's by default, so that the tests can import what was built. The built template allows no other.
ARCHITECTURE ?= $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)

# The files of the layer's packages, for this machine and for the one that it is built for, each held against its
# hash. sam build takes them from here: on its own it asks for another processor's files by version alone.
WHEELS := $(CURDIR)/.aws-sam/wheels
LINUX := manylinux2014 manylinux_2_17 manylinux_2_28 manylinux_2_34
MACHINE = $(if $(filter arm64,$(ARCHITECTURE)),aarch64,x86_64)
DOWNLOAD := $(BIN)/python -m pip download --no-input --disable-pip-version-check --progress-bar off --quiet \
	--no-deps --only-binary :all: --require-hashes --requirement layers/linking/requirements.txt --dest $(WHEELS)

SAM_BUILD = PIP_NO_INDEX=1 PIP_FIND_LINKS=$(WHEELS) $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE)

# With the folders, whose time tells that a file went.
SOURCES := template.yaml samconfig.toml layers/linking/requirements.txt local/building.py local/descriptions.py \
	$(shell find layers/linking/tiktok_linking functions ! -path '*/__pycache__*')

.PHONY: build
build: .aws-sam/built-$(ARCHITECTURE) ## Build functions and layer, with bytecode (to deploy: make build ARCHITECTURE=arm64)

.aws-sam/built-$(ARCHITECTURE): .venv/.ready .venv-sam/.ready $(SOURCES)
	@rm -f .aws-sam/built-*
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' || \
		{ local/find_python.sh --exact >/dev/null && echo "Python 3.13 is here, but .venv was made with another one: make distclean, then again." >&2; exit 1; }
	@rm -rf $(WHEELS)
	$(DOWNLOAD)
	$(DOWNLOAD) $(LINUX:%=--platform %_$(MACHINE))
	$(SAM_BUILD)
	$(BIN)/python -m local.building finish $(BUILT) --architecture $(ARCHITECTURE)
	$(BIN)/python -m local.building check $(BUILT)
	@touch $@

# Of the layer as it was built, so of what is deployed. With -S the interpreter has the layer on its path and
# nothing else; the tool checks what it wrote against the specification, and the same layer gives the same bytes.
SBOM := artifacts/sbom.cdx.json

.PHONY: sbom
sbom: $(SBOM) ## Write the CycloneDX bill of materials of what is deployed to artifacts/

$(SBOM): .aws-sam/built-$(ARCHITECTURE) .venv-sbom/.ready pyproject.toml
	@mkdir -p $(@D)
	@PYTHONPATH=$(BUILT)/LinkingLayer/python .venv-sbom/bin/python -I -m cyclonedx_py environment -S \
		--pyproject pyproject.toml --mc-type application --spec-version 1.7 --output-reproducible \
		--output-file $@ $(BIN)/python
	@echo "==> $@"

.PHONY: sam-local
sam-local: .venv/.ready ## Serve the API by `sam local start-api`, in Docker (STACK=<name>: with a stack's resources)
	@$(BIN)/python -m local.sam_local check
	@$(MAKE) --no-print-directory build
	@exec $(BIN)/python -m local.sam_local start

# What `sam build` ships without our last step, to be measured beside it.
.aws-sam/plain/template.yaml: .aws-sam/built-$(ARCHITECTURE)
	@rm -rf $(@D)
	$(SAM_BUILD) --build-dir $(@D)
	@touch $@

# With options: make bench BENCH="--rounds 1" (a look, printed and not written)
.PHONY: bench
bench: build .aws-sam/plain/template.yaml .venv-bench/.ready ## Measure cold starts, links, tokens, renewals beside usual ways and write docs/performance.md (ten minutes)
	@$(BIN)/python -m benchmarks.speed $(BUILT) .aws-sam/plain $(BENCH)

# With options: make bench-renewal BENCH="--rounds 3 --due 1000"
.PHONY: bench-renewal
bench-renewal: .venv/.ready .venv-bench/.ready ## Measure what renewing costs, beside two baselines (some minutes)
	@$(BIN)/python -m benchmarks.renewal $(BENCH)

.PHONY: cost
cost: .venv/.ready ## Count what each operation asks of AWS and write what a month costs to docs/performance.md
	@$(BIN)/python -m benchmarks.cost

.PHONY: pins
pins: ## Compile pyproject.toml and requirements/*.in to exact versions and hashes again
	@local/compile_pins.sh

# ---- the rest -----------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove what building and testing left behind (the environments stay)
	rm -rf .aws-sam .local artifacts .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the environments too
	rm -rf .venv .venv-aws .venv-bench .venv-lint .venv-pins .venv-sam .venv-sbom layers/linking/*.egg-info

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
