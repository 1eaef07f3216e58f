# Everything a person types. `make run` and `make test` do all of their own set-up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE  ?= $(or $(CARREL_CACHE),$(HOME)/.cache/carrel)
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)
PREFIX ?= $(or $(CARREL_PREFIX),$(if $(AS_ROOT),/opt/carrel,$(HOME)/.local/lib/carrel))
STATE  ?= $(or $(CARREL_STATE),$(if $(AS_ROOT),/var/lib/carrel,$(HOME)/.local/share/carrel))

# Two build scopes, two target folders (docs/architecture.md, "Building"). Never --workspace.
BASE   := CARGO_TARGET_DIR=$(CACHE)/target cargo
ENGINE := CARGO_TARGET_DIR=$(CACHE)/target-engine cargo

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: install ## set up everything, then serve JupyterLab with demo data on http://127.0.0.1:8000
	@deploy/setup/run "$(PREFIX)" "$(STATE)"

test: ## set up everything, then every test (WITHOUT=hdfs leaves out what needs Maven and a cluster, vm what needs qemu, hdfs,vm both)
	@CACHE="$(CACHE)" deploy/setup/system test
	@CACHE="$(CACHE)" CARREL_TEST_WITHOUT="$(WITHOUT)" tests/run

test-vm: build ## more of the tests in the virtual machine (version 2 groups, project quotas): jails, bounds, attacks; an hour in software
	@CACHE="$(CACHE)" deploy/setup/system test
	@CACHE="$(CACHE)" CARREL_TEST_VM=long only=vm tests/run

check: ## format, lints, dependency scopes
	cargo fmt --check
	$(BASE) clippy --all-targets -- -D warnings
	$(ENGINE) clippy -p kernel-query -p kernel-engine --all-targets -- -D warnings
	@! $(BASE) tree -e normal --prefix none | grep -E '^(datafusion|polars)' || { echo 'DataFusion or polars entered the default scope'; exit 1; }

bench: ## figures beside JupyterHub, in one run (docs/performance.md)
	@CACHE="$(CACHE)" deploy/setup/system bench
	@CACHE="$(CACHE)" tests/bench/run

bench-sql: ## the engine beside DataFusion, DuckDB and polars: TPC-H, SUMMARIZE, start, completion
	@deploy/setup/system build
	@CACHE="$(CACHE)" tests/bench/run-sql

bench-hdfs: ## the engine over the broker beside Hadoop's own client, on one kerberised HDFS
	@deploy/setup/system build
	@deploy/setup/system hdfs
	@CACHE="$(CACHE)" tests/bench/run-hdfs

build: ## both scopes, in the profile that tests and a first run use
	@deploy/setup/system build
	$(BASE) build
	$(ENGINE) build -p kernel-engine

install: build ## programs, JupyterLab's static files and kernels into PREFIX
	@CACHE="$(CACHE)" deploy/setup/install "$(PREFIX)" debug

hdfs: ## a kerberised HDFS on loopback, with the demo data if there are any, until Ctrl-C (deploy/dev/hdfs)
	@deploy/setup/system hdfs
	@CACHE="$(CACHE)" deploy/dev/hdfs/cluster.py run "$(CACHE)/hdfs" $(addprefix --datasets ,$(wildcard $(STATE)/datasets))

clean: ## the build output in the cache folder
	rm -rf "$(CACHE)/target" "$(CACHE)/target-engine"

.PHONY: help run test test-vm check bench bench-sql bench-hdfs build install hdfs clean
