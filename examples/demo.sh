#!/usr/bin/env bash
# One question, four agents at once: the main answer, the context, suggestions, and what could go wrong.
#
#   examples/demo.sh                    plays recordings: no agent, no account, no network
#   examples/demo.sh --live [QUESTION]  asks claude, in the folder it is called from, with tools that only read
#
# The picture goes to stderr, the answers to stdout. The exit code is 0 when the main question was answered well.
set -euo pipefail
shopt -s inherit_errexit

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
question='How should we add rate limiting to the login endpoint?'
live=

say() { printf 'demo.sh: %s\n' "$*" >&2; }

while [ $# -gt 0 ]; do
  case $1 in
    --live) live=1 ;;
    -h | --help)
      sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*)
      say "$1: no such option; see --help"
      exit 2
      ;;
    *)
      asked=$1
      ;;
  esac
  shift
done

# The tools: those on PATH, else built here.
tools=(cl-spawn cl-merge cl-tee cl-progress cl-wait cl-replay)
if ! type "${tools[@]}" >/dev/null 2>&1; then
  if ! type cargo >/dev/null 2>&1; then
    say "neither the tools nor cargo are on PATH; get Rust from https://rustup.rs"
    exit 127
  fi
  say 'building the tools (a minute or two, the first time)'
  (cd "$project" && cargo build --quiet --bins) >&2
  PATH=${CARGO_TARGET_DIR:-$project/target}/debug:$PATH
fi

if [ -n "$live" ] && ! type claude >/dev/null 2>&1; then
  say 'claude is not on PATH: playing the recordings'
  live=
fi
if [ -n "$live" ]; then
  question=${asked:-$question}
  agent=(--agent claude --partial --tools Read,Grep,Glob)
else
  [ -z "${asked:-}" ] || say "the recordings answer '$question'; for another question add --live"
  agent=(--agent "replay:$project/examples/recordings")
fi

run=$(mktemp -d "${TMPDIR:-/tmp}/cl-demo.XXXXXX")
say "the run is kept in $run; cl-merge -o text $run shows all of it"

# The others run at a lower priority, so that they cost the main answer nothing.
ask() { cl-spawn "${agent[@]}" "$@"; }

cl-merge \
  <(ask main "$question") \
  <(ask context "$question") \
  <(ask suggestions "$question") \
  <(ask validation "$question") |
  cl-tee --split "$run" |
  cl-progress |
  cl-wait --expect main,context,suggestions,validation --need main --any=3 --grace 2m -o text
