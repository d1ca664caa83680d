#!/bin/sh
# Runs a command in a mount namespace of its own: the scratch host's /etc and /dev, as in doors/enter.sh, its spool
# as /var/mail, and the unpacked agents laid over /usr, where they expect to be. Nothing of this host changes.
#
# usage: unshare --mount enter.sh SCRATCH AGENTS COMMAND...     AGENTS may be empty: all are installed
set -eu
scratch=$1
agents=$2
shift 2
if [ -n "$agents" ]; then mount -t overlay overlay -o "ro,lowerdir=$agents/usr:/usr" /usr; fi
mount --bind "$scratch/spool" /var/mail
exec "$(dirname "$0")/../doors/enter.sh" "$scratch" "$@"
