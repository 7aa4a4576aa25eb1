#!/bin/sh
# Third layer: no job of a gated partition without the site's signed clearance for exactly this start (Prolog with PrologFlags=Alloc; runs on each node as root).
#
# It covers every way in which the controller's check can be passed by: missing, not executable, killed, another controller. It needs no Python, no log and no
# key but the site's public one. A job without clearance is cancelled; the node is drained only if even that cannot be done.
# `coop slurm install` fills in the next lines.
SITE=/var/lib/coop-site
GATED=coop
SLURM_CONF=/etc/slurm/slurm.conf
COOP=sha256:0000000000000000000000000000000000000000000000000000000000000000
AUTHOR=s-site
BIN=/usr/bin:/bin

PATH=$BIN
LC_ALL=C
TZ=UTC
export PATH LC_ALL TZ SLURM_CONF
job=$SLURM_JOB_ID
restart=${SLURM_JOB_RESTART_COUNT:-0}
file=$SITE/clearance/$job.$restart

is_gated() {
  for one in $(printf %s "${SLURM_JOB_PARTITION:-$GATED}" | tr , ' '); do
    case ",$GATED," in *",$one,"*) return 0 ;; esac
  done
  return 1
}
is_gated || exit 0

# The job's own description; where its number is an array's too, SLURM shows every task. A user's text may look like lines of it, but cannot take away the true
# ones: what is there twice is refused.
show() { scontrol show job "$job" | awk -v head="JobId=$job" '/^JobId=/ { own = $1 == head; if (own) n++ } own { print } END { exit n != 1 }'; }
described=$(show)
clear=$?
# What SLURM calls exactly this job.
name=$(printf '%s\n' "$described" | sed -n '1s/^JobId=[0-9]* ArrayJobId=\([0-9]*\) ArrayTaskId=\([0-9]*\) .*/\1_\2/p')
name=${name:-$job}

refuse() {
  scontrol update JobId="$name" AdminComment="coop: job $job may not start: $1"
  scontrol notify "$job" "coop: job $job may not start: $1" 2>/dev/null
  scancel "$name" || exit 1
  # slurmd holds the job's script back until this script ends, and drops it if SLURM's order to end the job has come by then. That takes milliseconds, but no
  # answer tells that it has arrived.
  sleep 3
  exit 0
}

{ [ -f "$file.json" ] && [ -f "$file.sig" ]; } || refuse "there is no clearance for it, the check on the controller did not run"
# One read: what is verified is what is looked at below. Canonical JSON holds no line break.
body=$(head -c 4096 "$file.json")
printf %s "$body" | timeout 20 ssh-keygen -Y verify -f "$SITE/allowed_signers" -I "$AUTHOR" -n coop-statement@v1 -s "$file.sig" >/dev/null 2>&1 ||
  refuse "its clearance is not signed by the site"
# When it was submitted tells it from an earlier job of this number.
[ "$clear" = 0 ] || refuse "SLURM's description of it is not clear"
submitted=$(printf '%s\n' "$described" | sed -n 's/^   SubmitTime=\([-0-9T:]*\) .*/\1/p')
submitted=$(date -u -d "${submitted:-nothing}" +%s 2>/dev/null) || refuse "SLURM does not say when it was submitted"
expires=$(printf %s "$body" | sed -n 's/.*"payload":{[^{}]*"expires":"\([-0-9T:]*Z\)".*/\1/p')
for part in "{\"author\":\"$AUTHOR\",\"coop\":\"$COOP\"," "\"type\":\"coop.clearance/v1\"}" "\"job\":$job," "\"restart\":$restart," "\"user\":$SLURM_JOB_UID}" \
  "\"submitted\":$submitted,"; do
  case $body in *"$part"*) ;; *) refuse "its clearance is for another start" ;; esac
done
expr "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \< "${expires:-0}" >/dev/null || refuse "its clearance has expired"
exit 0
