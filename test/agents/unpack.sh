#!/bin/sh
# Unpacks Debian's delivery agents and mail readers below a directory, without installing them: their packages
# exclude each other, and would start services. What they need and this host lacks comes with them; what is
# installed stays where it is.
#
# usage: unpack.sh DIRECTORY     then: MBOX_POP3D_AGENTS=DIRECTORY npm run test:agents
set -eu
mkdir -p "$1"
cd "$1"
# Each on its own: apt would leave out one of two that conflict.
for packages in postfix exim4-daemon-light mailutils-mda 'procmail maildrop mutt liblockfile-bin' \
  'dovecot-imapd dovecot-pop3d'; do
  mkdir -p archives/partial
  # shellcheck disable=SC2086 # a list
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dir::Cache::archives="$PWD/archives" \
    install --download-only -y --no-install-recommends $packages >/dev/null
done
for package in archives/*.deb; do
  [ -e "$package" ] || continue # everything is installed
  dpkg-deb -x "$package" .
done
rm -rf archives
mkdir -p usr/lib
# On a merged file system these are the same directory.
if [ -d lib ]; then cp -a lib/. usr/lib/ && rm -rf lib; fi
