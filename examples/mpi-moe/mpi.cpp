// What mpi.mjs needs of MPI. Everything runs on the thread of JavaScript, and an all-to-all is only started:
// JavaScript asks from time to time whether it is done. So the event loop goes on, MPI needs no support for
// threads, and the order of collective calls, which must be the same on all ranks, is the order of calls in
// JavaScript. With blocking calls on other threads, a queue would have to keep that order, and a process
// could not exit while such a thread waits for a rank that has failed.
#include <mpi.h>
#include <napi.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

int rank = 0, num_ranks = 0;

// Throws what has failed in MPI as an error of JavaScript, in MPI's own words
void check(Napi::Env env, int code) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Napi::Error::New(env, std::string(text, length));
}

// Rows in a typed array, in the order of ranks: rank r has those from offsets[r] to offsets[r + 1]. MPI reads
// and writes where the offsets say, so they are checked
struct Rows {
  Rows(Napi::Env env, Napi::Value rows, Napi::Value row_offsets, size_t bytes_per_row) {
    if (!rows.IsTypedArray()) throw Napi::TypeError::New(env, "the rows must be in a typed array");
    if (!row_offsets.IsTypedArray() ||
        row_offsets.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
      throw Napi::TypeError::New(env, "the offsets of rows must be in an Int32Array");
    const auto given = row_offsets.As<Napi::Int32Array>();
    offsets.assign(given.Data(), given.Data() + given.ElementLength());
    const size_t num_rows = rows.As<Napi::TypedArray>().ByteLength() / bytes_per_row;
    if (offsets.size() != num_ranks + size_t{1} || offsets.front() != 0 ||
        !std::is_sorted(offsets.begin(), offsets.end()) || static_cast<size_t>(offsets.back()) > num_rows)
      throw Napi::RangeError::New(env, "the offsets of " + std::to_string(num_ranks) +
                                           " ranks must ascend from 0 to at most " +
                                           std::to_string(num_rows) + " rows");
    for (int r = 0; r < num_ranks; ++r) counts.push_back(offsets[r + 1] - offsets[r]);
    napi_get_typedarray_info(env, rows, nullptr, nullptr, &data, nullptr, nullptr);
    array = Napi::Persistent(rows.As<Napi::Object>());
  }

  void* data = nullptr;
  std::vector<int> offsets, counts;
  Napi::ObjectReference array;
};

struct AllToAll {
  Rows sent, received;
  MPI_Request request;
};

// The all-to-alls that are not done. MPI uses their memory, so they stay here if they fail, or if nobody asks
// for their end. The map is never destroyed, since its references would outlive JavaScript
auto& running = *new std::map<int, AllToAll>;

// Takes (sent rows, their offsets, array for received rows, their offsets, bytes of a row), and returns a
// number by which `isDone` knows this all-to-all
Napi::Value start_all_to_all(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  // MPI counts in int. With a type for rows, it counts rows and not bytes
  const double bytes = info[4].IsNumber() ? info[4].As<Napi::Number>().DoubleValue() : 0;
  if (!(bytes >= 1 && bytes <= std::numeric_limits<int>::max()))
    throw Napi::RangeError::New(env, "a row must have at least one byte, and less than 2 GiB");
  const int bytes_per_row = static_cast<int>(bytes);
  static int last_id = 0;
  const int id = ++last_id;
  auto& [sent, received, request] =
      running
          .emplace(id, AllToAll{Rows(env, info[0], info[1], bytes_per_row),
                                Rows(env, info[2], info[3], bytes_per_row), MPI_REQUEST_NULL})
          .first->second;
  MPI_Datatype row;
  check(env, MPI_Type_contiguous(bytes_per_row, MPI_BYTE, &row));
  check(env, MPI_Type_commit(&row));
  check(env, MPI_Ialltoallv(sent.data, sent.counts.data(), sent.offsets.data(), row, received.data,
                            received.counts.data(), received.offsets.data(), row, MPI_COMM_WORLD, &request));
  check(env, MPI_Type_free(&row));
  return Napi::Number::New(env, id);
}

// Takes the number of an all-to-all. MPI gets on with its work only in calls such as this one
Napi::Value is_done(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto found = running.find(info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 0);
  if (found == running.end()) throw Napi::RangeError::New(env, "no such all-to-all is running");
  int done = 0;
  check(env, MPI_Test(&found->second.request, &done, MPI_STATUS_IGNORE));
  if (done) running.erase(found);
  return Napi::Boolean::New(env, done);
}

Napi::Value abort_all(const Napi::CallbackInfo& info) {
  check(info.Env(), MPI_Abort(MPI_COMM_WORLD, 1));
  return info.Env().Undefined();
}

Napi::Value finalize(const Napi::CallbackInfo& info) {
  check(info.Env(), MPI_Finalize());
  return info.Env().Undefined();
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  int is_initialized = 0, level = MPI_THREAD_SINGLE;
  check(env, MPI_Initialized(&is_initialized));
  if (is_initialized) throw Napi::Error::New(env, "another thread of this process uses MPI");
  // Node.js has more threads than this one, but none of them calls MPI
  check(env, MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level));
  if (level < MPI_THREAD_FUNNELED)
    throw Napi::Error::New(env, "this MPI works in processes with one thread only");
  // By default, MPI would end the whole job at the first error
  check(env, MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  check(env, MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  check(env, MPI_Comm_size(MPI_COMM_WORLD, &num_ranks));
  exports["rank"] = Napi::Number::New(env, rank);
  exports["numRanks"] = Napi::Number::New(env, num_ranks);
  exports["startAllToAll"] = Napi::Function::New(env, start_all_to_all);
  exports["isDone"] = Napi::Function::New(env, is_done);
  exports["abort"] = Napi::Function::New(env, abort_all);
  exports["finalize"] = Napi::Function::New(env, finalize);
  return exports;
}

}  // namespace

NODE_API_MODULE(mpi, initialize)
