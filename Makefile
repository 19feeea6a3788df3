# async-inspect. `make run` shows it, `make test` tests it, `make help` lists the rest.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Each module stands by itself, also inside somebody's workspace.
export GOWORK := off

ifeq ($(shell go env GOVERSION 2>/dev/null),)
$(error Go is not here, or not in the PATH; get 1.26 or later from https://go.dev/dl)
endif

# The tools are pinned in a module of their own, which is in nobody's graph. It
# cannot be tidied: not all test dependencies of mdatagen are published.
TOOLS     := $(CURDIR)/internal/tools/go.mod
TOOL      := go tool -modfile=$(TOOLS)
BIN       := $(CURDIR)/bin
BUILD     := distribution/build
COLLECTOR := $(CURDIR)/$(BUILD)/otelcol-asyncinspect
DEMO      := $(BIN)/demo

# Every module but the tools and the generated distribution.
MODULES := . sdk demo cmd/asyncinspect e2e bench distribution/k8s

# each runs the targets of a list, also after a failure, and says at the end
# which have failed.
define each
	@failed=; for target in $(1); do \
	  echo "== $$target"; \
	  $(MAKE) --no-print-directory $$target || failed="$$failed $$target"; \
	done; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed" >&2; exit 1; fi; \
	echo "ok: $(1)"
endef

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Build and run

.PHONY: run
run: build ## build, then start the distribution with its default configuration and the demo
	@COLLECTOR=$(COLLECTOR) DEMO=$(DEMO) distribution/run.sh

.PHONY: build
build: collector demo ## build the distribution and the demo

# ocb writes the program; go, which knows best what has changed, compiles it.
.PHONY: collector
collector: $(BUILD)/main.go
	@test -e $(COLLECTOR) || echo "compiling the distribution; the first time takes some minutes"
	@cd $(BUILD) && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o $(COLLECTOR) .

$(BUILD)/main.go: builder-config.yaml go.mod go.sum sdk/go.mod sdk/go.sum $(TOOLS)
	@mkdir -p $(BUILD)
	$(TOOL) builder --config builder-config.yaml --skip-compilation
	@touch $@

.PHONY: demo
demo:
	@mkdir -p $(BIN)
	@go -C demo build -o $(DEMO) .

.PHONY: cli
cli: ## build bin/asyncinspect, the terminal view and the check for CI
	@mkdir -p $(BIN)
	@go -C cmd/asyncinspect build -o $(BIN)/asyncinspect .

.PHONY: page
page: ## build the inspector's page anew, which is committed; needs npm
	cd extension/inspector/ui && npm ci --no-fund --no-audit && npm run build

## Test

TESTS := test-root test-sdk test-noinspect test-demo test-cli test-bench test-config test-rules test-goker test-e2e test-hostile test-jaeger test-k8s test-image test-release test-page

.PHONY: test $(TESTS)
test: compiler ## all tests of all modules with the race detector, and the end-to-end tests
	$(call each,$(TESTS))

test-root:
	@go test -race ./...
test-sdk:
	@go -C sdk test -race ./...
test-noinspect:
	@go -C sdk test -tags noinspect ./...
test-demo:
	@go -C demo test -race ./...
test-cli:
	@go -C cmd/asyncinspect test -race ./...
# Every benchmark runs once, so that none rots.
test-bench:
	@go -C bench test -bench . -benchtime 1x ./...
	@go -C sdk test -run '^$$' -bench . -benchtime 1x ./...
# Every configuration that is compiled in is one that the distribution takes.
test-config: collector
	@for file in distribution/config/*.yaml; do \
	  name=$$(basename $$file .yaml); echo "validate embedded:$$name"; \
	  $(COLLECTOR) validate --config=embedded:$$name || exit 1; \
	done
# Each alert has a case in which it fires, and one in which it stays silent.
test-rules: prometheus
	@command -v promtool >/dev/null || exit 0; cd distribution/prometheus && \
	  promtool check rules rules.yaml && promtool test rules rules_test.yaml
# Kernels of real bugs, which the toolchain brings along, found and shown.
test-goker:
	@go -C e2e test -count=1 -timeout 5m ./goker
test-e2e: build prometheus telemetrygen iproute2
	@ASYNCINSPECT_COLLECTOR=$(COLLECTOR) ASYNCINSPECT_DEMO=$(DEMO) ASYNCINSPECT_TELEMETRYGEN=$(TELEMETRYGEN) go -C e2e test -race -count=1 -timeout 15m -parallel 4 -skip '^TestHostileSenders$$' .
# One after the other but for the waiting: what is measured is the memory of each.
test-hostile: build
	@ASYNCINSPECT_COLLECTOR=$(COLLECTOR) go -C e2e test -count=1 -timeout 10m -parallel 4 -run '^TestHostileSenders$$' .

# A real Prometheus scrapes in the end-to-end tests, where it can be had.
.PHONY: prometheus
prometheus:
	@$(call debian,promtool,prometheus)
# A real Jaeger, of this version, and the distribution as docs/backends.md connects
# the two. The first build takes six minutes on two cores.
JAEGER_VERSION := v1.76.0
JAEGER         := $(BIN)/jaeger-$(JAEGER_VERSION)
test-jaeger: build jaeger
	@ASYNCINSPECT_COLLECTOR=$(COLLECTOR) ASYNCINSPECT_DEMO=$(DEMO) ASYNCINSPECT_JAEGER=$(JAEGER) go -C e2e test -race -count=1 -timeout 5m -run Jaeger .

# It is built inside its own module, by its own go.sum: its go.mod has a `replace`,
# which `go install` refuses.
.PHONY: jaeger
jaeger:
	@test -x $(JAEGER) || { \
	  echo "building Jaeger $(JAEGER_VERSION); this takes some minutes" && mkdir -p $(BIN) && \
	  module=$$(go mod download -json github.com/jaegertracing/jaeger@$(JAEGER_VERSION) | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$$/\1/p') && test -n "$$module" && \
	  CGO_ENABLED=0 nice go -C "$$module" build -trimpath -ldflags="-s -w" -o $(JAEGER) ./cmd/jaeger; \
	} || echo "Jaeger cannot be had here, and its test is skipped"

# The manifests are what Kubernetes takes, and fit each other and the distribution.
test-k8s: collector
	@ASYNCINSPECT_COLLECTOR=$(COLLECTOR) go -C distribution/k8s test -count=1 -timeout 5m ./...
test-image: buildah iproute2
	@go -C e2e test -count=1 -timeout 20m ./image

# Images are built and run without an engine; namespaces of the network stand for hosts.
.PHONY: buildah iproute2
buildah:
	@$(call debian,buildah,buildah ca-certificates)
iproute2:
	@$(call debian,ip,iproute2)
# $(call debian,program,packages) installs packages, unless the program is here or this is
# not Debian, or not root.
debian = command -v $(1) >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing $(2)" && \
	{ apt-get install -y --no-install-recommends $(2) || { apt-get update && apt-get install -y --no-install-recommends $(2); }; } \
	>/dev/null 2>&1; } || echo "$(1) is not here, and its tests are skipped"

test-release: build
	@go -C e2e test -count=1 -timeout 15m ./release
test-page: build
	@ASYNCINSPECT_COLLECTOR=$(COLLECTOR) ASYNCINSPECT_DEMO=$(DEMO) e2e/page/run.sh

# The race detector is the only thing here that needs one.
.PHONY: compiler
compiler:
	@cc=$$(go env CC); command -v "$${cc%% *}" >/dev/null || \
	  { echo "the race detector needs a C compiler, and $$cc is not there: install gcc or set CC" >&2; exit 1; }

BENCH     ?= .
BENCHTIME ?= 1s
COUNT     ?= 1
.PHONY: bench
bench: ## benchmarks beside our peers (BENCH=regexp BENCHTIME=1s COUNT=1)
	@for module in bench sdk .; do \
	  go -C $$module test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -count $(COUNT) -benchmem ./... || exit 1; \
	done

RATE    ?= 40000
SECONDS ?= 30
SAMPLERS := bench/process/build
.PHONY: bench-process
bench-process: ## whole collectors beside each other: CPU and memory (RATE=40000 spans/s, 0: as fast as it goes; SECONDS=30)
	$(TOOL) builder --config bench/process/builder-config.yaml --skip-compilation
	@cd $(SAMPLERS) && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o otelcol-samplers .
	@go -C bench run ./process -collector $(CURDIR)/$(SAMPLERS)/otelcol-samplers -rate $(RATE) -seconds $(SECONDS)

.PHONY: bench-agent
bench-agent: collector ## the agent of two tiers: CPU and memory, with other ways to do the same (RATE, SECONDS)
	@go -C bench run ./process -agent -collector $(COLLECTOR) -rate $(RATE) -seconds $(SECONDS)

LIVES ?= 10
.PHONY: bench-overhead
bench-overhead: ## what the SDK costs a service, by mode, for small requests and for larger ones (LIVES=10, each about five minutes)
	@go -C bench run ./overhead -lives $(LIVES) -words 10 -rate 500
	@go -C bench run ./overhead -lives $(LIVES) -words 1000 -rate 100
	@go -C bench run ./overhead -lives $(LIVES) -words 2500 -rate 40

FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## every fuzz target in turn (FUZZTIME=10s each)
	@failed=; \
	for file in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' $$file); do \
	    echo "== $$target in $$(dirname $$file)"; \
	    go -C $$(dirname $$file) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x . || failed="$$failed $$target"; \
	  done; \
	done; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed" >&2; exit 1; fi

.PHONY: soak
soak: build ## the long versions of the random tests: a million graphs, hours of a fleet, minutes of lookalikes and of the zoo, adjusted counts
	go test -timeout 2h ./internal/deadlock -graphs 1000000 -fleets 5000
	go test -timeout 1h ./processor/adaptivesampler -runs 10000
	go -C sdk test -race -timeout 1h -run TestTheWholeZooAtOnce ./inspect -zoo 10m
	go -C bench test -timeout 1h -run TestAMillionSpansASecond . -millions 60
	go -C e2e test -v -count=1 -timeout 1h ./goker -all
	ASYNCINSPECT_COLLECTOR=$(COLLECTOR) ASYNCINSPECT_DEMO=$(DEMO) go -C e2e test -count=1 -timeout 1h -run Lookalikes . -lookalikes 10m
	ASYNCINSPECT_COLLECTOR=$(COLLECTOR) go -C e2e test -v -count=1 -timeout 1h -parallel 2 -run '^TestHostileSenders$$' . -hostile 10

# Sends spans of stock OpenTelemetry, in tests and by hand: bin/telemetrygen traces --otlp-insecure
TELEMETRYGEN := $(BIN)/telemetrygen
.PHONY: telemetrygen
telemetrygen: ## build bin/telemetrygen, a plain OTLP client to try things with
	@mkdir -p $(BIN)
	@go -C internal/tools/telemetrygen build -o $(TELEMETRYGEN) github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen

.PHONY: release
release: zip ## build dist/: archives for all platforms, lists of modules (SBOM), checksums (VERSION=v0.1.0 PLATFORMS=linux/amd64)
	@VERSION=$(VERSION) distribution/release.sh

.PHONY: zip
zip:
	@$(call debian,zip,zip)

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
.PHONY: image
image: ## build the images otelcol-asyncinspect and async-inspect-demo (DOCKER=podman, VERSION=)
	$(DOCKER) build -f distribution/Dockerfile --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t otelcol-asyncinspect:dev .
	$(DOCKER) build -f distribution/Dockerfile --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t async-inspect-demo:dev --target demo .
DOCKER   ?= docker

## Code

.PHONY: generate
generate: ## generate the code and documentation of the components, and tidy the modules
	go generate ./...
	@for module in $(MODULES); do go -C $$module mod tidy || exit 1; done

.PHONY: fmt
fmt: ## format all code
	$(TOOL) gofumpt -w .

LINTS := lint-format lint-vet lint-platforms lint-staticcheck

.PHONY: lint $(LINTS)
lint: ## gofumpt, vet and staticcheck, for all modules
	$(call each,$(LINTS))

lint-format:
	@unformatted=$$($(TOOL) gofumpt -l . | grep -v -e '^$(BUILD)' -e '^$(SAMPLERS)/'); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
lint-vet:
	@status=0; \
	for module in $(MODULES); do go -C $$module vet ./... || status=1; done; \
	go -C sdk vet -tags noinspect ./... || status=1; \
	exit $$status
# The SDK goes into other people's programs, so it has to compile where they do.
lint-platforms:
	@status=0; \
	for platform in linux/arm64 linux/386 darwin/arm64 windows/amd64; do \
	  GOOS=$${platform%/*} GOARCH=$${platform#*/} go -C sdk vet ./... || { echo "on $$platform"; status=1; }; \
	done; \
	exit $$status
lint-staticcheck:
	@mkdir -p $(BIN)
	@go build -modfile=$(TOOLS) -o $(BIN)/staticcheck honnef.co/go/tools/cmd/staticcheck
	@status=0; \
	for module in $(MODULES); do (cd $$module && $(BIN)/staticcheck ./...) || status=1; done; \
	(cd sdk && $(BIN)/staticcheck -tags noinspect -checks inherit,-U1000 ./...) || status=1; \
	exit $$status

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BUILD) $(BUILD)-release $(BIN) dist
