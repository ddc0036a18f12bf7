# Everything here does its own set-up: see scripts/setup.

.PHONY: setup demo web test test-pooler test-hostile faults sabotages bench bench-peers bench-memory chart test-all package msrv minimal-versions checks api semver lint ci

# PG=18 fetches that version.
SERVER = $(if $(PG),DBSEMAPHORE_TEST_POSTGRES=$$(scripts/fetch-postgres $(PG)))

# The main job, live. ARGS="--help" tells what can be changed.
demo: setup
	@cargo run --quiet --example demo -- $(ARGS)

# A small web application, until Ctrl-C: open the address that it prints. LISTEN=127.0.0.1:0 takes any available port.
web: setup
	@cargo build --quiet --package web $(ARGS)
	@$(SERVER) cargo run --quiet --package stand -- \
		sh -c 'DATABASE_URL=$$DBSEMAPHORE_TEST_URL exec cargo run --quiet --package web $(ARGS)'

# The whole suite, on a private server that ends with it, or on that of DBSEMAPHORE_TEST_URL.
test: setup
	@scripts/setup pgbouncer iproute2
	@scripts/fetch-diesel >/dev/null
	$(SERVER) cargo run --quiet --package stand -- cargo test --workspace $(ARGS)

# The tool's suite, with the tool behind PgBouncer, in session and in transaction mode.
test-pooler: setup
	@scripts/setup pgbouncer
	for mode in session transaction; do \
		$(SERVER) DBSEMAPHORE_TEST_POOLER=$$mode cargo run --quiet --package stand -- \
			cargo test --package dbsemaphore $(ARGS) || exit 1; \
	done

# The same on a private server with settings that change how SQL is read and run: see tests/stand/src/hostile.rs.
test-hostile: setup
	@scripts/setup pgbouncer iproute2
	@scripts/fetch-diesel >/dev/null
	DBSEMAPHORE_TEST_SETTINGS=hostile $(SERVER) env -u DBSEMAPHORE_TEST_URL \
		cargo run --quiet --package stand -- cargo test --workspace $(ARGS)

# On each version of PostgreSQL that is supported, and on two with such settings; VERSIONS="14 hostile-18" for these. Then
# the tool behind PgBouncer.
test-all: setup
	@scripts/setup pgbouncer iproute2
	@scripts/test-all $(VERSIONS)
	@$(MAKE) test-pooler

# Everything goes wrong that can, and the program looks for an (n+1)-th holder and a leaked ticket. FAULTS=what for a list.
SECONDS ?= 60
SEED ?= 1
FAULTS ?= all
faults: setup
	@scripts/setup pgbouncer iproute2
	@$(SERVER) cargo run --quiet --package faults -- $(SECONDS) $(SEED) $(FAULTS) $(SABOTAGE)

# Breaks the library in each of six ways, and the program above has to find it.
sabotages: setup
	@scripts/setup pgbouncer iproute2
	@cargo build --quiet --package faults
	@$(SERVER) scripts/sabotages $(SEED)

# Prints the figures of docs/benchmarks.md, and writes them to target/bench.json. ARGS="--help" tells what can be changed.
bench: setup
	$(SERVER) cargo bench --bench speed -- acquire scale line hand-off cost $(ARGS)

# The same beside what people use instead, among it a package of Python's, which is fetched into target/peers.
bench-peers: setup
	@python3 -c 'import ensurepip' 2>/dev/null || scripts/setup python3-venv
	$(SERVER) cargo bench --bench speed -- peers --python "$$(scripts/fetch-peers)" $(ARGS)

# Takes minutes: a million of acquire and release.
bench-memory: setup
	$(SERVER) cargo bench --bench speed -- memory $(ARGS)

# benches/speed.svg, from the figures of the last runs.
chart:
	cargo bench --bench speed -- chart $(ARGS)

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	for features in "" postgres r2d2 postgres,serde; do \
		cargo clippy --no-default-features --features "$$features" -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	scripts/words
	@! scripts/tool --have typos || scripts/tool typos
	@! scripts/tool --have cargo-public-api || scripts/api --check

# Spelling, licences and advisories, the public API. Compiles the programs for it, once.
checks: setup
	scripts/tool typos
	scripts/deny
	scripts/api --check
	scripts/semver

# Writes the list of the public API.
api: setup
	@scripts/api

# What the next version has to be at least.
semver: setup
	@scripts/semver

# The oldest Rust, and the oldest versions of what we depend on.
msrv: setup
	@scripts/msrv

minimal-versions: setup
	@scripts/setup pgbouncer iproute2
	@scripts/minimal-versions

# The files that would be published, used as a stranger would.
package: setup
	@scripts/package

# All that a change has to pass. On the PostgreSQL that is installed, and on the newest; `make test-all` does the others.
ci: lint test
	scripts/test-all 18
	cargo run --quiet --example demo -- --seconds 6 src migrations tests
	cargo run --quiet --package faults -- 30

setup:
	@scripts/setup
