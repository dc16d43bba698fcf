#!/bin/sh
# SLURM on this machine alone, from Debian's packages, for tests/deploy/test_slurm.py and for trying things: run it as root.
# `single_node_slurm.sh stop` ends it. It writes /etc/slurm/slurm.conf unless there is one.
set -eu
place=/var/tmp/gliolake-slurm
if [ "${1:-start}" = stop ]; then
    for daemon in slurmd slurmctld; do [ ! -f "$place/$daemon.pid" ] || kill "$(cat "$place/$daemon.pid")"; done
    exit
fi
command -v slurmctld > /dev/null || { apt-get update && apt-get install --yes --no-install-recommends slurm-wlm munge; }
mkdir -p "$place/state" "$place/spool" /etc/slurm
host=$(hostname -s)
[ -e /etc/slurm/slurm.conf ] || cat > /etc/slurm/slurm.conf <<CONF
ClusterName=gliolake
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.8)}' /proc/meminfo)
PartitionName=cpu Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
[ -e /etc/munge/munge.key ] || mungekey --create
chown -R munge: /etc/munge
mkdir -p /run/munge && chown munge: /run/munge
pgrep -x munged > /dev/null || runuser -u munge -- munged
slurmctld
slurmd
for _ in 1 2 3 4 5 6 7 8 9 10; do sinfo --noheader --states idle | grep -q . && break; sleep 1; done
sinfo
