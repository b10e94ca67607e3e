#include "runtime/calibration/gptq_encoder.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/calibration/coded_rows.h"
#include "runtime/calibration/feedback.h"
#include "runtime/calibration/gptq_rows.h"
#include "runtime/calibration/row_refiner.h"

namespace bitbudget {
namespace {

// Rows that are encoded together: enough for products at full speed, few enough to spread over
// threads.
constexpr int64_t kRowsAtOnce = 48;

// By how much another encoding of a row must have the smaller error to be taken: far above the
// rounding of errors, which are sums of squares in double over terms of float products.
constexpr double kGain = 1e-4;

class GptqEncoder final : public Encoder {
 public:
  GptqEncoder() : clip_(MakeClipEncoder()), imatrix_(MakeImatrixEncoder()) {}

  absl::string_view name() const override { return "gptq"; }
  StatsNeed needs() const override { return StatsNeed::kGram; }

 protected:
  absl::Status EncodeMatrix(const TensorView& weights,
                            const InputStats& stats,
                            int threads,
                            Encoding* encoding) const override;

  // Groups are not encoded one by one.
  void EncodeGroup(std::span<const float>,
                   std::span<const float>,
                   const Format&,
                   std::span<uint8_t>,
                   float*,
                   int*) const override {}
  void EncodeBlock(std::span<const float>,
                   std::span<const float>,
                   const BlockTraits&,
                   BlockFields*) const override {}

 private:
  std::unique_ptr<Encoder> clip_;
  std::unique_ptr<Encoder> imatrix_;
};

// Takes the rows of `other` that have a smaller error.
void TakeBetter(const RowBatch& other,
                const Feedback& feedback,
                int64_t group,
                RowBatch* best,
                std::vector<double>* best_errors) {
  std::vector<float> errors;
  other.Errors(group, &errors);
  std::vector<double> found(other.rows());
  feedback.OutputErrors(errors, found);
  for (int64_t row = 0; row < other.rows(); ++row) {
    if (!(found[row] < (1 - kGain) * (*best_errors)[row])) continue;
    (*best_errors)[row] = found[row];
    best->coded[row] = other.coded[row];
  }
}

absl::Status GptqEncoder::EncodeMatrix(const TensorView& weights,
                                       const InputStats& stats,
                                       int threads,
                                       Encoding* encoding) const {
  const Format& format = encoding->format;
  const int64_t k = weights.cols;
  BB_ASSIGN_OR_RETURN(const Encoding clip, clip_->Encode(weights, format, stats, threads));
  BB_ASSIGN_OR_RETURN(const Encoding imatrix, imatrix_->Encode(weights, format, stats, threads));
  const DampedGram gram = Damp(*stats.gram);
  const std::unique_ptr<Feedback> natural = MakeFeedback(gram, NaturalOrder(k));
  const std::unique_ptr<Feedback> by_energy = MakeFeedback(gram, ActivationOrder(gram));
  const FormatLevels levels(format.Dense());
  const RowRefiner refiner(gram, *natural, levels);
  const int64_t group = format.GroupSize(k);
  const int64_t unit = levels.traits() != nullptr ? levels.traits()->block : group;
  const bool chooses = Feedback::kBlock % unit == 0;

  std::vector<CodedRow> sparse(format.IsSparse() ? weights.rows : 0);

  const auto encode = [&](int64_t first, int64_t rows) {
    RowBatch best;
    best.cols = k;
    best.weights.resize(rows * k);
    for (int64_t row = 0; row < rows; ++row) {
      weights.ReadRow(first + row, std::span(best.weights).subspan(row * k, k));
      best.coded.push_back(CodedRow::Read(imatrix, levels, first + row));
    }
    std::vector<float> errors;
    std::vector<double> best_errors(rows);
    best.Errors(group, &errors);
    natural->OutputErrors(errors, best_errors);
    const RowBatch start = best;
    RowBatch other = best;
    for (int64_t row = 0; row < rows; ++row) {
      other.coded[row] = CodedRow::Read(clip, levels, first + row);
    }
    TakeBetter(other, *natural, group, &best, &best_errors);
    // A grid beyond f16 is one that the starts did not need: they are taken then.
    other = start;
    if (RunFeedback(*natural, levels, chooses ? imatrix_.get() : nullptr, &other).ok()) {
      TakeBetter(other, *natural, group, &best, &best_errors);
    }
    if (by_energy != nullptr) {
      other = start;
      if (RunFeedback(*by_energy, levels, nullptr, &other).ok()) {
        TakeBetter(other, *natural, group, &best, &best_errors);
      }
    }
    other = best;
    refiner.Refine(&other);
    TakeBetter(other, *natural, group, &best, &best_errors);
    for (int64_t row = 0; row < rows; ++row) {
      if (format.IsSparse()) {
        sparse[first + row] = std::move(best.coded[row]);
      } else {
        best.coded[row].Write(levels, first + row, encoding);
      }
    }
  };
  ParallelFor(threads, (weights.rows + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t item, int) {
    const int64_t first = item * kRowsAtOnce;
    encode(first, std::min(kRowsAtOnce, weights.rows - first));
  });
  if (format.IsSparse()) WriteSparse(sparse, imatrix, encoding);
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Encoder> MakeGptqEncoder() { return std::make_unique<GptqEncoder>(); }

}  // namespace bitbudget
