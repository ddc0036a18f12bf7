# Each target does its own set-up: see scripts/setup.

.PHONY: setup demo web test test-browser test-pooler test-hostile faults sabotages bench bench-serve soak bench-peers bench-network bench-memory bench-instructions chart test-all package msrv minimal-versions rules checks api semver lint ci

# PG=18, MYSQL=mysql or MYSQL=mariadb-11.8 fetch that server.
SERVER = $(if $(PG),DBSEMAPHORE_TEST_POSTGRES=$$(scripts/fetch-postgres $(PG))) \
	$(if $(MYSQL),DBSEMAPHORE_TEST_MYSQL=$$(scripts/fetch-mysql $(MYSQL)))

# Runs a command whose tests share servers, which start when the first test needs them.
STAND = cargo run --quiet --package stand $(if $(filter postgres,$(BACKEND)),,--features mysql) --

# Shows ten processes on three tickets, live, on PostgreSQL, or with BACKEND=mysql or BACKEND=sqlite. SQLite needs nothing
# installed. ARGS="--help" lists the options.
demo: BACKEND ?= postgres
demo:
	@$(if $(filter sqlite,$(BACKEND)),,scripts/setup $(filter mysql,$(BACKEND)))
	@$(SERVER) cargo run --quiet --package demo --no-default-features --features $(BACKEND) -- --backend $(BACKEND) $(ARGS)

# Runs a small web application until Ctrl-C: open the address that it prints. LISTEN=127.0.0.1:0 takes any available port.
web: setup
	@cargo build --quiet --package web $(ARGS)
	@$(SERVER) cargo run --quiet --package stand -- --url postgres DATABASE_URL \
		cargo run --quiet --package web $(ARGS)

# Runs all tests, on private servers that end with them, or on that of DBSEMAPHORE_TEST_URL. BACKEND=postgres, BACKEND=mysql
# and BACKEND=sqlite compile and test only one backend; MariaDB is a server of mysql.
TESTS = --workspace --all-features
ifeq ($(BACKEND),postgres)
TESTS = --workspace
else ifeq ($(BACKEND),mysql)
TESTS = --test it --no-default-features --features mysql,r2d2,stand/mysql
else ifeq ($(BACKEND),sqlite)
TESTS = --test it --no-default-features --features sqlite,r2d2
endif
test: setup
	@scripts/setup pgbouncer iproute2 $(if $(filter postgres,$(BACKEND)),,mysql)
	@scripts/fetch-diesel >/dev/null
	$(SERVER) $(STAND) cargo test $(TESTS) $(ARGS)
	$(if $(filter postgres,$(BACKEND)),,$(SERVER) scripts/test-tool $(or $(BACKEND),mysql sqlite) $(ARGS))

# Tests the page of `dbsemaphore serve` in Chromium, and writes pictures of it into target/screenshots.
test-browser: setup
	@command -v chromedriver >/dev/null || scripts/setup chromium chromium-driver
	cargo build --quiet --package dbsemaphore
	$(SERVER) cargo run --quiet --package stand -- cargo test --package page --test browser -- --test-threads 2 $(ARGS)

# Runs the tests of the tool, with the tool behind PgBouncer, in session and in transaction mode.
test-pooler: setup
	@scripts/setup pgbouncer
	for mode in session transaction; do \
		$(SERVER) DBSEMAPHORE_TEST_POOLER=$$mode cargo run --quiet --package stand -- \
			cargo test --package dbsemaphore $(ARGS) || exit 1; \
	done

# Runs all tests on a private server with settings that change how SQL is read and run: see tests/stand/src/postgres/hostile.rs.
test-hostile: setup
	@scripts/setup pgbouncer iproute2
	@scripts/fetch-diesel >/dev/null
	DBSEMAPHORE_TEST_SETTINGS=hostile $(SERVER) env -u DBSEMAPHORE_TEST_URL \
		cargo run --quiet --package stand -- cargo test --workspace $(ARGS)

# Runs all tests on each supported version of PostgreSQL, on two of them with such settings, on MariaDB and on MySQL;
# VERSIONS="14 hostile-18 mysql" for these only. Then runs test-pooler.
test-all: setup
	@scripts/setup pgbouncer iproute2 mysql
	@scripts/test-all $(VERSIONS)
	@$(MAKE) test-pooler

# Injects faults at random, and looks for a holder too many and a leaked ticket. FAULTS=what lists the faults. On PostgreSQL,
# or with BACKEND=mysql. BACKEND=sqlite runs the fuzz among the tests of SQLite, which needs nothing installed.
SECONDS ?= 60
SEED ?= 1
FAULTS ?= all
ifeq ($(BACKEND),sqlite)
faults:
	@DBSEMAPHORE_TEST_SECONDS=$(SECONDS) DBSEMAPHORE_TEST_SEED=$(SEED) cargo test --quiet --release --test it \
		--no-default-features --features sqlite,r2d2 sqlite::fuzz -- --nocapture
