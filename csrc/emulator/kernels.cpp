// The kernels of csrc/kernels, compiled into the extension by the host compiler.
#include "cuda_on_cpu.hpp"

#include "../kernels/all.cuh"

CUDA_ON_CPU_TABLE(KERNELS, onnxlrp_kernels)
