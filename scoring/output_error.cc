#include "scoring/output_error.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/model/decoder/token_pass.h"
#include "runtime/quantize/input_sources.h"

namespace bitbudget {
namespace {

// Of `total` positions the first `position` hold so many of the `kept` ones, evenly spread.
int64_t KeptBefore(int64_t position, int64_t kept, int64_t total) {
  return position * kept / total;
}

double SquaredNorm(std::span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return sum;
}

// ||a - b||^2
double SquaredDistance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return sum;
}

double Ratio(double error, double signal) { return error == 0 ? 0 : error / signal; }

// y[rows][n] = x W^T, on up to `threads` threads.
void Multiply(std::span<const float> x,
              int64_t rows,
              const WeightPanels& panels,
              int threads,
              AlignedBuffer<float>* y) {
  PackedActivations packed;
  PackActivations(panels.packing(), x.data(), panels.k, rows, panels.k, &packed);
  y->Resize(rows * panels.n);
  Linear(packed, panels, y->data(), panels.n, threads);
}

// What the unmodified weights of a component make of the sample.
class ReferenceOutputs {
 public:
  ReferenceOutputs(const Model& model, const InputSample& sample, ComponentId id, int threads)
      : component_(model.component(id)),
        sample_(sample),
        use_(UseOf(model, id)),
        id_(id),
        weights_(model, id) {
    if (use_ == WeightUse::kRows) return;
    Multiply(sample.Inputs(id), sample.rows(), weights_.panels(), threads, &outputs_);
    norm_ = SquaredNorm(outputs_.span());
  }

  WeightUse use() const { return use_; }

  OutputChange Change(const ComponentWeights& changed) const {
    if (use_ == WeightUse::kRows) return LookupChange(changed);
    OutputChange change = ProductChange(changed);
    if (use_ != WeightUse::kProduct) change.relative_error += LookupChange(changed).relative_error;
    return change;
  }

 private:
  OutputChange ProductChange(const ComponentWeights& changed) const {
    AlignedBuffer<float> outputs;
    Multiply(sample_.Inputs(id_), sample_.rows(), changed.panels(), 1, &outputs);
    return {Ratio(SquaredDistance(outputs.span(), outputs_.span()), norm_),
            std::sqrt(Ratio(SquaredNorm(outputs.span()), norm_))};
  }

  OutputChange LookupChange(const ComponentWeights& changed) const {
    std::vector<float> row(component_.cols);
    std::vector<float> changed_row(component_.cols);
    double error = 0;
    double changed_norm = 0;
    double norm = 0;
    const std::vector<int64_t>& counts = sample_.token_counts();
    for (size_t token = 0; token < counts.size(); ++token) {
      if (counts[token] == 0) continue;
      weights_.ReadRow(static_cast<int64_t>(token), row);
      changed.ReadRow(static_cast<int64_t>(token), changed_row);
      const double count = static_cast<double>(counts[token]);
      error += count * SquaredDistance(changed_row, row);
      changed_norm += count * SquaredNorm(changed_row);
      norm += count * SquaredNorm(row);
    }
    return {Ratio(error, norm), std::sqrt(Ratio(changed_norm, norm))};
  }

  const Component& component_;
  const InputSample& sample_;
  const WeightUse use_;
  const ComponentId id_;
  const ComponentWeights weights_;
  AlignedBuffer<float> outputs_;
  double norm_ = 0;
};

}  // namespace

// Copies the kept rows among the inputs of every product.
class InputSample::Keep final : public PassObserver {
 public:
  Keep(const TokenPass& pass, int end_stage, InputSample* sample)
      : pass_(pass), end_stage_(end_stage), sample_(*sample) {}

  PassNeeds Needs() const override { return {.end_stage = end_stage_, .inputs = true}; }

