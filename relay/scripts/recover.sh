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
    [ -s "$2" ] || fail "$2: there is no such file"
    ! runs || fail "the relay runs; a new log begins when it starts"
    put "$directory" "$directory.before"
    put "$2" "$directory"
    if ! is_well directory "log keys in the directory"; then
        put "$directory.before" "$directory"
        fail "$(why): $directory is the version of before"
    fi
    start || fail "the relay does not get ready: see doctor"
    say "the new log grows; what waited in the old one goes on"
    ;;
*) usage ;;
esac
