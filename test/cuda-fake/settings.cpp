#include "settings.h"

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

namespace fake_cuda {
namespace {

std::mutex fault_mutex;
std::string& armed_fault = *new std::string;
int calls_until_fault = 0;

cudaError_t injected_fault(const char* function, bool is_only_named) {
  const std::string setting = text("FAKE_CUDA_FAULT");
  const std::lock_guard<std::mutex> lock(fault_mutex);
  if (setting != armed_fault) {
    armed_fault = setting;
    const size_t at = setting.find('@');
    calls_until_fault = at == std::string::npos ? 1 : std::atoi(setting.c_str() + at + 1);
  }
  const size_t equals = setting.find('=');
  const std::string name = setting.substr(0, equals);
  if (name.empty() || (name != function && (is_only_named || name != "any"))) return cudaSuccess;
  if (--calls_until_fault > 0) return cudaSuccess;
  const auto code = static_cast<cudaError_t>(std::atoi(setting.c_str() + equals + 1));
  if (setting.find('!') != std::string::npos && calls_until_fault < 0) return cudaSuccess;
  if (setting.find('*') != std::string::npos) sticky = code;
  return code;
}

struct Report {
  ~Report() {
    if (std::getenv("FAKE_CUDA_REPORT") == nullptr) return;
    std::fprintf(stderr, "fake CUDA: live streams %d, events %d, pools %d, pinned %d, allocations %d\n",
                 counters.streams.load(), counters.events.load(), counters.pools.load(),
                 counters.pinned.load(), counters.allocations.load());
    std::string contexts;
    for (int device = 0; device < 64; ++device)
      if (counters.contexts >> device & 1) contexts += (contexts.empty() ? "" : ",") + std::to_string(device);
    std::fprintf(
        stderr,
        "fake CUDA: contexts %s; event queries %ld; high-priority streams %d of %d; most streams %d\n",
        contexts.empty() ? "none" : contexts.c_str(), counters.event_queries.load(),
        counters.high_priority_streams.load(), counters.all_high_priority_streams.load(),
        counters.most_streams.load());
  }
} report;

}  // namespace

std::atomic<int> sticky{0};
Counters& counters = *new Counters;

std::string text(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int number(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == 0 ? otherwise : std::atoi(value);
}

void sleep(const char* name) {
  const int milliseconds = number(name, 0);
  if (milliseconds > 0) std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

std::string item(const char* name, int index, const char* otherwise) {
  std::string list = text(name);
  if (list.empty()) return otherwise;
  for (; index > 0; --index) {
    const size_t comma = list.find(',');
    if (comma == std::string::npos) break;
    list.erase(0, comma + 1);
  }
  return list.substr(0, list.find(','));
}

cudaError_t fault(const char* function) {
  return sticky != 0 ? sticky_error() : injected_fault(function, false);
}

cudaError_t named_fault(const char* function) { return injected_fault(function, true); }

void stop(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fputs("fake CUDA: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputs("\n", stderr);
  va_end(arguments);
  std::abort();
}

}  // namespace fake_cuda