  void Inputs(ComponentId id, const ObservedRows& x) override {
    float* const kept = sample_.inputs_.at(id).data();
    const int64_t total = pass_.total_rows();
    for (int64_t row = 0; row < x.rows; ++row) {
      const int64_t position = pass_.FirstRow(x.sequence) + x.first + row;
      const int64_t to = KeptBefore(position, sample_.rows_, total);
      if (to == KeptBefore(position + 1, sample_.rows_, total)) continue;
      std::copy_n(x.values + row * x.width, x.width, kept + to * x.width);
    }
  }

 private:
  const TokenPass& pass_;
  const int end_stage_;
  InputSample& sample_;
};

absl::StatusOr<InputSample> InputSample::Create(const Transformer& transformer,
                                                WeightSource* weights,
                                                std::span<const std::vector<int32_t>> sequences,
                                                int64_t max_rows,
                                                int threads,
                                                Progress* progress) {
  const Model& model = transformer.model();
  TokenPass pass(transformer, sequences, threads);
  InputSample sample;
  sample.sources_ = InputSources(model);
  sample.rows_ = std::min(max_rows, pass.total_rows());
  sample.token_counts_.resize(model.config().vocab_size);
  for (const std::vector<int32_t>& sequence : sequences) {
    for (const int32_t token : sequence) ++sample.token_counts_[token];
  }
  for (size_t c = 0; c < sample.sources_.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    if (sample.sources_[c] == id) {
      sample.inputs_[id].Resize(sample.rows_ * model.component(id).cols);
    }
  }
  Keep keep(pass, NumStages(model.config()), &sample);
  BB_RETURN_IF_ERROR(pass.Observe(weights, &keep, "calibration inputs", progress));
  return sample;
}

std::span<const float> InputSample::Inputs(ComponentId component) const {
  const auto found = inputs_.find(sources_[component]);
  CHECK(found != inputs_.end()) << "component " << component << " multiplies nothing";
  return found->second.span();
}

absl::StatusOr<std::vector<OutputChange>> OutputChanges(const InputSample& sample,
                                                        ComponentId component,
                                                        std::span<const Format> formats,
                                                        EncodingBank* bank,
                                                        int threads,
                                                        Progress* progress) {
  std::vector<OutputChange> changes(formats.size());
  std::vector<ComponentFormat> encoded;
  std::vector<size_t> index;  // of `encoded` in `formats`
  for (size_t i = 0; i < formats.size(); ++i) {
    if (formats[i] == bank->StoredFormat(component)) continue;
    encoded.push_back({component, formats[i]});
    index.push_back(i);
  }
  if (encoded.empty()) return changes;
  BB_RETURN_IF_ERROR(bank->Prepare(encoded, threads, progress));
  const ReferenceOutputs reference(bank->model(), sample, component, threads);
  for (size_t i = 0; i < encoded.size(); i += static_cast<size_t>(threads)) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    const size_t count = std::min(encoded.size() - i, static_cast<size_t>(threads));
    std::vector<Encoding> encodings;
    for (size_t j = i; j < i + count; ++j) {
      BB_ASSIGN_OR_RETURN(Encoding encoding, bank->Encoded(encoded[j]));
      encodings.push_back(std::move(encoding));
    }
    ParallelFor(threads, static_cast<int64_t>(count), [&](int64_t j, int) {
      const ComponentWeights changed(encodings[j], bank->activations(), reference.use());
      changes[index[i + static_cast<size_t>(j)]] = reference.Change(changed);
    });
  }
  return changes;
}

absl::StatusOr<std::vector<double>> OutputErrors(const InputSample& sample,
                                                 ComponentId component,
                                                 std::span<const Format> formats,
                                                 EncodingBank* bank,
                                                 int threads,
                                                 Progress* progress) {
  BB_ASSIGN_OR_RETURN(const std::vector<OutputChange> changes,
                      OutputChanges(sample, component, formats, bank, threads, progress));
  std::vector<double> errors;
  for (const OutputChange& change : changes) errors.push_back(change.relative_error);
  return errors;
}

}  // namespace bitbudget
