// Times the kernel on a GPU: layout_bench <results.json> <results.md>, or layout_bench plans [<earlier.md>]
//
// Times are medians, per launch, in microseconds:
//   graph   a CUDA graph of many launches, divided by their number
//   event   a launch alone between two events, which includes the cost of the events
// Launches rotate among sets of inputs and outputs. There are so many sets that together they exceed the L2
// cache, but at most 64: small problems stay in the cache, as they do after a router. All results, also those of
// graph replays, are compared with those of the baseline.
//
// With -DDISPATCH_LAYOUT_OVERLAPS_LAUNCHES, which needs sm_90, each launch of the kernel may begin while the one
// before it ends (programmatic dependent launch).
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "../../cuda/kernel/dispatch_layout.cuh"
#include "../../cuda/kernel/permutation.cuh"
#include "deepep_design.cuh"

using namespace dispatch_layout;

namespace {

#define REQUIRE(call)                                                                              \
  do {                                                                                             \
    const cudaError_t error = (call);                                                              \
    if (error != cudaSuccess) {                                                                    \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(error)); \
      std::exit(1);                                                                                \
    }                                                                                              \
  } while (0)

// The last three are uniform as well. In kEmptyId, half of the ids are an empty id beside -1; kBits has a mask of
// bits, and kNoMask has none
enum class Routing { kUniform, kSkewed, kHalfEmpty, kOneExpert, kEmptyId, kBits, kNoMask };
const char* const kRoutingNames[] = {"uniform",       "skewed",        "half -1",         "one expert",
                                     "half empty id", "uniform, bits", "uniform, no mask"};

struct Case {
  int num_tokens, num_topk, num_experts, num_ranks;
  IdType type = IdType::kInt64;
  Routing routing = Routing::kUniform;

  int id_bytes() const { return get_id_bytes(type); }
  int num_nodes() const { return num_ranks % 8 == 0 ? num_ranks / 8 : 1; }
  int64_t num_ids() const { return int64_t{num_tokens} * num_topk; }
  bool has_mask() const { return routing != Routing::kNoMask; }
  bool has_bits() const { return routing == Routing::kBits; }
  int64_t mask_bytes() const {
    return has_mask() ? int64_t{num_tokens} * (has_bits() ? (num_ranks + 7) / 8 : num_ranks) : 0;
  }
  // Each id is read once, and the mask is written once
  int64_t num_bytes() const { return num_ids() * id_bytes() + mask_bytes(); }
};

// Makes distinct experts for each token, as a top-k does; with `kOneExpert`, the worst case for the histogram,
// all ids are the same
std::vector<int64_t> make_ids(const Case& c) {
  std::minstd_rand random(c.num_tokens + c.num_experts);
  std::vector<int64_t> ids(c.num_ids());
  for (int64_t i = 0; i < c.num_ids(); ++i) {
    const int64_t row = i - i % c.num_topk;
    bool is_taken;
    do {
      const double u = random() / 2147483648.0;
      ids[i] = static_cast<int64_t>(c.num_experts * (c.routing == Routing::kSkewed ? u * u * u : u));
      if (c.routing == Routing::kOneExpert) ids[i] = c.num_experts / 2;
      is_taken = false;
      for (int64_t j = row; j < i && c.routing != Routing::kOneExpert; ++j) is_taken |= ids[j] == ids[i];
    } while (is_taken);
  }
  if (c.routing == Routing::kHalfEmpty || c.routing == Routing::kEmptyId)
    for (int64_t& id : ids)
      if (random() >> 8 & 1) id = c.routing == Routing::kHalfEmpty ? -1 : c.num_experts;
  return ids;
}

template <typename T>
T* allocate(size_t count) {
  T* data = nullptr;
  REQUIRE(cudaMalloc(&data, std::max<size_t>(count, 1) * sizeof(T)));
  REQUIRE(cudaMemset(data, 0, count * sizeof(T)));
  return data;
}

void require_same(const std::vector<char>& actual, const std::vector<char>& expected) {
  if (actual == expected) return;
  std::fprintf(stderr, "FAILED: results differ from the baseline's\n");
  std::exit(1);
}

