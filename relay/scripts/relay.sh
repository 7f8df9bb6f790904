# What the scripts in this folder share; they read it, nobody runs it. Set in the environment what is different here:
#
#   RELAY_FOLDER    folder with relay.toml, keys and directory     /var/lib/infoexchange/relay
#   RELAY_PROGRAMS  virtual environment of the relay               /usr/lib/infoexchange
#   RELAY_BACKUPS   folder of backups                              /var/lib/infoexchange/backups
#   RELAY_START, RELAY_STOP   commands that start and stop it; both return when it is done: systemctl start, stop
#   RELAY_AS        put before commands, so that files belong to the relay's user: as root runuser -u infoexchange --
#   RELAY_SECONDS   seconds that a start may take                  300
umask 077
: "${RELAY_FOLDER:=/var/lib/infoexchange/relay}"
: "${RELAY_PROGRAMS:=/usr/lib/infoexchange}"
: "${RELAY_BACKUPS:=/var/lib/infoexchange/backups}"
: "${RELAY_START:=systemctl start infoexchange-relay}"
: "${RELAY_STOP:=systemctl stop infoexchange-relay}"
: "${RELAY_SECONDS:=300}"
if [ "$(id -u)" -eq 0 ]; then : "${RELAY_AS=runuser -u infoexchange --}"; else : "${RELAY_AS=}"; fi
config=$RELAY_FOLDER/relay.toml
script=${0##*/}

say() { echo "$script: $*"; }

fail() {
    echo "$script: $*" >&2
    exit 1
}

usage() {
    # The comment at the top of the script.
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 3
}

# A command of the relay. RELAY_AS is several words on purpose.
relay() { $RELAY_AS "$RELAY_PROGRAMS/bin/infoexchange-relay" "$@" --config "$config"; }

as_relay() { $RELAY_AS "$@"; }

# Whether `doctor` finds all of these things well. It is quick; `check` hashes the whole log.
is_well() {
    found=$(relay doctor --json 2>/dev/null) || :
    for thing in "$@"; do
        case $found in *"\"check\": \"$thing\", \"state\": \"ok\""*) ;; *) return 1 ;; esac
    done
}

# What it said of the first thing that was not.
why() {
    said=$(echo "$found" | sed -n "s/.*\"check\": \"$thing\", \"state\": \"[a-z]*\", \"detail\": \"\([^\"]*\)\".*/\1/p")
    echo "$thing: ${said:-not looked at, as something else is wrong}"
}

# Whether the log, hashed as a whole, is what was signed.
is_whole() { relay check --json 2>/dev/null | grep -q '"check": "audit log", "passed": true'; }

runs() { relay status --once --json 2>/dev/null | grep -q '"runs": true'; }

# Start it, and return when it takes messages; fail when it does not within RELAY_SECONDS.
start() {
    sh -c "$RELAY_START" || return 1
    end=$(($(date +%s) + RELAY_SECONDS))
    until is_well service; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 1
    done
}

stop() { sh -c "$RELAY_STOP" && ! runs; }

# Path of a file that the settings name.
named() {
    path=$(sed -n "s/^$1 *= *\"\([^\"]*\)\".*/\1/p" "$config")
    [ -n "$path" ] || fail "$config has no setting $1"
    case $path in /*) echo "$path" ;; *) echo "$RELAY_FOLDER/$path" ;; esac
}

# Fail unless this is a file that can be read, before anything is changed for it.
check_file() {
    { [ -f "$1" ] && [ -s "$1" ] && [ -r "$1" ]; } || fail "$1: there is no such file, or it cannot be read"
}

# Keep the directory as DIRECTORY.before until another has held up. One that does not hold up while there is one of
# before was left by a run that was cut off.
keep_directory() {
    { [ -e "$directory.before" ] && ! is_well directory; } || put "$directory" "$directory.before" ||
        fail "$directory.before cannot be written; nothing was changed"
}

# Put the directory of before in place again. Moving needs no room on the disk.
return_directory() { as_relay mv -f "$directory.before" "$directory"; }

# Put a file in place of another: there is always the whole old one or the whole new one.
put() {
    as_relay sh -c 'cat > "$1.put" && { sync "$1.put" 2>/dev/null || sync; } && mv -f "$1.put" "$1"' put "$2" < "$1"
}
