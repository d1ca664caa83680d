#!/bin/sh
# Runs a command in a mount namespace of its own, where /etc and /dev are the scratch host's: its own accounts,
# and /dev/log, where a test listens. Nothing of this host changes.
#
# usage: unshare --mount enter.sh SCRATCH COMMAND...
set -eu
scratch=$1
shift
for name in null zero full random urandom; do
  mount --bind "/dev/$name" "$scratch/dev/$name"
done
mount --bind "$scratch/etc" /etc
mount --rbind "$scratch/dev" /dev
cd /
exec "$@"
