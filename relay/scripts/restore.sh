#!/bin/sh
# Puts the data of a backup in place and starts the relay; on a new machine after its settings, keys and papers.
#
#   restore.sh BACKUP [DIGEST]
#
# DIGEST is what `backup` printed. Where the latch is there, the relay goes on with its log, unless anything here knows
# a longer one: then nothing is changed. Where the latch is lost, recover.sh has to follow. See relay.sh for all
# settings.
set -eu
. "$(dirname "$0")/relay.sh"
[ $# -eq 1 ] || [ $# -eq 2 ] || usage

was_running=
if runs; then was_running=yes; fi
stop || fail "the relay could not be stopped"
if ! said=$(relay restore "$1" ${2:+--digest "$2"} --json); then
    [ -z "$was_running" ] || start || fail "nothing was changed; the relay does not get ready as it was, see doctor"
    fail "nothing was changed"
fi
case $said in
*'"latched": true'*) ;;
*)
    say "the data is in place. The latch is lost, so a new log has to follow this one: recover.sh begin"
    exit 0
    ;;
esac
is_whole || fail "the data is in place, and its log is not well: see check. The relay is not started"
start || fail "the data is in place, and the relay does not get ready: see doctor"
say "the relay takes messages again"
