#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/quantize/encoders.h"
#include "runtime/quantize/gram_factors.h"
#include "runtime/tensor/tensor_view.h"
#include "tools/bench/bench.h"
#include "tools/bench/interleave.h"

namespace bitbudget {
namespace {

constexpr int64_t kShared = 32;

// A sum of twelve uniform values: nearly normal.
float NearlyNormal(Random* random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random->Uniform();
  return static_cast<float>(sum);
}

// A Gram matrix of inputs with directions that they share: A A^T + I.
Gram GeneratedGram(int64_t k) {
  Random random(2);
  std::vector<float> mixing(k * kShared);
  for (float& value : mixing) value = NearlyNormal(&random);
  Gram gram{k, std::vector<float>(k * k)};
  PackedActivations packed;
  PackActivations(Path::kF32, mixing.data(), kShared, k, kShared, &packed);
  Linear(packed, PackWeightsF32(ViewOf(mixing, k, kShared)), gram.values.data(), k);
  for (int64_t i = 0; i < k; ++i) gram.values[i * k + i] += 1;
  return gram;
}

}  // namespace

absl::Status RunEncodeBench(const BenchOptions& options, const BenchSink& sink) {
  const int64_t k = options.inputs;
  const int64_t n = options.outputs.empty() ? k : options.outputs.front();
  const int threads = options.threads.empty() ? 1 : options.threads.front();
  Random random(1);
  std::vector<float> weights(n * k);
  for (float& weight : weights) weight = 0.02f * NearlyNormal(&random);
  const Gram gram = GeneratedGram(k);
  InputStats stats;
  std::vector<float> moments(k);
  for (int64_t i = 0; i < k; ++i) moments[i] = gram.values[i * k + i];
  stats.moments = moments;
  stats.gram = &gram;
  // Shared by all formats and matrices with these inputs, as in a plan; timed on their own.
  const GramFactors factors(gram);
  stats.factors = &factors;

  for (const BenchCase& wanted : options.cases) {
    BB_ASSIGN_OR_RETURN(const Format format, ParseFormat(wanted.format));
    std::vector<std::string> names = {"clip", "rtn", "imatrix", "gptq"};
    std::vector<std::unique_ptr<Encoder>> encoders;
    std::vector<std::function<void()>> contestants;
    absl::Status status;
    for (const std::string& name : names) {
      BB_ASSIGN_OR_RETURN(encoders.emplace_back(), MakeEncoder(name));
      contestants.push_back([&, encoder = encoders.back().get()] {
        const auto encoding = encoder->Encode(ViewOf(weights, n, k), format, stats, threads);
        status.Update(encoding.status());
      });
    }
    names.push_back("factors");
    contestants.push_back([&] { const GramFactors made(gram); });
    const std::vector<Timing> timings = Interleave(contestants,
                                                   {.repetitions = options.repetitions,
                                                    .threads = threads,
                                                    .min_seconds = options.min_seconds});
    BB_RETURN_IF_ERROR(status);
    for (size_t i = 0; i < names.size(); ++i) {
      BenchResult result;
      result.bench = "encode";
      result.path = names[i];
      result.format = wanted.format;
      result.n = n;
      result.k = k;
      result.threads = threads;
      result.per_s = static_cast<double>(n * k) / Median(timings[i]);
      result.baseline = names.front();
      result.ratio = SpeedRatio(timings[i], timings.front());
      result.spread = RelativeSpread(timings[i]);
      sink(result);
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
