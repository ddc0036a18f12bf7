#!/usr/bin/env bash
# Counts the server's instructions for one acquire and release by a guard, and how many of them each promise costs: the
# difference to a guard without it. Valgrind counts them in a server without clients, which reads its statements from a file. The
# counts hardly depend on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup valgrind
programs=${DBSEMAPHORE_TEST_POSTGRES:-$(pg_config --bindir)}
cargo build --quiet --package dbsemaphore
tool=${CARGO_TARGET_DIR:-target}/debug/dbsemaphore

folder=$(mktemp -d)
as_server=()
if [ "$(id -u)" = 0 ]; then
    # The server refuses to run as root.
    as_server=(runuser -u postgres --)
    chown postgres "$folder"
fi
server() { "${as_server[@]}" "$programs/pg_ctl" --silent --wait --pgdata="$folder/data" "$@"; }
trap 'server stop 2>/dev/null || true; rm -rf "$folder"' EXIT

"${as_server[@]}" "$programs/initdb" --pgdata="$folder/data" --auth=trust --username=postgres >/dev/null
server --options="-c listen_addresses= -c unix_socket_directories=$folder" --log="$folder/log" start
export DATABASE_URL="host=$folder user=postgres dbname=postgres"
"$tool" migrate >/dev/null
"$tool" make x 3 >/dev/null
server stop

# The instructions of a server that does this so many times: `count TIMES PREPARATION STATEMENT...`. On a copy of the data.
count() {
    local times=$1 preparation=$2
    shift 2
    rm -rf "$folder/copy"
    cp -a "$folder/data" "$folder/copy"
    {
        echo "$preparation"
        for ((i = 0; i < times; i++)); do printf '%s\n' "$@"; done
    } >"$folder/statements"
    if ! "${as_server[@]}" valgrind --tool=callgrind --callgrind-out-file="$folder/counted" \
        "$programs/postgres" --single -D "$folder/copy" postgres <"$folder/statements" >"$folder/printed" 2>&1 ||
        grep -q 'ERROR:' "$folder/printed"; then
        cat "$folder/printed" >&2
        return 1
    fi
    awk '/^(summary|totals):/ { print $2; exit }' "$folder/counted"
}

# Of one repetition, in thousands.
each() { echo $((($(count 300 "$@") - $(count 100 "$@")) / 200000)); }

row_lock="PREPARE lock (bigint) AS SELECT id FROM dbsemaphore.ticket WHERE id = \$1 FOR UPDATE"
acquire="PREPARE acquire (text) AS SELECT dbsemaphore._try_acquire(\$1, 1, 30, NULL)"
begin='BEGIN NOT DEFERRABLE ISOLATION LEVEL READ COMMITTED READ WRITE'
guard=$(each "$acquire" "$begin" "EXECUTE acquire('x')" ROLLBACK)

say() { printf '%-66s %5s\n' "$1" "$2"; }
echo "Thousands of instructions of the server"
echo
say "BEGIN; ROLLBACK" "$(each "" BEGIN ROLLBACK)"
say "BEGIN; barest row lock; ROLLBACK" "$(each "$row_lock" BEGIN 'EXECUTE lock(1)' ROLLBACK)"
say "guard, with these promises:" "$guard"
without() {
    say "    $1" "$((guard - $(each "$2
$acquire" "${3:-$begin}" "EXECUTE acquire('x')" ROLLBACK)))"
}
instead() { echo "CREATE OR REPLACE FUNCTION dbsemaphore.$1 LANGUAGE sql RETURN $2"; }

without "the isolation level, and an error in a transaction of raw SQL" "" BEGIN
without "no timeout ends the transaction, a vanished host does" \
    "$(instead '_apply_guard_settings(host_timeout_s integer) RETURNS text' "''")"
without "no request overtakes the queue" \
    "$(instead '_has_blocked_waiter(semaphore_id bigint) RETURNS boolean' false)"
without "the fencing token" \
    "$(instead '_next_fencing_token(timeline integer, next_timeline text, epoch integer) RETURNS bigint' 1)"

# A guard is refused because somebody waits, waits in the queue, and is its head at once.
wait="PREPARE wait (text) AS SELECT dbsemaphore._acquire(\$1, 1, 30, NULL, NULL, 1)"
blocked="$(instead '_has_blocked_waiter(semaphore_id bigint) RETURNS boolean' true)"
say "guard that waits in the queue, until it is the head:" "$(each "$blocked
$acquire
$wait" "$begin" "EXECUTE acquire('x')" "EXECUTE wait('x')" ROLLBACK)"
say "    of which the refusal before it" "$(($(each "$blocked
$acquire" "$begin" "EXECUTE acquire('x')" ROLLBACK) - $(each "" "$begin" ROLLBACK)))"
