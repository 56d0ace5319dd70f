#!/usr/bin/env bash
# Whether a GPU's masks are the CPU's, and how fast it is, measured on this machine: needs torch with CUDA, numpy, scipy
# and safetensors; no internet. Arguments go to bench/gpu.py; `bench/gpu.sh --device cpu --slices 40` is a rehearsal.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-python}" -m bench.gpu "$@"
