#!/bin/sh
# Lets a new log follow one that is lost: data, latch or log keys are gone for good.
#
#   recover.sh begin [--yes]         stops the relay, puts the lost log aside, makes the keys of a new one
#   recover.sh finish DIRECTORY      puts the version that lists the new keys in place, and starts the relay
#
# Nothing is deleted. Of several nodes over a database all must be stopped, and begin runs on one of them. Where nothing
# is lost, the relay is started again as it was. See relay.sh for all settings.
set -eu
. "$(dirname "$0")/relay.sh"

undo() {
    trap '' INT TERM HUP
    return_directory || fail "$1, and the version of before cannot be put back: it is $directory.before"
    fail "$1: $directory is the version of before"
}

case "${1-} $#" in
"begin 1" | "begin 2")
    [ $# -eq 1 ] || [ "$2" = --yes ] || usage
    shift
    was_running=
    if runs; then was_running=yes; fi
    stop || fail "the relay could not be stopped"
    if ! relay recover "$@"; then
        [ -z "$was_running" ] || start || fail "nothing was changed; the relay does not get ready as it was, see doctor"
        fail "nothing was changed"
    fi
    ;;
"finish 2")
    directory=$(named directory)
    check_file "$2"
    ! runs || fail "the relay runs; a new log begins when it starts"
    keep_directory
    trap 'undo interrupted' INT TERM HUP
    put "$2" "$directory" || undo "$directory cannot be written"
    is_well directory "log keys in the directory" || undo "$(why)"
    trap - INT TERM HUP
    as_relay rm -f "$directory.before"
    start || fail "the relay does not get ready: see doctor"
    say "the new log grows; what waited in the old one goes on"
    ;;
*) usage ;;
esac
