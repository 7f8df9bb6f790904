#!/bin/sh
# Lets the log of the next half-year follow this one.
#
#   next-half-year.sh keys               makes the keys of the next log, and registration.json; the relay goes on
#   next-half-year.sh turn DIRECTORY     puts the version that lists them in place, and starts the relay anew under it
#
# Between both, the holders of the root keys sign that version. A version that the relay does not take is put away
# again. With several nodes, put log.key.next into the folder of each one first. See relay.sh for all settings.
set -eu
. "$(dirname "$0")/relay.sh"

undo() {
    trap '' INT TERM HUP
    return_directory || fail "$1, and the version of before cannot be put back: it is $directory.before"
    fail "$1: $directory is the version of before"
}

case "${1-} $#" in
"keys 1") relay next-log || fail "the keys of the next log were not made" ;;
"turn 2")
    directory=$(named directory)
    next=$(named log_keys).next
    check_file "$2"
    [ -s "$next" ] || fail "no keys wait at $next: $script keys"
    is_well service || fail "the relay does not take messages now: see doctor"
    keep_directory
    trap 'undo interrupted' INT TERM HUP
    put "$2" "$directory" || undo "$directory cannot be written"
    is_well directory "log keys in the directory" || undo "$(why)"
    # The relay takes it within ten seconds, and all others have it a minute later.
    end=$(($(date +%s) + RELAY_SECONDS))
    until is_well "newer directory"; do
        [ "$(date +%s)" -lt "$end" ] || undo "the relay has not taken $2, see directory_refused in its log"
        sleep 1
    done
    trap - INT TERM HUP
    as_relay rm -f "$directory.before"
    stop || fail "the relay could not be stopped"
    start || fail "the relay did not get ready: see doctor"
    [ ! -e "$next" ] || fail "$2 does not list the keys of the next log first; the relay goes on with the log of before"
    say "the log of before is closed, and the next one grows"
    ;;
*) usage ;;
esac
