#ifndef BITBUDGET_TOOLS_BENCH_BENCH_H_
#define BITBUDGET_TOOLS_BENCH_BENCH_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/bench/cases.h"
#include "tools/bench/report.h"

namespace bitbudget {

// What bitbudget-bench was asked for. Empty lists and zeros: the benchmark's own choice.
struct BenchOptions {
  int repetitions = 11;
  double min_seconds = 0.03;
  std::vector<int64_t> rows;     // m
  std::vector<int64_t> outputs;  // n
  int64_t inputs = 2048;         // k
  std::vector<int> threads;
  std::vector<BenchCase> cases;
  std::string model;     // a folder; empty: generated weights
  int layers = 6;        // of a generated model
  int64_t tokens = 512;  // of a prefill
  int64_t probes = 16;   // of a search
};

// Called with every result as soon as it is there.
using BenchSink = std::function<void(const BenchResult&)>;

// Products of packed operands, tile by tile as Linear() calls them, beside what the instructions of
// the path's inner loop allow (loops of independent chains without memory accesses, in the same
// rounds).
absl::Status RunKernelsBench(const BenchOptions& options, const BenchSink& sink);

// PackActivations and Linear beside sgemm, which packs both operands.
absl::Status RunLinearBench(const BenchOptions& options, const BenchSink& sink);

// A whole model reads a prompt, beside what PackActivations and Linear reach at 240 rows on the
// matrices of one of its layers.
absl::Status RunPrefillBench(const BenchOptions& options, const BenchSink& sink);

// A whole model, and its matrices alone, one row at a time, beside a plain read of the weights.
absl::Status RunDecodeBench(const BenchOptions& options, const BenchSink& sink);

// Candidates of a search beside a full pass.
absl::Status RunSearchBench(const BenchOptions& options, const BenchSink& sink);

// Encoders on a generated matrix, beside "clip": weights per second.
absl::Status RunEncodeBench(const BenchOptions& options, const BenchSink& sink);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_BENCH_H_
