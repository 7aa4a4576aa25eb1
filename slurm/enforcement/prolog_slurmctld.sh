#!/bin/sh
# Second layer: whether a job of a gated partition may start (PrologSlurmctld; runs on the controller as SlurmUser, before any node is touched).
#
# The whole check is slurm/controller.py. This script gives it a clean environment and a time limit, and says no in its name: a message three ways, then the
# job is put back and held, so that members can vote and an admin release it. No node is drained.
# SLURM STARTS the job if this file is missing, cannot be executed or is killed: the nodes' prolog.sh wants the clearance that only a passed check writes.
# `coop slurm install` fills in the next lines.
SITE=/var/lib/coop-site
GATED=coop
SLURM_CONF=/etc/slurm/slurm.conf
PYTHON=/usr/bin/python3
SECONDS_ALLOWED=120
BIN=/usr/bin:/bin

PATH=$BIN
TZ=UTC
export PATH SLURM_CONF TZ
umask 022
job=$SLURM_JOB_ID
restart=${SLURM_JOB_RESTART_COUNT:-0}
# What SLURM calls exactly this job: the last task of an array has the number of the array, which means all of them.
name=$job
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || name=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

is_gated() {
  for one in $(printf %s "${SLURM_JOB_PARTITION:-$GATED}" | tr , ' '); do
    case ",$GATED," in *",$one,"*) return 0 ;; esac
  done
  return 1
}
is_gated || exit 0

# No variable of slurmctld's own environment reaches Python but these.
why=$(env -i PATH="$PATH" SLURM_CONF="$SLURM_CONF" TZ=UTC LC_ALL=C.UTF-8 SLURM_JOB_COMMENT="$SLURM_JOB_COMMENT" SLURM_ARRAY_JOB_ID="${SLURM_ARRAY_JOB_ID:-}" \
  SLURM_ARRAY_TASK_ID="${SLURM_ARRAY_TASK_ID:-}" SLURM_HET_JOB_ID="${SLURM_HET_JOB_ID:-}" timeout --kill-after=5 "$SECONDS_ALLOWED" "$PYTHON" -P -s -m slurm.controller prolog "$SITE" "$job" "$restart" \
  2>>"$SITE/errors.log")
code=$?
case $code in
  0) exit 0 ;;
  10 | 11) ;;
  124 | 137) why="the check of its approval took longer than $SECONDS_ALLOWED s, tell the cluster's admins" ;;
  *) why="the check of its approval could not be made (code $code), tell the cluster's admins" ;;
esac

# It is refused. What follows the last line kills this script, so that comes last.
message="coop: job $job may not start: $why"
rm -f "$SITE/clearance/$job.$restart.json" "$SITE/clearance/$job.$restart.sig"
printf '{"at":"%s","code":%s,"event":"deny","job":%s,"restart":%s}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$code" "$job" "$restart" >>"$SITE/ledger.jsonl"
scontrol update JobId="$name" AdminComment="$message"
scontrol notify "$job" "$message" 2>/dev/null # srun and salloc show it
# The job's own log: written as its user, where that is allowed (SlurmUser=root). A pipe there must not hold us up.
out=$(scontrol show job "$name" | sed -n 's/^   StdOut=//p' | tail -n 1)
if [ -n "$out" ] && [ "$(id -u)" = 0 ]; then
  # shellcheck disable=SC2016  # the inner shell expands them
  timeout 5 setpriv --reuid="$SLURM_JOB_UID" --regid="$SLURM_JOB_GID" --clear-groups sh -c 'printf "%s\n" "$2" >>"$1"' write "$out" "$message" 2>/dev/null
fi
# Its run is complete: there is nothing to wait for, so it leaves the queue. (A session of its own, as below.)
if [ "$code" = 11 ]; then
  setsid scancel "$name" >/dev/null 2>&1 </dev/null &
  wait $! && exit 0
fi
# Put back and held by an admin: its user cannot release it, and `scontrol release` checks again. In a session of its own, for slurmctld kills this one.
# shellcheck disable=SC2016  # the inner shell expands it
setsid sh -c 'scontrol requeuehold "$1" && scontrol hold "$1" || scancel "$1"' hold "$name" >/dev/null 2>&1 </dev/null &
wait $! || exit 1 # back into the queue without a hold, and refused again
exit 0
