#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, whose files live in a folder.
#
#     tests/cluster/slurm.sh install        # Debian's slurm-wlm and munge, if absent
#     tests/cluster/slurm.sh start FOLDER   # links /etc/slurm/slurm.conf to the folder
#     tests/cluster/slurm.sh stop FOLDER    # ends jobs and daemons, removes the link
#
# Needs root. Nothing is measured or confined (proctrack/linuxproc, task/none), so it works in a
# container as well.
set -euo pipefail

CONF=/etc/slurm/slurm.conf

install() {
    if command -v slurmctld slurmd munged >/dev/null; then return; fi
    # The packages would start services of their own, without a configuration.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

start() {
    local at=$1 node
    if [ -e $CONF ]; then
        echo "$CONF is there: this machine belongs to a Slurm cluster already" >&2
        return 1
    fi
    node=$(hostname -s)
    mkdir -p "$at"/{state,spool,munge}
    chmod 700 "$at/munge"
    dd if=/dev/urandom of="$at/munge/key" bs=128 count=1 status=none
    chmod 600 "$at/munge/key"
    cat >"$at/slurm.conf" <<EOF
ClusterName=one
SlurmctldHost=$node(localhost)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthInfo=socket=$at/munge/socket
StateSaveLocation=$at/state
SlurmdSpoolDir=$at/spool
SlurmctldPidFile=$at/slurmctld.pid
SlurmdPidFile=$at/slurmd.pid
SlurmctldLogFile=$at/slurmctld.log
SlurmdLogFile=$at/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
MinJobAge=600
KillWait=2
ReturnToService=2
NodeName=$node NodeAddr=localhost CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1100)}' /proc/meminfo)
PartitionName=main Nodes=ALL Default=YES State=UP
EOF
    munged --force --key-file="$at/munge/key" --socket="$at/munge/socket" \
        --pid-file="$at/munge/pid" --log-file="$at/munge/log" --seed-file="$at/munge/seed"
    ln -sf "$at/slurm.conf" $CONF # jobs lose SLURM_CONF on the way
    slurmctld
    slurmd -N "$node"
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then return; fi
        sleep 0.5
    done
    echo "the node did not come up in 30 s:" >&2
    tail -n 5 "$at"/slurm*.log >&2
    return 1
}

stop() {
    local at=$1 pid
    scancel --user="$(id -un)" 2>/dev/null || true
    for pid in "$at"/slurmd.pid "$at"/slurmctld.pid "$at"/munge/pid; do
        if [ -s "$pid" ]; then kill "$(cat "$pid")" 2>/dev/null || true; fi
    done
    if [ "$(readlink $CONF)" = "$at/slurm.conf" ]; then rm $CONF; fi
}

case ${1:-} in
install) install ;;
start) start "$(realpath -m "$2")" ;;
stop) stop "$(realpath -m "$2")" ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
