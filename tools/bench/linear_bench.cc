#include <cblas.h>

#include <cmath>
#include <functional>
#include <list>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"
#include "tools/bench/bench.h"
#include "tools/bench/interleave.h"
#include "tools/bench/product_check.h"

namespace bitbudget {
namespace {

// One case with what its calls need.
struct Entry {
  BenchCase what;
  Encoding encoding;
  WeightPanels panels;
  PackedActivations packed;
};

// Targets as ratios to sgemm with the instructions of the tier; one thread.
std::optional<double> Target(const Entry& entry, int64_t m, int threads) {
  if (threads != 1) return std::nullopt;
  if ((m != 240 && m != 24) || entry.panels.k != 2048 || entry.panels.n < 1920) return std::nullopt;
  const std::string key = absl::StrCat(PathName(entry.panels), " ", entry.what.format);
  const bool many = m == 240;
  if (absl::string_view(Kernels().name) == "avx512vnni" && many) {
    if (key == "V int8-g128") return 5.0;
    if (key == "U int4-g32") return 4.5;
  }
  if (absl::string_view(Kernels().name) != "avx2") return std::nullopt;
  if (key == "F f32") return many ? 1.1 : 1.5;
  if (key == "I int8-g128") return many ? 1.6 : 2.0;
  if (key == "V int8-g128" && many) return 2.2;
  if (key == "U int4-g32") return many ? 2.3 : 2.5;
  if (key == "U int4-g128") return many ? 2.7 : 3.0;
  return std::nullopt;
}

absl::Status RunShape(const BenchOptions& options,
                      std::list<Entry>& entries,
                      int64_t n,
                      int64_t m,
                      int threads,
                      const BenchSink& sink) {
  const int64_t k = options.inputs;
  const std::vector<float> x = RandomValues(m * k, /*seed=*/2);
  BB_ASSIGN_OR_RETURN(const Encoding plain, RandomWeights("f32", n, k));
  std::vector<float> weights(static_cast<size_t>(n * k));
  DecodeReference(plain, weights);
  std::vector<float> y(static_cast<size_t>(m * n));

  std::vector<std::function<void()>> contestants = {[&] {
    cblas_sgemm(CblasRowMajor,
                CblasNoTrans,
                CblasTrans,
                static_cast<blasint>(m),
                static_cast<blasint>(n),
                static_cast<blasint>(k),
                1,
                x.data(),
                static_cast<blasint>(k),
                weights.data(),
                static_cast<blasint>(k),
                0,
                y.data(),
                static_cast<blasint>(n));
  }};
  for (Entry& entry : entries) {
    contestants.push_back([&] {
      PackActivations(entry.panels.packing(), x.data(), k, m, k, &entry.packed);
      Linear(entry.packed, entry.panels, y.data(), n, threads);
    });
  }
  const std::vector<Timing> timings = Interleave(
      contestants,
      {.repetitions = options.repetitions, .threads = threads, .min_seconds = options.min_seconds});

  const double gmacs = static_cast<double>(m * n * k) / 1e9;
  BenchResult result;
  result.bench = "linear";
  result.m = m;
  result.n = n;
  result.k = k;
  result.threads = threads;
  result.baseline = "sgemm";
  const auto report = [&](size_t i) {
    result.gmac_per_s = gmacs / Median(timings[i]);
    result.ratio = SpeedRatio(timings[i], timings[0]);
    result.spread = RelativeSpread(timings[i]);
    sink(result);
  };
  const auto check = [&](size_t i,
                         const std::string& what,
                         const ActivationPacking& packing,
                         int flush,
                         const Encoding& encoding) {
    y.assign(y.size(), NAN);  // what is left of it was not computed
    contestants[i]();
    return CheckProduct(absl::StrCat("linear ", what, " m=", m, " n=", n, " k=", k),
                        packing,
                        flush,
                        encoding,
                        x,
                        m,
                        y);
  };
  BB_RETURN_IF_ERROR(check(0, "sgemm", Path::kF32, 0, plain));
  result.path = "sgemm";
  result.format = "f32";
  report(0);
  size_t i = 1;
  for (const Entry& entry : entries) {
    result.path = PathName(entry.panels);
    result.format = entry.what.format;
    result.target = Target(entry, m, threads);
    BB_RETURN_IF_ERROR(check(i,
                             absl::StrCat(result.path, " ", result.format),
                             entry.panels.packing(),
                             entry.panels.flush,
                             entry.encoding));
    report(i++);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunLinearBench(const BenchOptions& options, const BenchSink& sink) {
  const std::vector<int64_t> rows =
      options.rows.empty() ? std::vector<int64_t>{1, 6, 24, 48, 240, 512} : options.rows;
  const std::vector<int64_t> outputs =
      options.outputs.empty() ? std::vector<int64_t>{1920, 5632} : options.outputs;
  const std::vector<int> threads = options.threads.empty() ? std::vector<int>{1} : options.threads;
  const std::vector<BenchCase> cases = options.cases.empty() ? DefaultCases() : options.cases;
  for (const int64_t n : outputs) {
    std::list<Entry> entries;
    for (const BenchCase& what : cases) {
      BB_ASSIGN_OR_RETURN(Encoding encoding, RandomWeights(what.format, n, options.inputs));
      WeightPanels panels = PackWeightsFor(encoding, what.activations);
      entries.push_back({what, std::move(encoding), std::move(panels), {}});
    }
    for (const int64_t m : rows) {
      for (const int count : threads) {
        BB_RETURN_IF_ERROR(RunShape(options, entries, n, m, count, sink));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
