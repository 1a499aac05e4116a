// The kernels of csrc/kernels/, compiled by the host compiler into the extension.
#include "cuda_on_cpu.hpp"

#include "../kernels/all.cuh"

CUDA_ON_CPU_TABLE(KERNELS, onnxlrp_kernels)
