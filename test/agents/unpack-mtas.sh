#!/bin/sh
# Unpacks Debian's Exim and sendmail below a directory, without installing them: mail servers exclude each
# other, and would be started.
#
# usage: unpack-mtas.sh DIRECTORY     then: PATH=$PATH:DIRECTORY/bin npm run test:agents
set -eu
mkdir -p "$1/bin"
cd "$1"
apt-get download -qq exim4-daemon-light sendmail-bin sendmail-cf m4
for package in ./*.deb; do dpkg-deb -x "$package" .; done
ln -sf ../usr/sbin/exim4 bin/exim4
ln -sf ../usr/libexec/sendmail/sendmail bin/sendmail.sendmail
ln -sf ../usr/bin/m4 bin/m4
chmod -R a+rX .
