# quorate: make demo runs the main job, make test proves it.
SHELL := /bin/bash
export CGO_ENABLED = 0
GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LINT      := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
LDFLAGS   := -s -w -X quorate/internal/buildinfo.Version=$(VERSION)
# What the tests talk to: real peers, a real second kernel, real tools. A missing one is
# installed; where that is not allowed the tests that need it are skipped by name.
PEERS     := keepalived frr ipvsadm tshark tcpdump user-mode-linux kmod mount util-linux iproute2 iputils-ping arping
TIMEOUT   ?= 40m

.PHONY: all build demo test bench soak lint peers clean
all: build

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

# The main job: three directors from one file, a client, a kill, a report.
demo: build
	@scripts/peers user-mode-linux kmod mount iproute2 || true
	bin/clusterctl demo

test: build
	@scripts/peers $(PEERS)
	$(GO) vet ./...
	scripts/test $(TIMEOUT)

bench: build
	bench/run

# Long searches that CI does not wait for; SOAK is their length.
SOAK ?= 1h
soak: build
	scripts/soak $(SOAK)

lint:
	$(GO) run $(LINT) run ./...

peers:
	@scripts/peers $(PEERS)

clean:
	rm -rf bin build
