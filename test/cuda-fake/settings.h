// A fake CUDA runtime on the CPU, so that the addon and everything above it run, unchanged, on a machine without a GPU.
// It is a shared library, so that another library in the same process can use it too (`other_library.cpp`).
//   devices.h   the devices, their contexts, and the functions of the driver
//   streams.h   streams, events and captures. Every stream is a thread, so that work which is not ordered by events
//               really runs in any order
//   memory.h    memory, which is reused as early as a GPU could do it
//
// Faults and the properties of the driver come from the environment, which is read at every call:
//   FAKE_CUDA_DRIVER=12040       the version of the driver; 0 means that there is none
//   FAKE_CUDA_RUNTIME=12040      the version of the runtime
//   FAKE_CUDA_DEVICES=0          the number of GPUs
//   FAKE_CUDA_NAMES="A,B"        the names of the GPUs; if there are more, the last name is that of the rest
//   FAKE_CUDA_CAPABILITY=90,61   the compute capabilities of the GPUs, times ten; here too, the last one is that of the
//                                rest
//   FAKE_CUDA_POOLS=0            the GPUs have no memory pools
//   FAKE_CUDA_BROKEN_DEVICE=1    the GPU whose properties cannot be read: error 999
//   FAKE_CUDA_FAULT=cudaMallocFromPoolAsync=2@3   the third call from now on, and those after it, return error 2. With
//                                "!", only that call does. With "*", the error is sticky: from then on, every call of
//                                any function returns it. "any" stands for every function of the runtime that reaches
//                                the GPU, until the setting is removed. Functions of the driver can be named too.
//                                Functions that release something never fail because of this setting
//   FAKE_CUDA_POINTER_DEVICE=1   the GPU to which all memory seems to belong
//   FAKE_CUDA_MEMORY_CHUNK=4096  memory of `cudaMalloc` looks like consecutive pieces of this size, as PyTorch's
//                                expandable segments do
//   FAKE_CUDA_MEMORY_NEIGHBORS=4096   the same, but each piece looks like an allocation, also of a pool
//   FAKE_CUDA_MEMORY=1048576     the bytes of memory that each GPU has. What is freed into a pool counts until the stream
//                                has come to that point and the pool is trimmed
//   FAKE_CUDA_SLOW=20            the least time that a kernel takes, in milliseconds
//   FAKE_CUDA_SLOW_COPIES=20     the least time that copying and filling memory takes
//   FAKE_CUDA_WRONG=1            every kernel counts one token too many
//   FAKE_CUDA_REPORT=1           writes to stderr, when the process ends, what was not released, and in a second line
//                                which contexts were created, how often events were queried, how many streams of high
//                                priority were not released, of how many, and how many streams there were at most at
//                                one time
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace fake_cuda {

// The environment is read at every call, so that a test can change it while it runs
int number(const char* name, int otherwise);
// Waits for as many milliseconds as a setting says
void sleep(const char* name);
std::string text(const char* name);
// The item of a list like "90,61", or the last one if the list is shorter
std::string item(const char* name, int index, const char* otherwise);

// The error that every call returns since the context was lost, or 0
extern std::atomic<int> sticky;
inline cudaError_t sticky_error() { return static_cast<cudaError_t>(sticky.load()); }

// The error that a call must return, or cudaSuccess
cudaError_t fault(const char* function);
// The same for functions that do not reach the GPU: neither "any" nor a lost context makes them fail
cudaError_t named_fault(const char* function);

// These are never destroyed: if nobody waits for the streams, they are still working when the process ends
struct Counters {
  std::atomic<int> streams{0}, high_priority_streams{0}, events{0}, pools{0}, pinned{0}, allocations{0};
  std::atomic<int> most_streams{0}, all_high_priority_streams{0};
  std::atomic<long> event_queries{0};
  std::atomic<uint64_t> contexts{0};  // One bit for each device
};
extern Counters& counters;

// Ends the process because of a mistake that a real GPU would not forgive either
[[noreturn]] void stop(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace fake_cuda