// What a launch reads and writes
struct Buffers {
  void* ids;
  int64_t* wide_ids;  // The baseline reads int64 only
  int32_t *per_rank, *per_node, *per_expert;
  uint8_t* mask;
  void* scratch;
};

struct Problem {
  Case c;
  std::vector<Buffers> sets;

  explicit Problem(const Case& c) : c(c) {
    const int64_t num_sets =
        std::clamp<int64_t>((int64_t{200} << 20) / std::max<int64_t>(c.num_bytes(), 1), 4, 64);
    const std::vector<int64_t> ids = make_ids(c);
    std::vector<char> narrow_ids(ids.size() * c.id_bytes());
    for (size_t i = 0; i < ids.size(); ++i) memcpy(&narrow_ids[i * c.id_bytes()], &ids[i], c.id_bytes());
    for (int64_t i = 0; i < num_sets; ++i) {
      Buffers b;
      b.ids = allocate<char>(narrow_ids.size());
      b.wide_ids = c.type == IdType::kInt64 ? static_cast<int64_t*>(b.ids) : allocate<int64_t>(ids.size());
      b.per_rank = allocate<int32_t>(c.num_ranks);
      b.per_node = c.num_nodes() > 1 ? allocate<int32_t>(c.num_nodes()) : nullptr;
      b.per_expert = allocate<int32_t>(c.num_experts);
      b.mask = allocate<uint8_t>(int64_t{c.num_tokens} * c.num_ranks);
      b.scratch =
          i > 0 ? sets[0].scratch : allocate<char>(dispatch_layout_scratch_bytes(c.num_experts, c.num_ranks));
      // The same tokens, in another order
      const size_t split = ids.size() / c.num_topk * i / num_sets * c.num_topk;
      const auto copy_rotated = [&](void* to, const char* from, size_t id_bytes) {
        const size_t head = split * id_bytes, size = ids.size() * id_bytes;
        REQUIRE(cudaMemcpy(to, from + head, size - head, cudaMemcpyHostToDevice));
        REQUIRE(cudaMemcpy(static_cast<char*>(to) + size - head, from, head, cudaMemcpyHostToDevice));
      };
      copy_rotated(b.ids, narrow_ids.data(), c.id_bytes());
      if (b.wide_ids != b.ids)
        copy_rotated(b.wide_ids, reinterpret_cast<const char*>(ids.data()), sizeof(int64_t));
      sets.push_back(b);
    }
  }
  Problem(const Problem&) = delete;
  ~Problem() {
    for (const Buffers& b : sets) {
      if (b.wide_ids != b.ids) cudaFree(b.wide_ids);
      for (void* data : {b.ids, static_cast<void*>(b.per_rank), static_cast<void*>(b.per_node),
                         static_cast<void*>(b.per_expert), static_cast<void*>(b.mask)})
        cudaFree(data);
    }
    cudaFree(sets[0].scratch);
  }

  DispatchLayoutArguments arguments(size_t set) const {
    const Buffers& b = sets[set % sets.size()];
    DispatchLayoutArguments a;
    a.topk_idx = b.ids, a.topk_idx_type = c.type;
    a.num_tokens = c.num_tokens, a.num_topk = c.num_topk, a.token_stride = c.num_topk;
    a.num_experts = c.num_experts, a.num_ranks = c.num_ranks, a.num_nodes = c.num_nodes();
    a.num_tokens_per_rank = b.per_rank, a.num_tokens_per_rdma_rank = b.per_node,
    a.num_tokens_per_expert = b.per_expert;
    a.is_token_in_rank = c.has_mask() ? b.mask : nullptr, a.has_bit_rows = c.has_bits();
    a.scratch = b.scratch;
    if (c.routing == Routing::kEmptyId) a.empty_id = c.num_experts;
    return a;
  }
  LaunchPlan plan() const {
    LayoutParameters parameters{};
    DeviceLimits limits;
    REQUIRE(make_parameters(arguments(0), &parameters));
    REQUIRE(get_device_limits(&limits));
    return plan_launch(parameters, limits);
  }
  void launch(size_t set, const LaunchPlan& plan, cudaStream_t stream) const {
    REQUIRE(launch_dispatch_layout(arguments(set), plan, stream));
  }
  void launch_baseline(size_t set, cudaStream_t stream) const {
    const Buffers& b = sets[set % sets.size()];
    REQUIRE(deepep_design::launch(b.wide_ids, b.per_rank, b.per_node, b.per_expert,
                                  reinterpret_cast<bool*>(b.mask), c.num_tokens, c.num_topk, c.num_ranks,
                                  c.num_experts, stream));
  }

