#!/usr/bin/env bash
# A tmux window that shows a run: the display above, and below it a pane for each stream with its text as it comes.
#
#   examples/tmux.sh                     plays recordings: no agent, no account, no network
#   examples/tmux.sh --live [QUESTION]   asks claude, in the folder it is called from
#
# Inside tmux it opens a window there, outside a session of its own. Closing the window ends the run and all that belongs
# to it. Without a terminal it runs unseen, and prints the answers. The tools and tmux (3.2 or later) have to be on PATH.
set -euo pipefail

# Who is asked what: change these as you like.
streams=(main context suggestions validation)
question='How should we add rate limiting to the login endpoint?'
enough=(--need main --any=3 --grace 2m)
live=(--agent claude --partial)
ask() { cl-spawn "${agent[@]}" "$1" "$question"; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
agent=(--agent "replay:$here/recordings")
mode=${1:-}
case $mode in
  --live) agent=("${live[@]}") question=${2:-$question} ;;
  --display) # what the first pane runs: the folder of the run, then what we were called with
    run=$2 question=$3
    [ "$4" != --live ] || agent=("${live[@]}")
    code=0
    { for stream in "${streams[@]}"; do ask "$stream" & done; wait; } |
      cl-merge | cl-tee --split "$run" | cl-progress |
      cl-wait --expect "$(IFS=,; echo "${streams[*]}")" "${enough[@]}" -o text >"$run/answers.md" || code=$?
    echo "$code" >"$run/code"
    tmux wait-for -S "$run"
    printf 'The answers are in %s. Enter closes the window. ' "$run/answers.md"
    read -r
    exec tmux kill-window -t "$TMUX_PANE"
    ;;
  '') ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

run=$(mktemp -d "${TMPDIR:-/tmp}/cl-tmux.XXXXXX")
new=(-n agents -P -F '#{pane_id}' -e "PATH=$PATH" bash "$here/tmux.sh" --display "$run" "$question" "$mode")
tmux=(tmux)
if [ -n "${TMUX:-}" ]; then
  pane=$(tmux new-window "${new[@]}")
else
  # A server of its own: it ends with the window, and its environment is ours.
  tmux+=(-u -L "cl-${run##*.}")
  pane=$("${tmux[@]}" new-session -d -x "${COLUMNS:-160}" -y "${LINES:-48}" "${new[@]}")
fi
# What a stream said stays to be read when it has ended.
"${tmux[@]}" set-option -w -t "$pane" remain-on-exit on
last=$pane
for stream in "${streams[@]}"; do
  # Tiled as long as panes come, so that there is room for the next one.
  last=$("${tmux[@]}" split-window -d -t "$last" -P -F '#{pane_id}' -e "PATH=$PATH" cl-merge -f -o text --color always --only "$stream" "$run" \; \
    select-layout -t "$pane" tiled)
done
"${tmux[@]}" set-option -w -t "$pane" main-pane-height $((4 + 3 * ${#streams[@]})) \; select-layout -t "$pane" main-horizontal

if [ -n "${TMUX:-}" ]; then
  echo "tmux.sh: the run is kept in $run" >&2
elif [ -t 0 ] && [ -t 1 ]; then
  "${tmux[@]}" attach
  echo "tmux.sh: the run is kept in $run" >&2
else
  trap '"${tmux[@]}" kill-server 2>/dev/null || true' EXIT
  "${tmux[@]}" wait-for "$run"
  cat "$run/answers.md"
  exit "$(cat "$run/code")"
fi
