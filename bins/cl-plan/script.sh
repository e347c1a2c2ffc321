
usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

keep= undo=
while [ $# -gt 0 ]; do
  case $1 in
    -k) keep=1 ;;
    -u) undo=1 ;;
    -j) jobs=${2-} && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    -*) say "$1: no such option; see --help" && exit 2 ;;
    *) break ;;
  esac
  shift
done
case $jobs in '' | *[!0-9]*) say "-j '$jobs': write a number; 0 is one a core" && exit 2 ;; esac
((jobs)) || jobs=$(nproc)
type cl-spawn cl-tee cl-merge cl-wait >/dev/null || exit 127

state=${XDG_STATE_HOME:-$HOME/.local/state}/cl
umask 077
if [ $# -gt 0 ]; then
  run=$1
else
  run=$state/runs/$(date +%Y-%m-%dT%H%M%S.%3N)-$name
fi
mkdir -p "$run" && run=$(cd "$run" && pwd) || exit 1
[ $# -gt 0 ] || ln -sfn "$run" "$state/runs/latest"
plan >"$run/plan.toml" || exit 1
say "the run is kept in $run"

# An agent that is asked on its stdin: NAME PROMPT OPTION...
ask() {
  local stream=$1 prompt=$2 codes
  shift 2
  printf %s "$prompt" | cl-spawn "$stream" --run "$run" "$@" | cl-tee --split "$run"
  codes=("${PIPESTATUS[@]}")
  return $((codes[1] ? codes[1] : codes[2]))
}

# A command: NAME OPTION... -- COMMAND...
spawn() {
  local codes
  cl-spawn "$@" | cl-tee --split "$run"
  codes=("${PIPESTATUS[@]}")
  return $((codes[0] ? codes[0] : codes[1]))
}

# A stream's answer, or that of the one that stood in for it; nothing, where there is none.
answer() {
  local one=$1
  while [ "${fate[$one]}" != well ] && [ -n "${stand_in[$one]-}" ]; do one=${stand_in[$one]}; done
  [ "${fate[$one]}" = well ] || one=$1
  [ ! -e "$run/$one.ndjson" ] || cl-wait --expect "$one" -o text "$run/$one.ndjson"
}

# The worktree of a stream, in $tree: made, or the one that is there. git's own locks are taken one after the other.
worktree() { # FOLDER BRANCH
  local common lock
  if [ -z "$1" ] || [ ! -e "$1" ]; then
    common=$(git rev-parse --path-format=absolute --git-common-dir) || return 1
    tree=${1:-${common%/.git}.worktrees/$2}
    exec {lock}>>"$common/cl-worktrees.lock" && flock "$lock" || return 1
    if [ ! -e "$tree" ]; then
      git worktree prune || return 1
      if git show-ref --verify --quiet "refs/heads/$2"; then
        git worktree add --quiet "$tree" "$2" >&2 || return 1
      else
        git worktree add --quiet -b "$2" "$tree" >&2 || return 1
      fi
    fi
    exec {lock}>&-
  else
    tree=$1
  fi
  tree=$(cd "$tree" && pwd) || return 1
  [ "$(git -C "$tree" rev-parse --show-toplevel)" = "$(cd "$tree" && pwd -P)" ] || {
    say "$tree: there, but no worktree of git; move it away"
    return 1
  }
}

# Takes a stream's locks, in the order of their names, as every plan does.
lock() {
  local one fd
  [ -z "${locks[$1]-}" ] || mkdir -p "$state/locks" || return 1
  for one in ${locks[$1]-}; do
    exec {fd}>>"$state/locks/$one" || return 1
    flock "$fd" &
    trap 'kill $!; exit 1' TERM
    wait $! || return 1
    trap : TERM
  done
}

# One stream in a process of its own; how it ended goes to the scheduler.
job() {
  trap 'echo "$1 $?" >&9' EXIT
  trap : TERM
  tree=
  lock "$1" && work "$1"
}

# A stream's fate with those that stand in for it, in $settled.
settle() {
  local one=$1
  settled=${fate[$one]}
  while [ -n "$one" ]; do
    [ "${fate[$one]}" != well ] || settled=well
    one=${stand_in[$one]-}
  done
}

# What becomes of a stream that waits, in $decision.
decide() {
  local one bad='' failed='' unneeded=''
  decision=start
  for one in ${before[$1]-}; do
    case ${fate[$one]} in waiting | running) decision=wait && return ;; esac
  done
  for one in ${after[$1]-}; do
    settle "$one"
    case $settled in
      failed) failed=1 && [ -n "${optional[$one]-}" ] || bad=${bad:-$one} ;;
      skipped) failed=1 bad=${bad:-$one} ;;
      unneeded) unneeded=1 ;;
    esac
  done
  if [ -n "${instead[$1]-}" ]; then
    case ${fate[${instead[$1]}]} in
      failed) [ -z "$bad" ] || [ "$bad" = "${instead[$1]}" ] || decision=skipped ;;
      skipped) decision=skipped ;;
      *) decision=unneeded ;;
    esac
    return
  fi
  case ${when[$1]-success} in
    failure) [ -n "$failed" ] || decision=unneeded ;;
    success)
      if [ -n "$bad" ] || [ -n "$halt" ]; then decision=skipped; elif [ -n "$unneeded" ]; then decision=unneeded; fi
      ;;
  esac
}