  // Returns the outputs of a launch, and fills them with garbage
  std::vector<char> read_outputs(size_t set) const { return take_outputs(set, c.mask_bytes()); }
  // Does the same after a launch of the baseline, whose masks have bytes. Makes them bits if ours have bits
  std::vector<char> read_baseline_outputs(size_t set) const {
    const int64_t num_bytes = c.has_mask() ? int64_t{c.num_tokens} * c.num_ranks : 0;
    std::vector<char> outputs = take_outputs(set, num_bytes);
    if (!c.has_bits()) return outputs;
    const size_t counts_bytes = (c.num_ranks + c.num_experts) * sizeof(int32_t);
    const auto begin = outputs.begin() + counts_bytes;
    const int row_bytes = (c.num_ranks + 7) / 8;
    std::vector<char> packed(c.mask_bytes());
    for (int64_t token = 0; token < c.num_tokens; ++token)
      for (int rank = 0; rank < c.num_ranks; ++rank)
        packed[token * row_bytes + rank / 8] |= begin[token * c.num_ranks + rank] << rank % 8;
    outputs.erase(begin, begin + num_bytes);
    outputs.insert(outputs.begin() + counts_bytes, packed.begin(), packed.end());
    return outputs;
  }
  std::vector<char> take_outputs(size_t set, int64_t mask_bytes) const {
    const Buffers& b = sets[set];
    std::vector<char> bytes;
    const auto append = [&](void* data, size_t size) {
      const size_t begin = bytes.size();
      bytes.resize(begin + size);
      REQUIRE(cudaMemcpy(bytes.data() + begin, data, size, cudaMemcpyDeviceToHost));
      REQUIRE(cudaMemset(data, 0xee, size));
    };
    append(b.per_rank, c.num_ranks * sizeof(int32_t));
    append(b.per_expert, c.num_experts * sizeof(int32_t));
    append(b.mask, mask_bytes);
    if (b.per_node != nullptr) append(b.per_node, c.num_nodes() * sizeof(int32_t));
    return bytes;
  }
  void require_equal(const LaunchPlan& plan) const {
    read_outputs(0);
    launch_baseline(0, nullptr);
    const std::vector<char> expected = read_baseline_outputs(0);
    launch(0, plan, nullptr);
    require_same(read_outputs(0), expected);
  }
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

struct Timing {
  double graph, event;
};

Timing time_launches(int num_sets, const std::function<void(int, cudaStream_t)>& launch) {
  cudaStream_t stream;
  cudaEvent_t begin, end;
  REQUIRE(cudaStreamCreate(&stream));
  REQUIRE(cudaEventCreate(&begin));
  REQUIRE(cudaEventCreate(&end));
  const auto time = [&](auto work) {
    float milliseconds = 0;
    REQUIRE(cudaEventRecord(begin, stream));
    work();
    REQUIRE(cudaEventRecord(end, stream));
    REQUIRE(cudaEventSynchronize(end));
    REQUIRE(cudaEventElapsedTime(&milliseconds, begin, end));
    return milliseconds * 1e3;
  };
  launch(0, stream);
  REQUIRE(cudaStreamSynchronize(stream));
  std::vector<double> event_times;
  double total = 0;
  for (int i = 0; i < 60 && (i < 5 || total < 5e4); ++i) {
    event_times.push_back(time([&] { launch(i % num_sets, stream); }));
    total += event_times.back();
  }
  Timing timing{0, median(event_times)};

  // A graph has whole rounds over the sets, and takes about 2 ms
  const int num_rounds = std::max(1, static_cast<int>(2000 / timing.event / num_sets));
  const int num_launches = timing.event > 500 ? 1 : num_rounds * num_sets;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < num_launches; ++i) launch(i % num_sets, stream);
  REQUIRE(cudaStreamEndCapture(stream, &graph));
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0));
  REQUIRE(cudaGraphLaunch(executable, stream));
  std::vector<double> graph_times;
  total = 0;
  for (int i = 0; i < 25 && (i < 5 || total < 1e5); ++i) {
    graph_times.push_back(time([&] { REQUIRE(cudaGraphLaunch(executable, stream)); }) / num_launches);
    total += graph_times.back() * num_launches;
  }
  timing.graph = median(graph_times);
  REQUIRE(cudaGraphExecDestroy(executable));
  REQUIRE(cudaGraphDestroy(graph));
  REQUIRE(cudaEventDestroy(begin));
  REQUIRE(cudaEventDestroy(end));
  REQUIRE(cudaStreamDestroy(stream));
  return timing;
}

