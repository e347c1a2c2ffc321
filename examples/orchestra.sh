#!/usr/bin/env bash
# Four roles at once on one question, the main answer first in line for the processors; then a follow-up question in
# the conversation of the main one.
#
#   examples/orchestra.sh                                plays recordings: no agent, no account, no network
#   examples/orchestra.sh --live [QUESTION [FOLLOW-UP]]  asks claude, in the folder it is called from
#
# Once the main answer is there, the others have 15 s, until one of them is there too; the rest is cancelled. The
# answers go to stdout, the picture to stderr. The tools have to be on PATH.
set -euo pipefail

question='How should we add rate limiting to the login endpoint?'
more='What would you do first, and what did you leave open?'
run=$(mktemp -d "${TMPDIR:-/tmp}/cl-orchestra.XXXXXX")
recordings=$(dirname "$0")/recordings
case ${1:-} in
  --live)
    first=(--agent claude --partial) next=("${first[@]}" --resume "$run")
    question=${2:-$question} more=${3:-$more}
    ;;
  '') first=(--agent "replay:$recordings") next=(--agent "replay:$recordings/follow-up") ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
play() { cl-spawn "$1" "${first[@]}" "$question"; }

cl-merge <(play main) <(play context) <(play suggestions) <(play validation) |
  cl-tee --split "$run" | cl-progress | cl-wait --need main --any 1 --grace 15s -o text

printf '\n== %s\n\n' "$more"
cl-spawn main "${next[@]}" "$more" | cl-tee --split "$run/follow-up" | cl-wait -o text
echo "orchestra.sh: the run is kept in $run" >&2
