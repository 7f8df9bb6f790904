#!/bin/sh
# Changes the TLS key and its certificate, and goes back to the ones before when the relay does not get ready with them.
#
#   rotate-tls.sh request [--passphrase]    makes a new key, and request.pem for the national CA
#   rotate-tls.sh install CERTIFICATE       puts the key and what the CA issued in place
#   rotate-tls.sh back                      puts the key and certificate of before in place again
#
# --passphrase seals the key file; it takes the passphrase of the others. See relay.sh for all settings.
set -eu
. "$(dirname "$0")/relay.sh"
next=$RELAY_FOLDER/next-tls

look() {
    key=$(named tls_key)
    certificate=$(named tls_certificate)
}

restart() { stop && start; }

undo() {
    trap '' INT TERM HUP
    { put "$certificate.before" "$certificate" && put "$key.before" "$key"; } ||
        fail "$1, and these cannot be put back: put $certificate.before and $key.before in place before a restart"
    if [ -n "$stopped" ]; then
        sh -c "$RELAY_STOP" || :
        start || fail "$1, and the relay does not get ready with the key of before either: see doctor"
    fi
    fail "$1: key and certificate are those of before; the new key waits in $next"
}

case "${1-} $#" in
"request 1" | "request 2")
    [ $# -eq 1 ] || [ "$2" = --passphrase ] || usage
    name=$(sed -n 's/^name *= *"\([^"]*\)".*/\1/p' "$config")
    shift
    # A folder of a new relay holds a key and its request; the other keys in it are not needed.
    as_relay "$RELAY_PROGRAMS/bin/infoexchange-relay" init "$name" --folder "$next" "$@" >/dev/null ||
        fail "no new key was made"
    as_relay rm -f "$next/log.key" "$next/witness.key" "$next/relay.toml" "$next/registration.json"
    say "have the national CA issue a certificate for $next/request.pem, then: $script install CERTIFICATE"
    ;;
"install 2")
    look
    [ -s "$next/tls.key" ] || fail "there is no new key: $script request"
    check_file "$2"
    # Where the new key is in place, a run was cut off, and has kept the ones of before already.
    as_relay cmp -s "$key" "$next/tls.key" ||
        { put "$key" "$key.before" && put "$certificate" "$certificate.before"; } ||
        fail "those of before cannot be kept; nothing was changed"
    stopped=
    trap 'undo interrupted' INT TERM HUP
    put "$next/tls.key" "$key" || undo "$key cannot be written"
    put "$2" "$certificate" || undo "$certificate cannot be written"
    # The relay goes on with the old ones until here.
    is_well "TLS certificate" || undo "$(why)"
    stopped=yes
    restart || undo "the relay did not get ready"
    trap - INT TERM HUP
    as_relay rm -rf "$next"
    say "the relay uses the new certificate; delete $key.before once the other relays and agencies are well"
    ;;
"back 1")
    look
    [ -s "$key.before" ] && [ -s "$certificate.before" ] || fail "there is no key of before"
    { put "$key.before" "$key" && put "$certificate.before" "$certificate"; } ||
        fail "key and certificate cannot be written; run this again before the relay is restarted"
    restart || fail "the relay does not get ready: see doctor"
    say "the relay uses the certificate of before"
    ;;
*) usage ;;
esac
