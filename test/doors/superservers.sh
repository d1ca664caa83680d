#!/bin/sh
# Unpacks Debian's openbsd-inetd and xinetd below a directory, without installing them: their packages
# conflict, and would start services. They need libwrap0, which is installed.
#
# usage: superservers.sh DIRECTORY     then: PATH=$PATH:DIRECTORY/usr/sbin npm run test:doors
set -eu
mkdir -p "$1"
cd "$1"
dpkg -s libwrap0 >/dev/null 2>&1 || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libwrap0 >/dev/null
apt-get download -qq openbsd-inetd xinetd
for package in ./*.deb; do dpkg-deb -x "$package" .; done
