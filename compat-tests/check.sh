#!/bin/bash
# Runs all tests and prints how many passed. Needs root, and what prepare.sh installs.
#
# Usage: check.sh

set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
log=target/check.log
mkdir -p target
: >"$log"
failed=()

# Runs the step named $1, the command that follows, and notes its failure.
step() {
    local name=$1
    shift
    printf '\n== %s: %s\n' "$name" "$*" | tee -a "$log"
    "$@" </dev/null 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" = 0 ] || failed+=("$name")
}

# Runs a step with a tool that Debian's cargo may come without.
tool_step() {
    if cargo "$2" --version >/dev/null 2>&1; then
        step "$1" cargo "${@:2}"
    else
        printf '\n== %s: NOT RUN, as cargo %s is not installed here\n' "$1" "$2" | tee -a "$log"
    fi
}

step scripts shellcheck --external-sources compat-tests/*.sh compat-tests/rigs/*.sh src/site/functions.sh .ci/run
tool_step format fmt --check
tool_step lints clippy --locked --all-targets -- --deny warnings
RUSTDOCFLAGS='--deny warnings' step documentation cargo doc --locked --no-deps --quiet
step build cargo build --locked --all-targets
# All of them, whatever fails; what they print themselves (figures, the netboot's console) is of interest, too.
step tests cargo test --locked --no-fail-fast -- --show-output

printf '\n== Summary (all of it is in %s)\n' "$log"
awk '
    $1 == "Running" { name = $2 == "unittests" ? $3 : $2 }
    $1 == "Doc-tests" { name = "documentation examples" }
    /^test result:/ || /^[0-9]+ passed/ { print "  " name ": " $0 }' "$log"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
echo "All passed."
