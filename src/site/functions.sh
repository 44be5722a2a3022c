# shellcheck shell=dash
# What hooks, drop-in scripts and code in ltsp.conf can call, as in LTSP itself.
_NL='
'
echo() {
    # Words as they are: no options, no escapes.
    command printf '%s\n' "$*"
}
warn() {
    echo "$@" >&2
}
debug() {
    case ,${LTSP_DEBUG-}, in
        ,1, | *,"${_APPLET-}",*) warn "$@" ;;
    esac
}
die() {
    warn "$@"
    exit 1
}
is_command() {
    for _ltsp_word in "$@"; do
        command -v "$_ltsp_word" >/dev/null || return
    done
}
rwr() {
    "$@" && return
    set -- "$?" "$@"
    warn "This failed with status $1: $(shift && echo "$@")"
    return "$1"
}
rw() {
    rwr "$@" || :
}
re() {
    rwr "$@" || die 'So the run ends.'
}
rsr() {
    "$@" >/dev/null 2>&1
}
rs() {
    rsr "$@" || :
}
exit_command() {
    # The last one first.
    _ltsp_undo=$*$_NL${_ltsp_undo-}
}
# Undone even if code ends the shell.
trap 'eval "${_ltsp_undo-}"' EXIT