__global__ void do_nothing() {}

// Returns the TB/s of a device-to-device copy: bytes read plus bytes written
double measure_copy_bandwidth() {
  const size_t num_bytes = size_t{1} << 30;
  char* from = allocate<char>(num_bytes);
  char* to = allocate<char>(num_bytes);
  const Timing timing = time_launches(1, [&](int, cudaStream_t stream) {
    REQUIRE(cudaMemcpyAsync(to, from, num_bytes, cudaMemcpyDeviceToDevice, stream));
  });
  cudaFree(from), cudaFree(to);
  return 2.0 * num_bytes / timing.event / 1e6;
}

// Returns the graph time of a case in the table that `measure` once made, or a dash if it is not there
std::string find_earlier_time(const char* markdown_path, const Case& c) {
  FILE* markdown = markdown_path == nullptr ? nullptr : std::fopen(markdown_path, "r");
  if (markdown == nullptr) return "–";
  char line[1024], time[16];
  std::string graph_time = "–";
  Case found{};
  while (std::fgets(line, sizeof(line), markdown) != nullptr)
    if (std::sscanf(line, "| %d | %d | %d | %d | int64 | uniform | %15s |", &found.num_tokens,
                    &found.num_topk, &found.num_experts, &found.num_ranks, time) == 5 &&
        found.num_tokens == c.num_tokens && found.num_topk == c.num_topk &&
        found.num_experts == c.num_experts && found.num_ranks == c.num_ranks)
      graph_time = time;
  std::fclose(markdown);
  return graph_time;
}

#ifdef DISPATCH_LAYOUT_OVERLAPS_LAUNCHES
constexpr char kOverlap[] = ". Each launch may begin while the one before it ends";
#else
constexpr char kOverlap[] = "";
#endif

