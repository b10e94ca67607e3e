#include "runtime/quantize/gptq_encoder.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/feedback.h"
#include "runtime/quantize/gptq_rows.h"
#include "runtime/quantize/gram_factors.h"
#include "runtime/quantize/lwc_encoder.h"
#include "runtime/quantize/row_refiner.h"

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
  // `learned`, if not null: an encoder whose grids are tried, too.
  GptqEncoder(absl::string_view name, std::unique_ptr<Encoder> learned)
      : name_(name),
        clip_(MakeClipEncoder()),
        imatrix_(MakeImatrixEncoder()),
        learned_(std::move(learned)) {}

  absl::string_view name() const override { return name_; }
  StatsNeed needs() const override { return StatsNeed::kGram; }

 protected:
  absl::Status EncodeMatrix(const TensorView& weights,
                            const InputStats& stats,
                            int threads,
                            Encoding* encoding) const override;

 private:
  const absl::string_view name_;
  const std::unique_ptr<Encoder> clip_;
  const std::unique_ptr<Encoder> imatrix_;
  const std::unique_ptr<Encoder> learned_;
};

// Of the encodings offered for a few rows, those with the smallest errors d H d^T.
class BestRows {
 public:
  BestRows(const Feedback& feedback, int64_t group, int64_t rows)
      : feedback_(feedback),
        group_(group),
        coded_(rows),
        errors_(rows, std::numeric_limits<double>::infinity()) {}

  void Offer(const RowBatch& batch) {
    std::vector<float> errors;
    batch.Errors(group_, &errors);
    std::vector<double> found(batch.rows());
    feedback_.OutputErrors(errors, found);
    Offer(batch, found);
  }
  // `found`: the errors. Taken where they are smaller by more than `gain`.
  void Offer(const RowBatch& batch, std::span<const double> found, double gain = kGain) {
    for (int64_t row = 0; row < batch.rows(); ++row) {
      if (!(found[row] < (1 - gain) * errors_[row])) continue;
      errors_[row] = found[row];
      coded_[row] = batch.coded[row];
    }
  }

  // An encoding that no row is to be worse than. It is most often, which is seen before its errors
  // are known in full.
  void OfferBound(const RowBatch& batch) {
    std::vector<float> errors;
    batch.Errors(group_, &errors);
    std::vector<double> found(batch.rows());
    feedback_.OutputErrors(errors, found, errors_);
    Offer(batch, found, /*gain=*/0);
  }

  const std::vector<CodedRow>& coded() const { return coded_; }

 private:
  const Feedback& feedback_;
  int64_t group_;
  std::vector<CodedRow> coded_;
  std::vector<double> errors_;
};

absl::Status GptqEncoder::EncodeMatrix(const TensorView& weights,
                                       const InputStats& stats,
                                       int threads,
                                       Encoding* encoding) const {
  const Format& format = encoding->format;
  const int64_t k = weights.cols;
  BB_ASSIGN_OR_RETURN(const Encoding clip, clip_->Encode(weights, format, stats, threads));
  // Those whose grids are worth feedback.
  std::vector<Encoding> starts;
  BB_ASSIGN_OR_RETURN(starts.emplace_back(), imatrix_->Encode(weights, format, stats, threads));
  if (learned_ != nullptr && format.IsInteger() && !format.IsSparse()) {
    BB_ASSIGN_OR_RETURN(starts.emplace_back(), learned_->Encode(weights, format, stats, threads));
  }
  std::optional<GramFactors> own;
  const GramFactors& factors = stats.factors != nullptr ? *stats.factors : own.emplace(*stats.gram);
  const Feedback* const natural = factors.natural.get();
  const Feedback* const by_energy = factors.by_energy.get();
  const FormatLevels levels(format.Dense());
  const RowRefiner refiner(factors, levels);
  const int64_t group = format.GroupSize(k);
  const int64_t unit = levels.traits() != nullptr ? levels.traits()->block : group;
  const Encoder* const chooser = Feedback::kColumnBatch % unit == 0 ? imatrix_.get() : nullptr;
  std::vector<CodedRow> sparse(format.IsSparse() ? weights.rows : 0);

  const auto encode = [&](int64_t first, int64_t rows) {
    RowBatch batch;
    batch.cols = k;
    batch.weights.resize(rows * k);
    for (int64_t row = 0; row < rows; ++row) {
      weights.ReadRow(first + row, std::span(batch.weights).subspan(row * k, k));
    }
    const auto read = [&](const Encoding& start) {
      batch.coded.clear();
      for (int64_t row = 0; row < rows; ++row) {
        batch.coded.push_back(CodedRow::Read(start, levels, first + row));
      }
    };
    BestRows best(*natural, group, rows);
    std::vector<double> found(rows);
    for (const Encoding& start : starts) {
      read(start);
      // Only the chooser can fail, on a grid beyond f16; the starts do without.
      const Encoder* const choosing = &start == &starts.front() ? chooser : nullptr;
      if (RunFeedback(*natural, levels, choosing, &batch, found).ok()) best.Offer(batch, found);
      if (by_energy == nullptr || levels.points() != nullptr) continue;
      read(start);
      if (RunFeedback(*by_energy, levels, nullptr, &batch, found).ok()) best.Offer(batch, found);
    }
    for (const Encoding& start : starts) {
      read(start);
      best.OfferBound(batch);
    }
    read(clip);
    best.OfferBound(batch);
    batch.coded = best.coded();
    refiner.Refine(&batch);
    best.Offer(batch);
    for (int64_t row = 0; row < rows; ++row) {
      if (format.IsSparse()) {
        sparse[first + row] = best.coded()[row];
      } else {
        best.coded()[row].Write(levels, first + row, encoding);
      }
    }
  };
  ParallelFor(threads, (weights.rows + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t item, int) {
    const int64_t first = item * kRowsAtOnce;
    encode(first, std::min(kRowsAtOnce, weights.rows - first));
  });
  if (format.IsSparse()) WriteSparseRows(sparse, clip, encoding);
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Encoder> MakeGptqEncoder() {
  return std::make_unique<GptqEncoder>("gptq", nullptr);
}

std::unique_ptr<Encoder> MakeGuidedGptqEncoder() {
  return std::make_unique<GptqEncoder>("gptq-guided", nullptr);
}

std::unique_ptr<Encoder> MakeAutoEncoder() {
  return std::make_unique<GptqEncoder>("auto", MakeLwcEncoder());
}

}  // namespace bitbudget
