#!/bin/bash
# Runs inside the booted machine, as root, with everything installed: takes both set-ups of systemd from
# nothing to mail that is read and deleted. Each step's output is a file in /results.
cd /results || exit 1
program=/usr/lib/node_modules/mbox-pop3d

fill() { # OWNER MODE: alice's mailbox, two messages
  printf 'From bob@example.net Mon Jan  5 10:0%d:00 2026\nSubject: %s\n\nHello.\n\n' 0 one 1 two >/var/mail/alice
  chown "$1" /var/mail/alice
  chmod "$2" /var/mail/alice
}
session() { # NAME: one session as alice, and what is left of her mailbox
  timeout 30 /usr/bin/node /results/session.mjs alice 'sesame, öffne dich' >"$1.session" 2>&1
  cat /var/mail/alice >"$1.mailbox"
  ls -ln /var/mail >"$1.spool"
}
log_of() { journalctl --no-pager --quiet --output=json --output-fields=PRIORITY,MESSAGE --unit="$1"; }
stop() { # UNIT...: how they ended
  timeout 30 systemctl stop "$@"
  systemctl show --property=Id,Result,ExecMainStatus "$@"
}

id mbox-pop3d >account 2>&1
stat -c '%U:%G %a' /etc/mbox-pop3d >directory 2>&1
useradd --uid 4001 --no-create-home alice
echo 'alice:sesame, öffne dich' | chpasswd --crypt-method YESCRYPT
systemd-analyze security --no-pager mbox-pop3d.service >security 2>&1

# The shared server: accounts of its users file.
getent shadow alice | cut -d: -f1,2 >/etc/mbox-pop3d/users
chown root:mail /etc/mbox-pop3d/users
chmod 640 /etc/mbox-pop3d/users
fill alice:mail 660
systemctl start mbox-pop3d.socket
session shared
systemctl show --property=ActiveState,StatusText,NRestarts mbox-pop3d.service >shared.state
stop mbox-pop3d.service >shared.end

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
log_of mbox-pop3d-recover.service >override.recover
stop mbox-pop3d.socket mbox-pop3d.service >override.end
log_of mbox-pop3d.service >shared.log

# A process for each user: the accounts of the system.
fill alice:alice 600
systemctl start mbox-pop3d-per-user.socket
session per-user
systemctl start mbox-pop3d-per-user-recover.service
log_of mbox-pop3d-per-user-recover.service >per-user.recover
stop mbox-pop3d-per-user.socket >per-user.end
log_of 'mbox-pop3d-per-user@*.service' >per-user.log
ls -lnR /var/lib/mbox-pop3d /var/lib/mbox-pop3d-per-user >state 2>&1
systemctl --no-pager --no-legend --failed >failed 2>&1
ls "$program" >/dev/null && echo done >end