// Prints the graph times of other plans for the same problem, which show what `plan_launch` should choose
void compare_plans(const char* earlier_path) {
  constexpr int kTilesPerBlock[] = {32, 16, 8, 4, 2, 1};
  DeviceLimits limits;
  REQUIRE(get_device_limits(&limits));
  std::printf("Microseconds per launch in a CUDA graph, with K=8, E=256 and int64 ids%s.\n\n", kOverlap);
  std::printf("| T | R | threads | 1 block |");
  for (const int num_tiles : kTilesPerBlock) std::printf(" %d tiles a block |", num_tiles);
  std::printf("\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  std::string summary =
      "\n| T | R | chosen | µs | fastest | µs | earlier µs |\n|--:|--:|--:|--:|--:|--:|--:|\n";
  char line[256];
  for (const int num_ranks : {8, 64})
    for (const int num_tokens : {128, 512, 2048, 4096, 16384, 65536, 1 << 20}) {
      const Case c{num_tokens, 8, 256, num_ranks};
      const Problem problem(c);
      LayoutParameters parameters{};
      REQUIRE(make_parameters(problem.arguments(0), &parameters));
      const auto time_plan = [&](const LaunchPlan& plan) {
        problem.require_equal(plan);
        const Timing timing =
            time_launches(static_cast<int>(problem.sets.size()),
                          [&](int set, cudaStream_t stream) { problem.launch(set, plan, stream); });
        const std::vector<char> replayed = problem.read_outputs(0);
        problem.launch_baseline(0, nullptr);
        require_same(replayed, problem.read_baseline_outputs(0));
        return timing.graph;
      };
      const LaunchPlan chosen = problem.plan();
      LaunchPlan fastest = chosen;
      const double chosen_time = time_plan(chosen);
      double fastest_time = chosen_time;
      const int num_tiles = (num_tokens + kTokensPerTile - 1) / kTokensPerTile;
      for (int num_threads = 128; num_threads <= kMaxThreads; num_threads *= 2) {
        std::printf("| %d | %d | %d |", num_tokens, num_ranks, num_threads);
        // Smaller blocks share a multiprocessor
        const int max_blocks = limits.num_sms * (kMaxThreads / num_threads);
        int last_num_blocks = 0;
        const auto print_plan = [&](int num_blocks) {
          // The same plan need not be timed twice, and a lone block of a large problem would take long
          if (num_blocks == last_num_blocks || num_tiles > 256 * num_blocks) {
            std::printf(" – |");
            return;
          }
          last_num_blocks = num_blocks;
          const LaunchPlan plan{true, num_blocks, num_threads, get_shared_bytes(parameters, num_threads)};
          const double time = time_plan(plan);
          if (time < fastest_time) fastest = plan, fastest_time = time;
          std::printf(" %.2f |", time);
        };
        print_plan(1);
        for (const int tiles_per_block : kTilesPerBlock)
          print_plan(std::min((num_tiles + tiles_per_block - 1) / tiles_per_block, max_blocks));
        std::printf("\n");
      }
      std::snprintf(line, sizeof(line), "| %d | %d | %d x %d | %.2f | %d x %d | %.2f | %s |\n", num_tokens,
                    num_ranks, chosen.num_blocks, chosen.num_threads, chosen_time, fastest.num_blocks,
                    fastest.num_threads, fastest_time, find_earlier_time(earlier_path, c).c_str());
      summary += line;
    }
  std::fputs(summary.c_str(), stdout);
}

void measure(const char* json_path, const char* markdown_path) {
  cudaDeviceProp properties;
  int runtime_version = 0, driver_version = 0;
  REQUIRE(cudaGetDeviceProperties(&properties, 0));
  REQUIRE(cudaRuntimeGetVersion(&runtime_version));
  REQUIRE(cudaDriverGetVersion(&driver_version));
  const auto environment = [](const char* name) { return std::getenv(name) ? std::getenv(name) : "unknown"; };
  const double copy_bandwidth = measure_copy_bandwidth();
  const Timing nothing =
      time_launches(1, [](int, cudaStream_t stream) { do_nothing<<<1, 32, 0, stream>>>(); });
  FILE* json = std::fopen(json_path, "w");
  FILE* markdown = std::fopen(markdown_path, "w");
  if (json == nullptr || markdown == nullptr) {
    std::perror("results");
    std::exit(1);
  }
  std::fprintf(
      json,
      "{\n  \"date\": \"%s\",\n  \"gpu\": \"%s\",\n  \"driver\": \"%s\",\n  \"cuda_driver_version\": %d,\n"
      "  \"cuda_runtime_version\": %d,\n  \"copy_bandwidth_tb_per_s\": %.3f,\n"
      "  \"empty_kernel_us\": {\"graph\": %.2f, \"event\": %.2f},\n  \"cases\": [",
      environment("BENCH_DATE"), properties.name, environment("BENCH_DRIVER"), driver_version,
      runtime_version, copy_bandwidth, nothing.graph, nothing.event);
  char line[512];
  const auto print = [&](const char* text) { std::fputs(text, markdown), std::fputs(text, stdout); };
  std::snprintf(
      line, sizeof(line),
      "# Kernel times on %s, %s\n\nDriver %s, CUDA %d.%d. Copy bandwidth %.2f TB/s (1 GiB device to device, "
      "read plus written). An empty\nkernel: %.2f µs in a graph, %.2f µs between events.\n\n",
      properties.name, environment("BENCH_DATE"), environment("BENCH_DRIVER"), runtime_version / 1000,
      runtime_version % 1000 / 10, copy_bandwidth, nothing.graph, nothing.event);
  print(line);
  print(
      "Microseconds per launch, medians: in a CUDA graph, and alone between two events. \"DeepEP design\" "
      "is\n"
      "`deepep_design.cuh` on int64 ids. Bandwidth counts `T * (K * id bytes + R)`, an eighth of R if the "
      "mask has bits and none if there is no mask,\nover the graph time. Inputs rotate "
      "over at least 4 sets, and over more than the L2 cache from about 3 MB a launch on.\n\n"
      "| T | K | E | R | ids | routing | graph | event | DeepEP design, graph | event | times faster | TB/s "
      "| of copy "
      "|\n|--:|--:|--:|--:|---|---|--:|--:|--:|--:|--:|--:|--:|\n");

  std::vector<Case> cases;
  for (const int num_ranks : {8, 64})
    for (const int num_tokens : {1, 32, 128, 512, 1024, 2048, 4096, 8192, 16384, 65536, 262144, 1 << 20})
      cases.push_back({num_tokens, 8, 256, num_ranks});
  const Case others[] = {{4096, 2, 8, 8},        {4096, 6, 64, 8},       {4096, 10, 512, 64},
                         {8192, 8, 288, 32},     {16384, 8, 1024, 256},  {1 << 20, 2, 8, 8},
                         {1 << 20, 6, 64, 8},    {1 << 20, 10, 512, 64}, {1 << 20, 8, 1024, 128},
                         {1 << 20, 8, 1024, 256}};
  cases.insert(cases.end(), std::begin(others), std::end(others));
  for (const int num_tokens : {4096, 1 << 20})
    for (const IdType type : {IdType::kInt32, IdType::kInt16, IdType::kUint8})
      cases.push_back({num_tokens, 8, 256, 64, type});
  for (const int num_tokens : {4096, 1 << 20})
    for (const Routing routing : {Routing::kSkewed, Routing::kHalfEmpty, Routing::kOneExpert,
                                  Routing::kEmptyId, Routing::kBits, Routing::kNoMask})
      cases.push_back({num_tokens, 8, 256, 64, IdType::kInt64, routing});

  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const Problem problem(c);
    const LaunchPlan plan = problem.plan();
    problem.require_equal(plan);
    const int num_sets = static_cast<int>(problem.sets.size());
    const Timing ours =
        time_launches(num_sets, [&](int set, cudaStream_t stream) { problem.launch(set, plan, stream); });
    const std::vector<char> replayed = problem.read_outputs(0);
    const Timing baseline =
        time_launches(num_sets, [&](int set, cudaStream_t stream) { problem.launch_baseline(set, stream); });
    require_same(replayed, problem.read_baseline_outputs(0));
    const double bandwidth = c.num_bytes() / ours.graph / 1e6;
    const std::string id_type =
        std::string(is_signed(c.type) ? "int" : "uint") + std::to_string(8 * c.id_bytes());
    const char* routing = kRoutingNames[static_cast<int>(c.routing)];
    std::snprintf(line, sizeof(line),
                  "| %d | %d | %d | %d | %s | %s | %.2f | %.2f | %.2f | %.2f | %.1f | %.2f | %.0f %% |\n",
                  c.num_tokens, c.num_topk, c.num_experts, c.num_ranks, id_type.c_str(), routing, ours.graph,
                  ours.event, baseline.graph, baseline.event, baseline.graph / ours.graph, bandwidth,
                  100 * bandwidth / copy_bandwidth);
    print(line);
    std::fprintf(
        json,
        "%s\n    {\"num_tokens\": %d, \"num_topk\": %d, \"num_experts\": %d, \"num_ranks\": %d, \"ids\": "
        "\"%s\", \"routing\": \"%s\", \"num_sets\": %d, \"graph_us\": %.3f, \"event_us\": %.3f, "
        "\"deepep_design_graph_us\": %.3f, \"deepep_design_event_us\": %.3f}",
        i > 0 ? "," : "", c.num_tokens, c.num_topk, c.num_experts, c.num_ranks, id_type.c_str(), routing,
        num_sets, ours.graph, ours.event, baseline.graph, baseline.event);
  }
  std::fprintf(json, "\n  ]\n}\n");
  std::fclose(json), std::fclose(markdown);
}

