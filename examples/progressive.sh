#!/usr/bin/env bash
# A quick answer at once, then a better one that is built on it, then the full one.
#
#   examples/progressive.sh                   plays recordings: no agent, no account, no network
#   examples/progressive.sh --live [QUESTION] asks claude, in the folder it is called from
#
# Each answer comes as it is written. The tools have to be on PATH.
set -euo pipefail

question='How should we add rate limiting to the login endpoint?'
case ${1:-} in
  --live) agent=(--agent claude --partial) question=${2:-$question} ;;
  '') agent=(--agent "replay:$(dirname "$0")/recordings") ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

run=$(mktemp -d "${TMPDIR:-/tmp}/cl-progressive.XXXXXX")
for role in quick enhanced complete; do
  cl-spawn "$role" "${agent[@]}" --run "$run" "$question" | cl-tee --split "$run" | cl-merge -o text
done
echo "progressive.sh: the run is kept in $run; cl-wait $run -o text shows the answers" >&2
