#!/usr/bin/env bash
# The first hours on a GPU, step by step: is it right (both loaders), is it clean (compute-sanitizer), is it fast.
#
#   benchmarks/gpu_session.sh LOGS                     # every step in turn: about an hour
#   benchmarks/gpu_session.sh LOGS about first nvrtc   # these alone, where one call may not take long
#   benchmarks/gpu_session.sh --list                   # the steps, in order of worth
#   MINUTES=5 benchmarks/gpu_session.sh LOGS bench     # gpu.py stops after so many minutes (default 7)
#   LIMIT=300 benchmarks/gpu_session.sh LOGS           # no step takes longer, in seconds (default 540)
#   ARGS="-k dense" benchmarks/gpu_session.sh LOGS memcheck     # more words for pytest
#
# Each step writes LOGS/STEP.log, and the next one runs if it fails; LOGS/summary.txt gets a line for each. Exit 1 if one
# failed. Nothing is fetched, and the package need not be installed. Wants CuPy, onnxruntime, pytest and hypothesis; nvcc
# for the fatbin; torch (and zennit) for networks and contenders. PYTHON names the interpreter.
set -u
STEPS=(about first fatbin-build nvrtc fatbin engine bench conformance memcheck memcheck-gemm racecheck racecheck-gemm
  initcheck profile bench-layers)

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0"; exit "$1"; }
[ $# -ge 1 ] || usage 2
case $1 in
  --list) printf '%s\n' "${STEPS[@]}"; exit ;;
  -h | --help) usage 0 ;;
  -*) usage 2 ;;
esac
mkdir -p "$1" || exit 2
logs=$(cd "$1" && pwd); shift
cd "$(dirname "$0")/.." || exit 2
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 CI=1
python=$(command -v "${PYTHON:-python3}" || echo "${PYTHON:-python3}")
tool() { command -v "$1" || echo "/usr/local/cuda/bin/$1"; }
wanted=("$@"); [ ${#wanted[@]} -gt 0 ] || wanted=("${STEPS[@]}")
failed=0

limited() { timeout -k 10 "${LIMIT:-540}" "$@"; }
read -ra more <<<"${ARGS:-}"
tests() { limited "$python" -m pytest -q -p no:cacheprovider -m "slow or not slow" --durations 5 "$@" "${more[@]}"; }
sanitized() { # a tool, then tests
  local tool=$1
  shift
  limited "$(tool compute-sanitizer)" --tool "$tool" --error-exitcode 9 --log-file "$logs/$tool.report" \
    "$python" -m pytest -q -x -p no:cacheprovider -m "slow or not slow" --kernels nvrtc --exact-memory "$@" "${more[@]}"
}
bench() { limited "$python" benchmarks/gpu.py --minutes "${MINUTES:-7}" "$@"; }

step_about() {
  nvidia-smi
  "$python" -m pip list 2>/dev/null
  limited "$python" -m onnxlrp doctor --json >"$logs/doctor.json" && limited "$python" -m onnxlrp doctor
}
step_first() { # the shortest way through all of it: launched, captured, replayed
  limited "$python" -m onnxlrp explain models/digits.onnx models/samples/digit_7.png -v --engine cuda -o "$logs/digit_7.png" &&
    limited "$python" benchmarks/gpu.py --tiny --json "$logs/tiny.json"
}
step_fatbin-build() { limited "$python" -m onnxlrp.engines.cuda.kernels.build; }
step_nvrtc() { tests tests/engines/cuda/test_kernels.py tests/engines/cuda/test_gemm.py tests/engines/cuda/test_cublas.py --kernels nvrtc; }
step_fatbin() { tests tests/engines/cuda/test_kernels.py tests/engines/cuda/test_gemm.py --kernels fatbin; }
step_conformance() { tests tests/program tests/layers tests/rules -k "cuda or plain" --kernels nvrtc; }
step_engine() { tests tests/engines/cuda/test_engine.py tests/engines/cuda/test_precision.py --kernels nvrtc; }
step_memcheck() { sanitized memcheck tests/engines/cuda/test_kernels.py; }
step_memcheck-gemm() { sanitized memcheck tests/engines/cuda/test_gemm.py; }
step_racecheck() { sanitized racecheck tests/engines/cuda/test_kernels.py -k "linear_maps or dense or sums or classes"; }
step_racecheck-gemm() { sanitized racecheck tests/engines/cuda/test_gemm.py; }
step_initcheck() { sanitized initcheck tests/engines/cuda/test_engine.py -k "models or memory"; }
step_bench() { bench --no-layers --json "$logs/gpu.json"; }
step_bench-layers() { bench --networks resnet50 --batches 16 --json "$logs/gpu-layers.json"; }
step_profile() { # hardware counters of every kernel of one picture
  local model=${TMPDIR:-/tmp}/onnxlrp-bench/resnet50.onnx
  [ -f "$model" ] || model=models/shapes.onnx
  limited "$(tool ncu)" --target-processes application-only --clock-control none --csv --log-file "$logs/ncu.csv" \
    --metrics gpu__time_duration.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed,dram__throughput.avg.pct_of_peak_sustained_elapsed \
    "$python" -m onnxlrp explain "$model" models/samples/scene_star.png --engine cuda -o "$logs/profiled.png"
}

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
  line=$(printf '%-14s %-13s %5d s  %s' "$step" "$verdict" $((SECONDS - start)) "$(grep -v '^ *$' "$logs/$step.log" | tail -n 1 | cut -c1-90)")
  echo "$line" | tee -a "$logs/summary.txt"
done
echo "logs in $logs"
exit "$failed"