// Returns the time of a permutation of the ids of the problem. The inputs rotate; the outputs are the same ones.
template <typename Arguments>
Timing time_permutation(const Problem& problem, Arguments a) {
  const Case& c = problem.c;
  a.topk_idx_type = c.type;
  a.num_tokens = c.num_tokens, a.num_topk = c.num_topk, a.token_stride = c.num_topk;
  a.num_experts = c.num_experts;
  a.row_of_selection = allocate<int32_t>(c.num_ids());
  const Timing timing =
      time_launches(static_cast<int>(problem.sets.size()), [&](int set, cudaStream_t stream) {
        a.topk_idx = problem.sets[set].ids;
        REQUIRE(launch_permutation(a, stream));
      });
  REQUIRE(cudaFree(a.row_of_selection));
  return timing;
}

// Prints a table of the times of both permutations. `permutation_test` checks their results.
void measure_permutations() {
  std::printf(
      "Microseconds in a graph (one launch with an event)\n\n| T | K | E | R | by expert | padded to 128 | "
      "by "
      "rank |\n|--:|--:|--:|--:|--:|--:|--:|\n");
  for (const int num_tokens : {128, 4096, 65536, 1 << 20}) {
    const Case c{num_tokens, 8, 256, 64};
    const Problem problem(c);
    const int64_t max_rows = c.num_ids() + int64_t{127} * c.num_experts;
    int32_t* const counts = allocate<int32_t>(c.num_experts);
    int32_t* const offsets = allocate<int32_t>(c.num_experts + 1);
    int32_t* const items = allocate<int32_t>(max_rows);
    char* const scratch = allocate<char>(permutation_scratch_bytes(c.num_experts));
    const auto time_by_expert = [&](int alignment) {
      ExpertPermutationArguments a;
      a.num_local_experts = c.num_experts, a.alignment = alignment;
      a.max_rows = alignment > 1 ? max_rows / alignment * alignment : c.num_ids();
      a.num_tokens_per_expert = counts, a.expert_offsets = offsets, a.selection_of_row = items;
      a.scratch = scratch;
      return time_permutation(problem, a);
    };
    const Timing by_expert = time_by_expert(1), padded = time_by_expert(128);
    RankPermutationArguments a;
    a.num_ranks = c.num_ranks, a.max_rows = c.num_ids();
    a.num_tokens_per_rank = counts, a.rank_offsets = offsets, a.token_of_row = items;
    a.scratch = scratch;
    const Timing by_rank = time_permutation(problem, a);
    std::printf("| %d | %d | %d | %d | %.2f (%.2f) | %.2f (%.2f) | %.2f (%.2f) |\n", c.num_tokens, c.num_topk,
                c.num_experts, c.num_ranks, by_expert.graph, by_expert.event, padded.graph, padded.event,
                by_rank.graph, by_rank.event);
    for (void* data : {static_cast<void*>(counts), static_cast<void*>(offsets), static_cast<void*>(items),
                       static_cast<void*>(scratch)})
      REQUIRE(cudaFree(data));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && std::string(argv[1]) == "plans") return compare_plans(argc > 2 ? argv[2] : nullptr), 0;
  if (argc == 2 && std::string(argv[1]) == "permutations") return measure_permutations(), 0;
  if (argc != 3) {
    std::fprintf(stderr,
                 "usage: layout_bench <results.json> <results.md> | layout_bench plans [<earlier.md>] | "
                 "layout_bench permutations\n");
    return 2;
  }
  measure(argv[1], argv[2]);
}
