#!/bin/bash
# Prints what an exclude list leaves out of a tree: paths relative to its root, each ended by a zero byte.
#
# Usage: excluded.sh LIST TREE
#
# The wildcards are those of bash, which mean the same in these lists: anchored at the root, matched component by
# component, and no match for a leading dot unless the pattern has one.

set -euo pipefail
shopt -s nullglob extglob
export LC_ALL=C

exec 3<"$1"
cd "$2"
# Nothing is split: a pattern may hold blanks.
IFS=
while read -r pattern <&3 || [ -n "$pattern" ]; do
    case $pattern in
    '' | '#'*) continue ;;
    /* | ./* | ../* | '... '* | *\\*)
        echo "excluded.sh: this has a meaning of its own in an exclude list: $pattern" >&2
        exit 1
        ;;
    esac
    # Expanding it is the point.
    # shellcheck disable=SC2086
    for path in ${pattern%/}; do
        case $path in
        */. | */..) ;;
        *) [ ! -e "$path" ] && [ ! -L "$path" ] || printf '%s\0' "$path" ;;
        esac
    done
done
