#!/bin/sh
# Show one process a stand-in's files where a real Proxmox host has them.
#
#   own_mounts.py pve_view.sh NODE FOLDER RUN COMMAND...
#
# Everything is in the mount namespace that own_mounts.py made, and goes with it:
#   /etc/pve             -> FOLDER/etc-pve
#   /run/qemu-server     -> RUN/qemu-server      (also what comes there later)
#   /run/qmeventd.sock   -> RUN/qmeventd.sock    (a link: it may come and go)
set -eu

node=$1 folder=$2 run=$3
shift 3

scratch=$run/view
mkdir -p "$scratch"
mount -t tmpfs tmpfs "$scratch"
mkdir -p "$scratch/etc/pve" "$scratch/etc-work" "$scratch/run/qemu-server" "$scratch/run-work"
ln -s "$run/qmeventd.sock" "$scratch/run/qmeventd.sock"
mount -t overlay -o "lowerdir=/etc,upperdir=$scratch/etc,workdir=$scratch/etc-work" overlay /etc
mount -t overlay -o "lowerdir=/run,upperdir=$scratch/run,workdir=$scratch/run-work" overlay /run
mount --bind "$folder/etc-pve" /etc/pve
mount --bind "$run/qemu-server" /run/qemu-server
hostname "$node"

exec "$@"
