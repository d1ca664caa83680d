#!/bin/sh
# Makes the certificates of the tests, each with its key, self-signed and good for a hundred years. They guard
# nothing: their keys are in this directory. Run again only to change them.
set -eu
cd "$(dirname "$0")"

# make NAME TYPE SUBJECT_ALT_NAMES
make() {
  case $2 in
    rsa) new='rsa:2048' ;;
    ec) new='ec -pkeyopt ec_paramgen_curve:prime256v1' ;;
  esac
  # shellcheck disable=SC2086
  openssl req -x509 -newkey $new -nodes -keyout "$1.key" -out "$1.crt" -days 36500 \
    -subj "/O=mbox-pop3d tests/CN=$1" -addext "subjectAltName=$3"
  chmod 600 "$1.key"
}

localhost='DNS:localhost,IP:127.0.0.1'
make rsa rsa "$localhost"
make ec ec "$localhost"
make renewed ec "$localhost"
make other ec 'DNS:pop.example.net,DNS:*.example.com'
openssl pkey -in ec.key -aes256 -passout pass:secret -out encrypted.key
