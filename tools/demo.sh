#!/usr/bin/env bash
# The main job on a bundled model, from a fresh checkout: installs what is missing, builds, plans the
# model to a budget, shows the plan, compares it with plans of the same size made in other ways on
# probes that none of them saw, and prints what the model and its planned form write.
#
# usage: tools/demo.sh [MODEL] [BUDGET]      (default: the bundled novel-1m, 4.5bpw)
# With BITBUDGET=FILE in the environment it runs that binary and installs and builds nothing;
# DEMO_PROBES and DEMO_HELD_OUT_PROBES set the number of probes (48 and 128).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
model=${1:-tools/demo/models/novel-1m}
budget=${2:-4.5bpw}
probes=${DEMO_PROBES:-48}
held_out_probes=${DEMO_HELD_OUT_PROBES:-128}
prompt="It was a cold evening, and the old captain"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command whose output matters only where it fails.
quietly() {
  "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}

bitbudget=${BITBUDGET:-build/release/bitbudget}
if [[ -z ${BITBUDGET:-} ]]; then
  tools/setup.sh
  echo "building build/release/bitbudget (the first time some ten minutes on two cores)"
  quietly cmake --preset release
  build=(cmake --build --preset release --target bitbudget)
  if [[ -t 1 ]]; then  # ninja redraws one line there: how much is done, and for how long
    NINJA_STATUS="[%f of %t, %e s] " "${build[@]}"
  else
    quietly "${build[@]}"
  fi
fi

echo "== The plan: $model at $budget"
"$bitbudget" plan "$model" --budget "$budget" --out "$work/plan.pb" \
  --probes "$probes" --held-out-probes "$held_out_probes" \
  --run-dir "$work/$(basename "$model")-clip.run"  # compare.py's: it runs nothing twice

echo
echo "== The same size, decided in other ways (held-out probes, 95 % intervals; + greedy is better)"
tools/compare.py "$model" --budgets "$budget" --methods "greedy,uniform,LIM order,random order" \
  --probes "$probes" --guard-probes "$held_out_probes" --eval-probes "$held_out_probes" \
  --work "$work" --bitbudget "$bitbudget"

echo
echo "== Greedy continuations of: $prompt"
continuation() {
  "$bitbudget" generate "$model" "$@" --prompt "$prompt" -n 60 | tr '\n' ' ' | fold -s -w 38
}
continuation >"$work/text1"
continuation --plan "$work/plan.pb" >"$work/text2"
printf '%-40s %s\n' "the model as it stands" "planned at $budget"
paste -d '\t' "$work/text1" "$work/text2" | while IFS=$'\t' read -r left right; do
  printf '%-40s %s\n' "$left" "$right"
done
