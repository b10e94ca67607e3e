#!/usr/bin/env bash
# The main job on a bundled model, from a fresh checkout: installs what is missing, builds, plans the
# model to a budget, shows the plan, compares it with plans of the same size made in other ways on
# probes that none of them saw, and prints what the model and its planned form write.
#
# usage: tools/demo.sh [MODEL] [BUDGET]      (default: the bundled novel-1m, 4.5bpw)
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-tools/demo/models/novel-1m}
budget=${2:-4.5bpw}
prompt="It was a cold evening, and the old captain"

tools/setup.sh
cmake --preset release >build-demo.log 2>&1 || { cat build-demo.log >&2; rm -f build-demo.log; exit 1; }
cmake --build --preset release --target bitbudget >build-demo.log 2>&1 || { cat build-demo.log >&2; rm -f build-demo.log; exit 1; }
rm -f build-demo.log
bitbudget=build/release/bitbudget
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== The plan: $model at $budget"
"$bitbudget" plan "$model" --budget "$budget" --out "$work/plan.pb" --probes 48 --held-out-probes 128
name=$(basename "$model")
cp "$work/plan.pb" "$work/$name-$budget-greedy.pb"

echo
echo "== The same size, decided in other ways (held-out probes, 95 % intervals; + greedy is better)"
tools/compare.py "$model" --budgets "$budget" --methods "greedy,uniform,LIM order,random order" \
  --probes 48 --eval-probes 128 --work "$work"

echo
echo "== Greedy continuations of: $prompt"
for plan in "" "$work/plan.pb"; do
  "$bitbudget" generate "$model" ${plan:+--plan "$plan"} --prompt "$prompt" -n 60 |
    tr '\n' ' ' | fold -s -w 38 >"$work/text$([ -z "$plan" ] && echo 1 || echo 2)"
done
printf '%-40s %s\n' "the model as it stands" "planned at $budget"
paste -d '\t' "$work/text1" "$work/text2" | while IFS=$'\t' read -r left right; do
  printf '%-40s %s\n' "$left" "$right"
done
