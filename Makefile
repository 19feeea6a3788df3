# async-inspect. `make run` shows it, `make test` tests it, `make help` lists the rest.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export GOWORK := off

TOOLS     := $(CURDIR)/internal/tools/go.mod
TOOL      := go tool -modfile=$(TOOLS)
BIN       := $(CURDIR)/bin
COLLECTOR := $(CURDIR)/distribution/build/otelcol-asyncinspect
DEMO      := $(BIN)/demo

# Every module but the tools and the generated distribution.
MODULES := . sdk demo e2e bench

# What the distribution is built from.
SOURCES := $(shell find . -path ./distribution/build -prune -o -path ./.git -prune -o \
	\( -name '*.go' -o -name 'go.mod' -o -name '*.s' -o -path './distribution/config/*.yaml' \) \
	-not -name '*_test.go' -not -path './demo/*' -not -path './e2e/*' -not -path './bench/*' -print)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.PHONY: run
run: build ## build, then start the distribution with its default configuration and the demo
	@COLLECTOR=$(COLLECTOR) DEMO=$(DEMO) distribution/run.sh

.PHONY: build
build: $(COLLECTOR) $(DEMO) ## build the distribution and the demo

$(COLLECTOR): builder-config.yaml $(SOURCES)
	@mkdir -p distribution/build
	CGO_ENABLED=0 $(TOOL) builder --config builder-config.yaml
	@touch $@

$(DEMO): $(shell find demo sdk -name '*.go' -not -name '*_test.go') demo/go.mod sdk/go.mod
	@mkdir -p $(BIN)
	go -C demo build -o $@ .

.PHONY: test
test: build ## all tests of all modules with the race detector, and the end-to-end tests
	go test -race ./...
	go -C sdk test -race ./...
	go -C sdk test -tags noinspect ./...
	go -C demo test -race ./...
	go -C bench vet ./...
	ASYNCINSPECT_COLLECTOR=$(COLLECTOR) ASYNCINSPECT_DEMO=$(DEMO) go -C e2e test -count=1 ./...
	@echo "all tests passed"

.PHONY: generate
generate: ## generate telemetry, documentation and lifecycle tests of the components
	go generate ./...
	@$(MAKE) --no-print-directory fmt

.PHONY: fmt
fmt: ## format all code
	$(TOOL) gofumpt -w $(MODULES)

.PHONY: lint
lint: ## vet, staticcheck and gofumpt, for all modules
	@unformatted=$$($(TOOL) gofumpt -l $(MODULES) | grep -v '^distribution/build/' || true); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	@mkdir -p $(BIN)
	go build -modfile=$(TOOLS) -o $(BIN)/staticcheck honnef.co/go/tools/cmd/staticcheck
	for m in $(MODULES); do (cd $$m && go vet ./... && $(BIN)/staticcheck ./...); done
	cd sdk && go vet -tags noinspect ./... && $(BIN)/staticcheck -tags noinspect ./...
	cd sdk && GOARCH=arm64 go vet ./... && GOOS=windows go vet ./... && GOARCH=386 go vet ./...

BENCH ?= .
.PHONY: bench
bench: ## benchmarks beside our peers, in one process each (BENCH=regexp)
	go -C bench test -run '^$$' -bench '$(BENCH)' -benchmem ./...
	go -C sdk test -run '^$$' -bench '$(BENCH)' -benchmem ./...

FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	@for m in . sdk; do \
	  grep -rlE '^func Fuzz' --include='*_test.go' $$m | { [ $$m = . ] && grep -v '^./sdk/' || cat; } | while read -r f; do \
	    dir=$$(dirname "$$f"); \
	    sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$$f" | while read -r target; do \
	      echo "$$dir $$target"; \
	      (cd "$$dir" && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) . </dev/null); \
	    done; \
	  done; \
	done

.PHONY: tidy
tidy: ## tidy the modules (not the tools, whose test dependencies are not all published)
	for m in $(MODULES); do go -C $$m mod tidy; done

.PHONY: clean
clean: ## remove what was built
	rm -rf distribution/build $(BIN)
