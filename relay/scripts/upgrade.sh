#!/bin/sh
# Puts another version of the relay in place, and goes back to the one before when it does not get ready.
#
#   upgrade.sh [--backed-up] NAME PACKAGE...
#   upgrade.sh 0.2.0 'infoexchange[relay]==0.2.0'
#
# RELAY_PROGRAMS is a link; the new version is installed beside it, as RELAY_PROGRAMS-NAME, with `pip install
# PACKAGE...` by RELAY_PYTHON (python3). --backed-up: the store is in PostgreSQL, and its own tools have backed it up.
# See relay.sh for all settings.
set -eu
. "$(dirname "$0")/relay.sh"
: "${RELAY_PYTHON:=python3}"

backed_up=
[ "${1-}" != --backed-up ] || { backed_up=yes && shift; }
[ $# -ge 2 ] || usage
case $1 in '' | -* | */*) usage ;; esac
new=$RELAY_PROGRAMS-$1
backup=$RELAY_BACKUPS/before-$1-$(date -u +%Y%m%dT%H%M%SZ).tar
shift
[ -L "$RELAY_PROGRAMS" ] || fail "$RELAY_PROGRAMS is no link to a version; see Upgrade on the operator's page"
old=$(readlink "$RELAY_PROGRAMS")
[ ! -e "$new" ] || fail "$new is there already: delete it if it is not in use, or take another name"
is_well service || fail "the relay does not take messages now, so nobody can tell whether the new one will: see doctor"

# (1) Install beside the old version; the relay goes on.
forget() {
    rm -rf "$new"
    fail "$1; the relay goes on as before"
}
trap 'forget interrupted' INT TERM HUP
(umask 022 && "$RELAY_PYTHON" -m venv "$new" && "$new/bin/python" -m pip install --quiet "$@") || forget "not installed"
# Status reads the settings and changes nothing: 1 is a relay that is not well, more is settings or a program that fail.
code=0
as_relay "$new/bin/infoexchange-relay" status --once --json --config "$config" >/dev/null || code=$?
[ "$code" -le 1 ] || forget "the new version does not run here or cannot read $config"

# (2) From here on the relay stands still, and whatever happens the old version is started again.
undo() {
    trap '' INT TERM HUP
    say "$1; going back"
    sh -c "$RELAY_STOP" || :
    ln -sfn "$old" "$RELAY_PROGRAMS"
    if start; then fail "$1: the version before runs again, the new one is in $new"; fi
    # The new version has changed the tables. As long as it has signed nothing, the backup is the newest data.
    if [ -z "$backed_up" ] && sh -c "$RELAY_STOP" && relay restore "$backup" && start; then
        fail "$1: the version before runs again on the data of $backup, the new one is in $new"
    fi
    fail "$1, and the version before does not run on the data any more: see Upgrade on the operator's page"
}
trap 'undo interrupted' INT TERM HUP
stop || undo "the relay could not be stopped"
if [ -z "$backed_up" ]; then
    as_relay mkdir -p "$RELAY_BACKUPS" || undo "$RELAY_BACKUPS cannot be made"
    relay backup "$backup" || undo "no backup was made"
fi
ln -sfn "$new" "$RELAY_PROGRAMS"
start || undo "the new version did not get ready"
trap - INT TERM HUP
say "the version in $new takes messages; $old is kept until you delete it"