# Starts what may start, and settles what will not.
advance() {
  local one changed=1
  while [ -n "$changed" ]; do
    changed=
    for one in "${order[@]}"; do
      [ "${fate[$one]}" = waiting ] || continue
      if [ -n "$over" ]; then decision=skipped; else decide "$one"; fi
      case $decision in
        wait) ;;
        start)
          ((running < jobs)) || continue
          fate[$one]=running
          job "$one" >&8 8>&- &
          pids[$one]=$!
          running=$((running + 1))
          ;;
        *)
          [ "$decision$over" != skipped ] || say "$one: skipped, for what it builds on did not end well"
          fate[$one]=$decision
          changed=1
          ;;
      esac
    done
  done
}

stop() {
  over=1 signal=$1
  kill -TERM "$merged" "${pids[@]}" 2>/dev/null
}

declare -A fate=() pids=()
for one in "${order[@]}"; do fate[$one]=waiting; done
halt= over= gone= signal= running=0 well=()
rm -f "$run/.ended"
mkfifo "$run/.ended" || exit 1
exec 9<>"$run/.ended"
rm -f "$run/.ended"
merge
merged=$!
trap 'stop 1' HUP
trap 'stop 2' INT
trap 'stop 15' TERM

advance
while ((running)); do
  read -r -u 9 one code || continue
  running=$((running - 1))
  unset "pids[$one]"
  case $code in
    0) fate[$one]=well && well=("$one" "${well[@]}") ;;
    *)
      fate[$one]=failed
      # The reader has what it wants, or is gone: nothing else is to start.
      [ "$code" != 141 ] || over=1 gone=1
      [ -n "$keep${optional[$one]-}${stand_in[$one]-}" ] || halt=$halts
      ;;
  esac
  advance
done
exec 8>&-
while :; do
  wait "$merged"
  code=$?
  kill -0 "$merged" 2>/dev/null || break
done

unwell=
for one in "${order[@]}"; do
  settle "$one"
  case $settled in well | unneeded) continue ;; esac
  [ -n "${optional[$one]-}${instead[$one]-}" ] || unwell="$unwell $one"
done
verdict
if [ "$code" != 0 ] && [ -n "$undo" ]; then
  for one in "${well[@]}"; do
    undo "$one" >&2 || say "$one: its undo failed with $?"
  done
fi
[ -z "$signal" ] || exit $((128 + signal))
exit "$code"
