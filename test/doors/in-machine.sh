#!/bin/bash
# Runs inside the booted machine, as root, with the program in place and nothing else: sets up systemd as the
# README says, then the other ways, each to mail that is read and deleted. Each step's output is a file
# in /results.
cd /results || exit 1
etc=/usr/lib/node_modules/mbox-pop3d/etc
password='sesame, öffne dich'

fill() { # OWNER MODE: alice's mailbox, two messages
  printf 'From bob@example.net Mon Jan  5 10:0%d:00 2026\nSubject: %s\n\nHello.\n\n' 0 one 1 two >/var/mail/alice
  chown "$1" /var/mail/alice
  chmod "$2" /var/mail/alice
}
session() { # NAME [stls|tls]: one session as alice, and what is left of her mailbox
  timeout 120 /usr/bin/node /results/session.mjs alice "$password" ${2:+"$2"} >"$1.session" 2>&1
  cat /var/mail/alice >"$1.mailbox"
  ls -ln /var/mail >"$1.spool"
}
log_of() { journalctl --sync; journalctl --no-pager --quiet --output=json --output-fields=PRIORITY,MESSAGE,SYSLOG_FACILITY "$@"; }
stop() { # UNIT...: how they ended
  timeout 100 systemctl stop "$@"
  systemctl show --property=Id,Result,ExecMainStatus "$@"
}

useradd --uid 4001 --no-create-home alice
echo "alice:$password" | chpasswd --crypt-method YESCRYPT

# A process for each user, with the accounts of the system: the README's set-up, line by line.
(set -ex && . /results/set-up.sh) >set-up 2>&1 && echo "set up" >>set-up
id mbox-pop3d >account 2>&1
stat -c '%U:%G %a' /etc/mbox-pop3d >directory 2>&1
fill alice:alice 600
session per-user
systemctl start mbox-pop3d-per-user-recover.service
log_of --unit=mbox-pop3d-per-user-recover.service >per-user.recover

# The same by PAM, as this distribution sets it up: what the unit allows is enough for it.
cp $etc/pam.d/mbox-pop3d /etc/pam.d/
echo MBOX_POP3D_AUTH=pam >/etc/default/mbox-pop3d
rm -f /run/nologin # what systemd-user-sessions.service does when a host is up
fill alice:mail 600
session per-user-pam
echo "alice:another" | chpasswd --crypt-method YESCRYPT
session per-user-pam-wrong
echo "alice:$password" | chpasswd --crypt-method YESCRYPT
rm /etc/default/mbox-pop3d

# With a certificate, as certbot leaves it: STLS, and port 995 beside it.
live=/etc/letsencrypt/live/HOST
mkdir -p $live && chmod 700 /etc/letsencrypt/live
install -m 600 cert.pem $live/fullchain.pem
install -m 600 key.pem $live/privkey.pem
rm key.pem
printf 'MBOX_POP3D_TLS_%s=%s\n' CERT $live/fullchain.pem KEY $live/privkey.pem >/etc/default/mbox-pop3d
systemctl start mbox-pop3d-per-user-tls.socket
fill alice:alice 600
session per-user-tls tls
fill alice:alice 600
session per-user-stls stls
rm /etc/default/mbox-pop3d
stop mbox-pop3d-per-user.socket mbox-pop3d-per-user-tls.socket >per-user.end
log_of --unit='mbox-pop3d-per-user-tls@*.service' >per-user-tls.log
log_of --unit='mbox-pop3d-per-user@*.service' >per-user.log

# The shared server: accounts of its users file.
getent shadow alice | cut -d: -f1,2 >/etc/mbox-pop3d/users
systemd-tmpfiles --create mbox-pop3d.conf
fill alice:mail 660
systemctl start mbox-pop3d.socket
session shared
systemctl show --property=ActiveState,StatusText,NRestarts mbox-pop3d.service >shared.state
stop mbox-pop3d.service >shared.end

# One that hangs: killed by the watchdog, and started again.
mkdir /etc/systemd/system/mbox-pop3d.service.d
printf '[Service]\nWatchdogSec=4\n' >/etc/systemd/system/mbox-pop3d.service.d/watchdog.conf
systemctl daemon-reload
fill alice:mail 660
session watchdog-before
sleep 9
systemctl show --property=ActiveState,WatchdogUSec mbox-pop3d.service >watchdog.alive
kill -STOP "$(systemctl show --property=MainPID --value mbox-pop3d.service)"
for _ in {1..600}; do
  systemctl show --property=NRestarts,ActiveState mbox-pop3d.service >watchdog.hung
  grep -q NRestarts=1 watchdog.hung && grep -q =active watchdog.hung && break
  sleep 0.1
done
journalctl --sync
journalctl --no-pager --quiet --unit=mbox-pop3d.service >watchdog.journal
fill alice:mail 660
session watchdog
rm -r /etc/systemd/system/mbox-pop3d.service.d
stop mbox-pop3d.service >watchdog.end
systemctl daemon-reload

# The same with TLS: a key that only root can read, by the lines about it in the unit.
sed -i 's/^#\(LoadCredential=\|Environment=MBOX_POP3D_TLS\)/\1/' /etc/systemd/system/mbox-pop3d.service
systemctl daemon-reload
systemctl start mbox-pop3d-tls.socket
fill alice:mail 660
session shared-tls tls
fill alice:mail 660
session shared-stls stls
systemctl reload mbox-pop3d.service
stop mbox-pop3d-tls.socket mbox-pop3d.service >shared-tls.end
log_of --unit=mbox-pop3d.service >shared-tls.log

# The same, and a mailbox that only its user may open.
fill alice:alice 600
session closed
stop mbox-pop3d.service >closed.end
for unit in mbox-pop3d mbox-pop3d-recover; do
  sed -i 's/^#\(.*CAP_DAC_OVERRIDE\)$/\1/' "/etc/systemd/system/$unit.service"
done
systemctl daemon-reload
session override
systemctl start mbox-pop3d-recover.service
log_of --unit=mbox-pop3d-recover.service >override.recover
stop mbox-pop3d.socket mbox-pop3d.service >override.end
log_of --unit=mbox-pop3d.service >shared.log

# The lines for inetd and xinetd, as they stand there.
by_inetd() { # NAME PROGRAM ARGUMENT...
  local name=$1
  shift
  systemd-run --quiet --unit="$name" "$@"
  for _ in {1..600}; do
    grep -qs ':006E 0\+:0000 0A' /proc/net/tcp /proc/net/tcp6 && break
    sleep 0.1
  done
  session "$name"
  systemctl stop "$name.service"
}
if command -v inetd; then
  fill alice:alice 600
  grep ^pop3 $etc/inetd.conf.example >/etc/inetd.conf
  by_inetd nowait inetd -i /etc/inetd.conf
  fill alice:mail 660
  sed -n 's/^#pop3/pop3/p' $etc/inetd.conf.example >/etc/inetd.conf
  by_inetd wait inetd -i /etc/inetd.conf
fi
if command -v xinetd; then
  fill alice:alice 600
  by_inetd xinetd xinetd -dontfork -f $etc/xinetd.d/pop3
fi
log_of --identifier=mbox-pop3d >inetd.log

ls -lnR /var/lib/mbox-pop3d /var/lib/mbox-pop3d-per-user >state 2>&1
systemctl --no-pager --no-legend --failed >failed 2>&1
echo done >end
