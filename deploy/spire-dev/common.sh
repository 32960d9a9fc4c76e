# shellcheck shell=sh disable=SC2034 # the variables set here are read by the scripts that source it
# What the scripts beside this file share. Rules:
# - everything lives in one folder ($SPIRE_DEV_DIR), so two of them side by side are two trust
#   domains;
# - a setting comes from the environment, else from the last `up` in that folder, else from the
#   default;
# - a process is ours only if its command line says so: process ids are used again;
# - what fails says so on standard error and exits non-zero.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
me=$(basename -- "$0")

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# Makes the folder.
open_folder() {
  dir=${SPIRE_DEV_DIR:-./.spire-dev}
  mkdir -p -- "$dir" || die "cannot make the folder $dir (SPIRE_DEV_DIR)"
  dir=$(CDPATH='' cd -- "$dir" && pwd -P)
}

# Reads the settings; exports what server.conf and agent.conf name.
read_settings() {
  # The kernel's limit for a Unix socket's path is 108 bytes on Linux, 104 on macOS, with the
  # closing zero.
  [ "${#dir}" -le 87 ] || 
    die "$dir is too long for the path of a Unix socket: set SPIRE_DEV_DIR to at most 87 bytes"
  saved_trust_domain='' saved_port='' saved_bundle_port=''
  # shellcheck source=/dev/null
  [ ! -f "$dir/settings" ] || . "$dir/settings"
  SPIRE_DEV_DIR=$dir
  SPIRE_DEV_TRUST_DOMAIN=${SPIRE_DEV_TRUST_DOMAIN:-${saved_trust_domain:-example.org}}
  SPIRE_DEV_PORT=${SPIRE_DEV_PORT:-${saved_port:-8081}}
  SPIRE_DEV_BUNDLE_PORT=${SPIRE_DEV_BUNDLE_PORT:-${saved_bundle_port:-8444}}
  case $SPIRE_DEV_TRUST_DOMAIN in
    *[!a-z0-9._-]*) die "SPIRE_DEV_TRUST_DOMAIN is \"$SPIRE_DEV_TRUST_DOMAIN\": \
a trust domain has only a-z, 0-9, dot, dash and underscore" ;;
  esac
  [ "$SPIRE_DEV_TRUST_DOMAIN" = "${saved_trust_domain:-$SPIRE_DEV_TRUST_DOMAIN}" ] ||
    die "$dir belongs to the trust domain $saved_trust_domain, not $SPIRE_DEV_TRUST_DOMAIN:\
 use another SPIRE_DEV_DIR, or remove the folder"
  require_port SPIRE_DEV_PORT "$SPIRE_DEV_PORT"
  require_port SPIRE_DEV_BUNDLE_PORT "$SPIRE_DEV_BUNDLE_PORT"
  export SPIRE_DEV_DIR SPIRE_DEV_TRUST_DOMAIN SPIRE_DEV_PORT SPIRE_DEV_BUNDLE_PORT
  server_socket=$dir/server/api.sock
  agent_socket=$dir/agent/api.sock
  # Entries hang on this name, not on the agent's own ID, which is new with every join token.
  agent_alias=spiffe://$SPIRE_DEV_TRUST_DOMAIN/spire-dev/agent
}

require_port() {
  case $2 in
    '' | *[!0-9]* | ??????*) die "$1 is \"$2\": must be a port number" ;;
  esac
}

save_settings() {
  printf 'saved_trust_domain=%s\nsaved_port=%s\nsaved_bundle_port=%s\n' \
    "$SPIRE_DEV_TRUST_DOMAIN" "$SPIRE_DEV_PORT" "$SPIRE_DEV_BUNDLE_PORT" >"$dir/settings"
}

# One `up` or `down` at a time in a folder; a lock whose owner is gone is taken over.
lock_folder() {
  deadline=$(in_seconds 60)
  until mkdir -- "$dir/lock" 2>/dev/null; do
    owner=$(cat -- "$dir/lock/pid" 2>/dev/null || :)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
      rm -rf -- "$dir/lock"
      continue
    fi
    ! past "$deadline" || 
      die "process ${owner:-unknown} is at work in $dir for a minute: wait, or remove $dir/lock"
    sleep 0.1
  done
  echo "$$" >"$dir/lock/pid"
  # A shell that dies of a signal runs no EXIT trap, so signals become an exit.
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

unlock_folder() { rm -rf -- "$dir/lock"; }

find_binaries() {
  # "build" prints where they are; what it has to say goes to standard error.
  bin=$("$here/build")
}

command_line() {
  if [ -r "/proc/$1/cmdline" ]; then
    tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null || :
  elif ! [ -d /proc/self ]; then
    ps -ww -o args= -p "$1" 2>/dev/null || :
  fi
}

# Sets pid and succeeds when the component (server, agent) of this folder runs.
running() {
  pid=$(cat -- "$dir/$1/pid" 2>/dev/null) || return 1
  case $(command_line "$pid") in
    *"spire-$1 run "*"-dataDir $dir/$1 "*) return 0 ;;
    *) return 1 ;;
  esac
}

# in_seconds N: the time that `past` compares with.
in_seconds() { echo "$(($(date +%s) + $1))"; }
past() { [ "$(date +%s)" -gt "$1" ]; }

require_running() {
  running "$1" || die "the $1 of $dir does not run: start it with $here/up"
}