else
faults: setup
	@scripts/setup iproute2 $(if $(filter mysql,$(BACKEND)),mysql,pgbouncer)
	@$(SERVER) BACKEND=$(BACKEND) cargo run --quiet --package faults $(if $(filter mysql,$(BACKEND)),--features mysql) -- \
		$(SECONDS) $(SEED) $(FAULTS) $(SABOTAGE)
endif

# Breaks the library in each of the ways of scripts/sabotages, and checks that `make faults` detects it.
sabotages: setup
	@scripts/setup iproute2 $(if $(filter mysql,$(BACKEND)),mysql,pgbouncer)
	@$(SERVER) scripts/sabotages $(or $(BACKEND),postgres) $(SEED)

# Prints the figures of docs/benchmarks.md, and writes them to target/bench.json. ARGS="--help" lists the options. With
# BACKEND=mysql, on MariaDB or MySQL, into target/bench-mysql.json, or one topic alone, such as ARGS="refusals". With
# BACKEND=sqlite, without options.
bench: BACKEND ?= postgres
bench: setup
	$(if $(filter mysql,$(BACKEND)),@scripts/setup mysql)
	$(SERVER) cargo bench $(BENCH_$(BACKEND)) $(ARGS)
BENCH_postgres = --bench speed -- acquire scale queue hand-off cost
BENCH_mysql = --features mysql,stand/mysql --bench mysql --
BENCH_sqlite = --features sqlite --bench sqlite --

# Measures the page of `dbsemaphore serve`, its metrics and its connections.
PAGE = cargo build --quiet --release --package dbsemaphore --package page && $(SERVER) target/release/measure-page
bench-serve: setup
	$(PAGE) times

# Restarts the database of `dbsemaphore serve` each minute, and compares its memory, threads and descriptors. SECONDS=600
# for ten minutes; EVERY=20 for more restarts.
EVERY ?= 60
soak: setup
	$(PAGE) soak $(SECONDS) $(EVERY)

# Measures other ways beside it, among them a Python package, which is fetched into target/peers.
bench-peers: setup
	@python3 -c 'import ensurepip' 2>/dev/null || scripts/setup python3-venv
	$(SERVER) cargo bench --bench speed -- peers --python "$$(scripts/fetch-peers)" $(ARGS)

# Measures acquire and release over a network with a round trip of half a millisecond, beside the same other ways.
bench-network: setup
	@python3 -c 'import ensurepip' 2>/dev/null || scripts/setup python3-venv
	$(SERVER) cargo bench --bench speed -- network --python "$$(scripts/fetch-peers)" $(ARGS)

# Measures memory over a million acquisitions. Takes minutes.
bench-memory: setup
	$(SERVER) cargo bench --bench speed -- memory $(ARGS)

# Counts the server's instructions for a guard, and what each promise costs of them.
bench-instructions: setup
	$(SERVER) benches/instructions.sh

# Draws benches/speed.svg from the figures of the last runs.
chart:
	cargo bench --bench speed -- chart $(ARGS)

lint: setup
	@scripts/setup mysql
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	for features in "" postgres mysql sqlite r2d2 postgres,mysql,sqlite,serde; do \
		cargo clippy --no-default-features --features "$$features" -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	RUSTC_BOOTSTRAP=1 cargo install -Z unstable-options --dry-run --quiet --locked --path cli --all-features --root target/install
	scripts/words
	@! scripts/tool --have typos || scripts/tool typos
	@! scripts/tool --have cargo-public-api || scripts/api --check

# Checks spelling, licences, advisories, the public API and each combination of features. Compiles the programs for it, once.
checks: setup
	@scripts/setup mysql
	scripts/tool typos
	scripts/deny
	scripts/api --check
	scripts/semver
	scripts/features

# Writes the list of the public API.
api: setup
	@scripts/api

# Prints the least next version.
semver: setup
	@scripts/semver

# Checks and tests the alert rules, and checks the dashboard and the metrics.
rules: setup
	@command -v promtool >/dev/null || scripts/setup prometheus
	@scripts/rules

# Compiles with the oldest Rust, and tests with the oldest versions of dependencies.
msrv: setup
	@scripts/setup mysql
	@scripts/msrv

minimal-versions: setup
	@scripts/setup pgbouncer iproute2 mysql
	@scripts/minimal-versions

# Packages the files that would be published, and uses them outside of this folder.
package: setup
	@scripts/package

# Runs all that a change has to pass, on the installed servers and on the newest PostgreSQL. `make test-all` runs the others.
# The last programs are compiled like the tests, so that little is compiled twice.
PROGRAMS = $(or $(CARGO_TARGET_DIR),target)/debug
ci: lint test
	scripts/test-all 18
	cargo build --quiet --workspace --all-features --bins
	for backend in postgres mysql sqlite; do $(PROGRAMS)/demo --backend $$backend --seconds 6 src migrations tests || exit 1; done
	for backend in postgres mysql; do BACKEND=$$backend $(PROGRAMS)/faults 30 || exit 1; done

setup:
	@scripts/setup
