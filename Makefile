# Everything here does its own set-up: see scripts/setup.

.PHONY: setup demo test faults sabotages bench lint ci

# PG=18 fetches that version.
SERVER = $(if $(PG),DBSEMAPHORE_TEST_POSTGRES=$$(scripts/fetch-postgres $(PG)))

# The main job, live. ARGS="--help" tells what can be changed.
demo: setup
	@cargo run --quiet --example demo -- $(ARGS)

# The whole suite, on a private server that ends with it, or on that of DBSEMAPHORE_TEST_URL.
test: setup
	@scripts/setup pgbouncer iproute2
	$(SERVER) cargo run --quiet --package stand -- cargo test --workspace $(ARGS)

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

# Prints the figures that README.md quotes.
bench: setup
	cargo bench --bench scale
	cargo bench --bench line
	cargo bench --bench hand_off

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# All that a change has to pass.
ci: lint test
	cargo run --quiet --example demo -- --seconds 6 src migrations tests
	cargo run --quiet --package faults -- 30

setup:
	@scripts/setup
