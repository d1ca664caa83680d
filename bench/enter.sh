#!/bin/sh
# Runs a command in a mount namespace of its own: the benchmark's accounts as /etc, one server's mailboxes as
# /var/mail, an empty /var/lib with what peers want there, and the unpacked peers laid over /usr. Nothing of
# this host changes.
#
# usage: unshare --mount enter.sh ETC SPOOL PEERS COMMAND...     PEERS may be empty: all are installed
set -eu
etc=$1
spool=$2
peers=$3
shift 3
if [ -n "$peers" ]; then mount -t overlay overlay -o "ro,lowerdir=$peers/usr:/usr" /usr; fi
mount --bind "$etc" /etc
mount --bind "$spool" /var/mail
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mkdir -p /var/lib/popa3d /var/lib/solid-pop3d/bulletins
exec "$@"
