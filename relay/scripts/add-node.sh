#!/bin/sh
# Makes the folder of one more node of a relay whose store is in PostgreSQL.
#
#   add-node.sh FOLDER LISTEN        add-node.sh /root/relay-2 0.0.0.0:7443
#
# Takes settings, keys, certificate and directory from RELAY_FOLDER; data and latch are the node's own. FOLDER holds
# secret keys: move it to its machine in a way that nobody reads, and delete it here. See relay.sh for all settings.
set -eu
. "$(dirname "$0")/relay.sh"
[ $# -eq 2 ] || usage
folder=$1

grep -q '^store *= *"postgresql://' "$config" || fail "$config: store names no PostgreSQL database, which nodes share"
for name in data latch log_keys witness_keys tls_key tls_certificate directory roots; do
    path=$(sed -n "s/^$name *= *\"\([^\"]*\)\".*/\1/p" "$config")
    case $path in '' | /* | *..*) fail "$config: $name is not a path inside the relay's folder" ;; esac
done
case $2 in *[!A-Za-z0-9.:\[\]-]* | :* | *:) usage ;; *:*) ;; *) usage ;; esac
as_relay mkdir "$folder" || fail "$folder cannot be made"
undo() {
    as_relay rm -rf "$folder"
    fail "$1"
}
trap 'undo interrupted' INT TERM HUP
for name in log_keys witness_keys tls_key tls_certificate directory roots; do
    path=$(named "$name")
    copy=$folder/${path#"$RELAY_FOLDER"/}
    { as_relay mkdir -p "${copy%/*}" && put "$path" "$copy"; } || undo "$path cannot be copied"
done
path=$(named log_keys)
following=$folder/${path#"$RELAY_FOLDER"/}.next
[ ! -e "$path.next" ] || put "$path.next" "$following" || undo "$path.next cannot be copied"
# Nobody makes the folder of a latch by itself: that it is missing tells of a disk that is not mounted.
path=$(named latch)
path=$folder/${path#"$RELAY_FOLDER"/}
as_relay mkdir -p "${path%/*}" || undo "${path%/*} cannot be made"
sed "s/^listen *=.*/listen = \"$2\"/" "$config" | as_relay sh -c 'cat > "$1"' put "$folder/relay.toml"
config=$folder/relay.toml
# The new folder has to hold up by itself: its keys, its certificate, the directory and the database.
is_well "log keys in the directory" "witness keys in the directory" "TLS certificate" || undo "$(why)"
is_whole || undo "the new node cannot read the log in the database: see check"
grep -q '^attachments_bucket *= *"s3:' "$config" || say "attachments lie in each node's data: set attachments_bucket"
say "made $folder; move it to its machine, and start it with: infoexchange-relay serve --config relay.toml"
