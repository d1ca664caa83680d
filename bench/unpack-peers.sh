#!/bin/sh
# Unpacks Debian's other mbox POP3 servers below a directory, without installing them: their packages exclude each
# other, and would start services. What they need and this host lacks comes with them.
#
# usage: unpack-peers.sh DIRECTORY     then, as root: MBOX_POP3D_PEERS=DIRECTORY npm run bench
set -eu
mkdir -p "$1"
cd "$1"
rm -f versions
for package in dovecot-pop3d popa3d mailutils-pop3d solid-pop3d; do
  mkdir -p archives/partial
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dir::Cache::archives="$PWD/archives" \
    install --download-only -y --no-install-recommends "$package" >/dev/null
  apt-cache policy "$package" | sed -n "s/^  Candidate: /$package /p" >>versions
done
for archive in archives/*.deb; do
  [ -e "$archive" ] || continue # everything is installed
  dpkg-deb -x "$archive" .
done
rm -rf archives
# On a merged file system these are the same directory.
mkdir -p usr/lib
if [ -d lib ]; then cp -a lib/. usr/lib/ && rm -rf lib; fi
