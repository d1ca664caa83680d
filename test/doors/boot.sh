#!/bin/bash
# Boots a second systemd over a throw-away copy of this host's root file system, in namespaces of its own
# (mounts, processes, network), runs in-machine.sh in it, and shuts it down. Nothing of this host changes, and
# no port of it is used. Needs root, overlayfs, systemd-nspawn.
#
# usage: unshare --mount boot.sh SCRATCH NODE
#   SCRATCH  has what goes in: package/ is the installed package, results/ has the set-up of the README, and
#            gets what comes out
set -euo pipefail
scratch=$1
node=$2
here=$(cd "$(dirname "$0")" && pwd)

# What is mounted here is gone with the mount namespace.
mkdir "$scratch/disk"
mount -t tmpfs tmpfs "$scratch/disk"
mkdir "$scratch"/disk/{upper,work,root}
root=$scratch/disk/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/disk/upper,workdir=$scratch/disk/work" "$root"

# Not what is set up on this host; and no service of it is started.
: >"$root/etc/machine-id"
rm -rf "$root"/etc/mbox-pop3d "$root"/var/lib/mbox-pop3d* "$root"/var/mail/* "$root"/var/log/journal
rm -rf "$root"/etc/systemd/system/*.wants/* "$root"/usr/lib/node_modules/mbox-pop3d
sed -i '/^\(mbox-pop3d\|alice\):/d' "$root"/etc/{passwd,shadow,group,gshadow}

mkdir -p "$root/usr/lib/node_modules"
cp -a "$scratch/package" "$root/usr/lib/node_modules/mbox-pop3d"
rm -f "$root/usr/bin/node"
cp "$node" "$root/usr/bin/node"
# They may be unpacked anywhere.
for name in inetd xinetd; do
  if path=$(command -v "$name"); then cp "$path" "$root/usr/local/sbin/$name"; fi
done

cp "$here/session.mjs" "$here/in-machine.sh" "$scratch/results/"
cat >"$root/etc/systemd/system/doors.service" <<UNIT
[Unit]
After=basic.target
Requires=basic.target
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/bash /results/in-machine.sh
StandardOutput=file:/results/steps
StandardError=inherit
UNIT

exec systemd-nspawn --quiet --directory="$root" --bind="$scratch/results:/results" --boot \
  --register=no --keep-unit --private-network --kill-signal=SIGRTMIN+4 systemd.unit=doors.service
