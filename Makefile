# `make help` lists the targets. Real parts for the tests come from
# scripts/parts.sh and go below .parts/.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash

export PATH := $(CURDIR)/.parts/bin:$(PATH)
# Go wants a home for its caches; a container may have none.
export HOME := $(or $(HOME),$(CURDIR)/.parts/home)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TESTFLAGS ?=

.PHONY: help build parts demo demo-check test chaos vet fmt fmt-check lint check bench clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

build: ## Build the static binary bin/countersign
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/countersign ./cmd/countersign

parts: ## Install what the tests and the demo run against
	scripts/parts.sh

demo: build ## Run the demo: Envoy, a provider, an app, all on this machine
	scripts/parts.sh envoy
	bin/countersign demo

demo-check: build ## Start the demo, sign in through it, stop
	scripts/parts.sh envoy
	bin/countersign demo --check

test: parts vet ## Run every test with the race detector (TESTFLAGS='-run …')
	CGO_ENABLED=1 go test -race $(TESTFLAGS) $$(go list ./... | grep -v /session)
	@mkdir -p .parts/log; echo "go test -race ./session/..."; \
	CGO_ENABLED=1 go test -race -v $(TESTFLAGS) ./session/... >.parts/log/sessions.log 2>&1 || { cat .parts/log/sessions.log; exit 1; }; \
	sed -n 's/.*\(conformance: .*\)/\1/p; /^ok/p' .parts/log/sessions.log

# What the tests say goes on as it comes, without the names of those that pass; the
# table is kept for the end. The exit status is that of the tests.
chaos: parts ## Run the bad days: a table of fault, expected, seen
	@set -o pipefail; COUNTERSIGN_CHAOS=1 CGO_ENABLED=1 go test -race -count=1 -v -run 'TestBadDays|TestFailover|TestRevo' ./e2e 2>&1 | \
	awk '/^\|/ { table = table $$0 "\n"; next } /^=== / || /^ +--- PASS/ || NF == 0 { next } { print; fflush() } END { printf "\n%s", table }'

vet:
	go vet ./...

fmt: ## Format the Go code
	scripts/parts.sh lint
	golangci-lint fmt ./...

fmt-check:
	@unformatted=$$(find . -name '*.go' -not -path './.parts/*' -not -path '*/node_modules/*' -print0 | xargs -0 -r gofmt -l) || exit; \
	if [ -n "$$unformatted" ]; then printf 'not formatted, run make fmt:\n%s\n' "$$unformatted" >&2; exit 1; fi

lint: ## Run golangci-lint (the first time builds it, for some minutes)
	scripts/parts.sh lint
	golangci-lint run ./...

check: fmt-check build lint test demo-check ## All that CI runs

bench: ## Measure what a check costs
	go run ./bench

clean: ## Remove what was built and fetched
	@chmod -fR u+w .parts || true # Go keeps its module cache read-only
	rm -rf bin .parts e2e/providers/*/node_modules
