#!/bin/bash
# Makes examples/recordings anew: one question, a claude in each of seven roles, answers from a script.
#
#   examples/record.sh [FOLDER]
#
# They are written into FOLDER (examples/recordings).
# It needs claude on PATH and this repository; no account and no network, for the claudes talk to a scripted API on
# this machine. What they are asked stands below, what the "model" answers in examples/recordings/script.json, and what
# they look at is the small shop in examples/shop.
set -euo pipefail
shopt -s inherit_errexit

question='How should we add rate limiting to the login endpoint?'

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/recordings}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$here/.."
command -v claude >/dev/null || { echo "record.sh: claude is not on PATH: npm install -g @anthropic-ai/claude-code" >&2; exit 1; }
cargo build --quiet --bin cl-spawn --example fixture
target=${CARGO_TARGET_DIR:-$PWD/target}/debug

# Folders whose names are as long as those that the recordings show, so that no count in them is wrong.
shop=$(mktemp -d /tmp/XXXX) home=$(mktemp -d /tmp/XXXX)
shown_shop=/srv/shop shown_home=/srv/home
api=
cleanup() {
  [ -z "$api" ] || kill "$api" 2>/dev/null || true
  rm -rf "$shop" "$home"
}
trap cleanup EXIT
cp -r examples/shop/. "$shop"

mkfifo "$home/port"
"$target/examples/fixture" api script=examples/recordings/script.json delay=0.08 >"$home/port" </dev/null &
api=$!
read -r port <"$home/port"

record() { # FILE ROLE OPTION... PROMPT
  local file=$folder/$1.ndjson
  shift
  env -i HOME="$home" PATH="$PATH" LANG=C.UTF-8 TERM=dumb TMPDIR="$home" CLAUDE_CODE_TMPDIR="$home" \
    ANTHROPIC_BASE_URL="http://127.0.0.1:$port" ANTHROPIC_API_KEY=sk-ant-scripted \
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_AUTOUPDATER=1 DISABLE_TELEMETRY=1 \
    "$target/cl-spawn" --cwd "$shop" --partial "$@" |
    sed -e "s|$shop|$shown_shop|g" -e "s|${shop//\//-}|${shown_shop//\//-}|g" -e "s|$home|$shown_home|g" \
      -e "s|\"host\":\"[^\"]*\"|\"host\":\"demo\"|" >"$file"
}

for role in main context suggestions validation quick; do
  record "$role" "$role" "$question"
done
# Each built on the one before.
record enhanced enhanced --run "$folder" "$question"
record complete complete --run "$folder" "$question"
# The conversation of main goes on.
mkdir -p "$folder/follow-up"
record follow-up/main main --resume "$folder" 'What would you do first, and what did you leave open?'
wc -c "$folder"/*.ndjson "$folder"/follow-up/*.ndjson
