# The entry to everything. Each target works from a fresh clone: it installs what it needs first.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Node >= 22.19 comes from the dev dependencies (node-linux-*) where the machine has none: npm puts it on the PATH.
MODULES := node_modules/.package-lock.json

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

$(MODULES): package.json package-lock.json .npmrc
	@npm ci --no-progress --loglevel=error
	@touch $@

.PHONY: build
build: $(MODULES) ## dist/dcred.js, one bundled file for Node >= 22.19, with its source map
	@npm run --silent build

.PHONY: image
image: $(MODULES) ## dist/image.tar, a docker-archive with the chart's default name, and its variant for PKCS#11; needs no registry
	@npm run --silent build
	@npm run --silent image

.PHONY: release
release: $(MODULES) ## dist/release: image, chart, SBOM, one-file CLI, krew manifest, notes, checksums; publishes nothing
	@npm run --silent build
	@npm run --silent image
	@npm run --silent release

.PHONY: test
test: $(MODULES) ## every test that this machine can run; lists the ones it cannot, and why
	@npm run --silent test

.PHONY: test-busy
test-busy: $(MODULES) ## the whole suite ten times beside busy loops (RUNS=10 LOOPS=4); says what failed
	@npm run --silent test-busy

.PHONY: faults
faults: $(MODULES) ## every fault of the fault suite, exhaustively; make test runs a fixed part
	@npm run --silent faults

.PHONY: fuzz
fuzz: $(MODULES) ## a million generated inputs for each codec; make test runs a few
	@npm run --silent fuzz

.PHONY: e2e
e2e: $(MODULES) ## the tests on a real node (kubelet, containerd, browser); needs root on Linux
	@npm run --silent e2e

.PHONY: lint
lint: $(MODULES) ## format, lint, types, unused code
	@npm run --silent lint

.PHONY: format
format: $(MODULES) ## rewrite the sources in the project's format
	@npm run --silent format

.PHONY: run
run: $(MODULES) ## the operator from sources, against the current kubeconfig; flags in ARGS="-n web"
	@npm run --silent run -- $(ARGS)

.PHONY: demo
demo: $(MODULES) ## all that dcred does, in a minute, on a real control plane; leaves nothing behind
	@npm run --silent build
	@npm run --silent demo

.PHONY: coverage
coverage: $(MODULES) ## every test, and the lines of src/ that they reach
	@npm run --silent coverage

.PHONY: bench
bench: $(MODULES) ## issuing against a bare loop and a Go reference, memory, latency, admission: ratios within one run
	@npm run --silent build
	@npm run --silent bench

.PHONY: site
site: $(MODULES) ## the documentation as a site in dist/site, searchable without a server
	@npm run --silent site

.PHONY: generate
generate: $(MODULES) ## the generated files that are committed: the CRDs, the chart's README
	@npm run --silent generate
