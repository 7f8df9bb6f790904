#!/bin/sh
# Backs the relay up while it runs, and deletes backups that are older than DAYS (30); for a timer, every day.
#
#   back-up.sh [DAYS]
#
# Writes RELAY_BACKUPS/relay-TIME.tar; see relay.sh for all settings. Nothing is deleted unless the new one is whole,
# and only files of that name. Keep the digest that it prints elsewhere, and copy the file to another machine.
set -eu
. "$(dirname "$0")/relay.sh"

days=${1-30}
case $days in '' | *[!0-9]* | ?????*) usage ;; esac
[ $# -le 1 ] || usage

as_relay mkdir -p "$RELAY_BACKUPS" || fail "$RELAY_BACKUPS cannot be made"
new=relay-$(date -u +%Y%m%dT%H%M%SZ).tar
relay backup "$RELAY_BACKUPS/$new" || fail "no backup was made, and none deleted"
as_relay find "$RELAY_BACKUPS" ! -path "$RELAY_BACKUPS" -prune -name 'relay-*.tar' ! -name "$new" \
    -type f -mtime "+$days" -print -exec rm -f {} \; |
    while read -r old; do say "deleted $old, older than $days days"; done
