#include "runtime/quantize/input_moments.h"

#include <algorithm>
#include <map>

#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/token_pass.h"
#include "runtime/quantize/input_sources.h"

namespace bitbudget {
namespace {

constexpr int64_t kParts = 8;  // of the sums, whatever the number of threads

// Sums of squares of every input, by source.
class SquareSums final : public PassObserver {
 public:
  explicit SquareSums(const Model& model) : end_stage_(NumStages(model.config())) {
    const std::vector<ComponentId> sources = InputSources(model);
    std::map<ComponentId, std::vector<double>> zeros;
    for (size_t c = 0; c < sources.size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      if (sources[c] == id) zeros[id].resize(model.component(id).cols);
    }
    parts_.assign(kParts, zeros);
  }

  PassNeeds Needs() const override {
    return {.end_stage = end_stage_, .inputs = true, .parts = kParts};
  }

  void Inputs(ComponentId id, const ObservedRows& x) override {
    double* const sum = parts_[x.part].at(id).data();
    for (int64_t i = 0; i < x.rows; ++i) {
      for (int64_t j = 0; j < x.width; ++j) {
        const double value = x.values[i * x.width + j];
        sum[j] += value * value;
      }
    }
  }

  InputMoments Means(int64_t tokens) const {
    InputMoments moments;
    for (const auto& [id, sums] : parts_[0]) {
      std::vector<float>& out = moments[id];
      for (size_t j = 0; j < sums.size(); ++j) {
        double sum = 0;
        for (const auto& part : parts_) sum += part.at(id)[j];
        out.push_back(static_cast<float>(sum / static_cast<double>(std::max<int64_t>(tokens, 1))));
      }
    }
    return moments;
  }

 private:
  const int end_stage_;
  std::vector<std::map<ComponentId, std::vector<double>>> parts_;
};

}  // namespace

absl::StatusOr<InputMoments> MeasureInputMoments(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> sequences,
                                                 int threads,
                                                 Progress* progress) {
  TokenPass pass(transformer, sequences, threads);
  SquareSums sums(transformer.model());
  BB_RETURN_IF_ERROR(pass.Observe(weights, &sums, "input moments", progress));
  return sums.Means(pass.total_rows());
}

}  // namespace bitbudget
