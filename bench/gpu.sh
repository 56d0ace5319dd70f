#!/usr/bin/env bash
# Compares the masks of a GPU with those of the CPU, and measures the speed of the GPU. Needs torch with CUDA, numpy,
# scipy and safetensors; no internet. Arguments go to bench/gpu.py. Without a GPU: bench/gpu.sh --device cpu --slices 40
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-python}" -m bench.gpu "$@"
