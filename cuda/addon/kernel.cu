// This is the only translation unit that nvcc compiles.
#include "../kernel/dispatch_layout.cuh"
#include "../kernel/permutation.cuh"
