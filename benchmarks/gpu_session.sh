#!/usr/bin/env bash
# The first hours on a GPU in one command: is it right (both loaders), is it clean (compute-sanitizer), is it fast.
#
#   benchmarks/gpu_session.sh LOGS                     # every step in turn
#   benchmarks/gpu_session.sh LOGS nvrtc memcheck      # these alone, where the time for one call is short
#   MINUTES=5 benchmarks/gpu_session.sh LOGS bench     # gpu.py stops after so many minutes
#   LIMIT=300 benchmarks/gpu_session.sh LOGS           # no step takes longer, in seconds (default 900)
#
# Each step writes LOGS/STEP.log, and the next one runs if it fails; LOGS/summary.txt says what came of each. Exit 1 if
# one failed. Needs the extras "cuda" and "test", nvcc for the fatbin, torch and zennit for all of the benchmark.
set -u
STEPS=(about fatbin-build nvrtc fatbin conformance engine memcheck racecheck bench)

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
[ $# -ge 1 ] || usage
case $1 in -*) usage ;; esac
mkdir -p "$1" || exit 2
logs=$(cd "$1" && pwd); shift
cd "$(dirname "$0")/.." || exit 2
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 CI=1
python=${PYTHON:-python3}
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
wanted=("$@"); [ ${#wanted[@]} -gt 0 ] || wanted=("${STEPS[@]}")
failed=0
: >"$logs/summary.txt"

limited() { timeout -k 10 "${LIMIT:-900}" "$@"; }
tests() { limited "$python" -m pytest -q -p no:cacheprovider "$@"; }
sanitized() { # a tool, then tests
  local tool=$1
  shift
  limited "$sanitizer" --tool "$tool" --error-exitcode 9 --target-processes all --log-file "$logs/$tool.report" \
    "$python" -m pytest -q -x -p no:cacheprovider --kernels nvrtc "$@"
}

step_about() { nvidia-smi; limited "$python" -m onnxlrp doctor --json >"$logs/doctor.json"; limited "$python" -m onnxlrp doctor; }
step_fatbin-build() { limited "$python" -m onnxlrp.engines.cuda.build; }
step_nvrtc() { tests tests/cuda/test_kernels.py tests/cuda/test_gemm.py tests/cuda/test_compile.py --kernels nvrtc; }
step_fatbin() { tests tests/cuda/test_kernels.py tests/cuda/test_gemm.py --kernels fatbin; }
step_conformance() { tests tests/program tests/layers tests/rules -k "cuda or plain" --kernels nvrtc; }
step_engine() { tests tests/cuda/test_engine.py --kernels nvrtc; }
step_memcheck() { sanitized memcheck tests/cuda/test_kernels.py tests/cuda/test_gemm.py; }
step_racecheck() { sanitized racecheck tests/cuda/test_kernels.py tests/cuda/test_gemm.py; }
step_bench() { limited "$python" benchmarks/gpu.py --minutes "${MINUTES:-9}" --json "$logs/gpu.json"; }

for step in "${wanted[@]}"; do
  if ! declare -F "step_$step" >/dev/null; then
    echo "no step \"$step\": ${STEPS[*]}" >&2
    failed=1
    continue
  fi
  start=$SECONDS
  printf '== %s\n' "$step"
  "step_$step" >"$logs/$step.log" 2>&1
  code=$?
  [ "$code" -eq 0 ] && verdict=ok || { verdict="FAILED ($code)"; failed=1; }
  line=$(printf '%-13s %-13s %5d s  %s' "$step" "$verdict" $((SECONDS - start)) "$(grep -v '^ *$' "$logs/$step.log" | tail -n 1 | cut -c1-90)")
  echo "$line" | tee -a "$logs/summary.txt"
done
echo "logs in $logs"
exit "$failed"
