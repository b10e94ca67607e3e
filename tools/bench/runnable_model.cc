#include "tools/bench/runnable_model.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tools/bench/product_check.h"

namespace bitbudget {
namespace {

// Rows that go through a stage together: what Generate() takes of a prompt.
constexpr int64_t kPartRows = 240;

absl::StatusOr<Encoding> Encode(const Model& model, ComponentId id, const Format& format) {
  return MakeRtnEncoder()->Encode(model.Weight(id), format);
}

}  // namespace

RunnableModel::RunnableModel(const Model& model,
                             const Transformer& transformer,
                             const BenchCase& what)
    : model_(model),
      transformer_(transformer),
      what_(what),
      owned_(model.components().size()),
      cache_(model.config(), transformer.max_positions()) {}

absl::StatusOr<std::unique_ptr<RunnableModel>> RunnableModel::Create(const Model& model,
                                                                     const Transformer& transformer,
                                                                     const BenchCase& what,
                                                                     int threads) {
  std::unique_ptr<RunnableModel> out(new RunnableModel(model, transformer, what));
  BB_ASSIGN_OR_RETURN(out->format_, ParseFormat(what.format));
  std::vector<absl::Status> statuses(out->owned_.size());
  ParallelFor(threads, static_cast<int64_t>(out->owned_.size()), [&](int64_t i, int) {
    const auto id = static_cast<ComponentId>(i);
    const WeightUse use = UseOf(model, id);
    if (use == WeightUse::kRows) {
      out->owned_[i].emplace(model, id);
      return;
    }
    const absl::StatusOr<Encoding> encoding = Encode(model, id, out->format_);
    statuses[i] = encoding.status();
    if (encoding.ok()) out->owned_[i].emplace(*encoding, what.activations, use);
  });
  for (const absl::Status& status : statuses) BB_RETURN_IF_ERROR(status);
  for (size_t i = 0; i < out->owned_.size(); ++i) {
    out->set_.components.push_back(&*out->owned_[i]);
    const auto id = static_cast<ComponentId>(i);
    if (model.component(id).kind != ComponentKind::kEmbedding) out->matrices_.push_back(id);
  }
  if (out->matrices_.back() != model.head()) out->matrices_.push_back(model.head());  // tied
  return out;
}

void RunnableModel::Run(std::span<const int32_t> tokens,
                        int64_t position,
                        int threads,
                        float* logits) {
  const int64_t width = model_.config().hidden_size;
  const int64_t rows = static_cast<int64_t>(tokens.size());
  for (KeyValuePanels& layer : cache_.layers) layer.Truncate(position);
  workspace_.threads = threads;
  x_.Resize(rows * width);
  transformer_.Embed(set_, tokens, x_.data());
  const int head = NumStages(model_.config()) - 1;
  for (int stage = 1; stage < head; ++stage) {
    for (int64_t row = 0; row < rows; row += kPartRows) {
      const SequenceRows part = {std::min(kPartRows, rows - row), &cache_};
      transformer_.RunStage(stage, set_, {&part, 1}, x_.data() + row * width, &workspace_);
    }
  }
  transformer_.Logits(set_, x_.data() + (rows - 1) * width, width, 1, logits, &workspace_);
}

absl::Status RunnableModel::Check(std::span<const int32_t> tokens) {
  CHECK_GE(tokens.size(), 2u);
  const ModelConfig& config = model_.config();
  const int last = static_cast<int>(config.num_hidden_layers) - 1;
  std::vector<float> at_once(static_cast<size_t>(config.vocab_size));
  std::vector<float> in_steps(at_once.size());
  absl::Status status;
  PackedActivations packed;
  std::vector<float> y;
  const auto check_product = [&](ComponentId id, std::span<const float> x, int64_t rows) {
    const absl::StatusOr<Encoding> encoding = Encode(model_, id, format_);
    BB_RETURN_IF_ERROR(encoding.status());
    const WeightPanels& weights = panels(id);
    y.assign(static_cast<size_t>(rows * weights.n), NAN);
    PackActivations(weights.packing(), x.data(), weights.k, rows, weights.k, &packed);
    Linear(packed, weights, y.data(), weights.n);
    return CheckProduct(absl::StrCat(model_.component(id).name, " in ", what_.format),
                        weights.packing(),
                        weights.flush,
                        *encoding,
                        x,
                        rows,
                        y);
  };
  workspace_.observe_input = [&](ComponentId first, const float* x, int64_t rows, int64_t width) {
    const Component& component = model_.component(first);
    const std::span<const float> input(x, static_cast<size_t>(rows * width));
    std::vector<ComponentId> users = {first};
    if (component.kind == ComponentKind::kQ) users = {first, first + 1, first + 2};
    if (component.kind == ComponentKind::kGate) users = {first, first + 1};
    const bool checked = first == model_.head() || component.layer == 0 || component.layer == last;
    for (const ComponentId id : users) {
      if (checked && status.ok()) status = check_product(id, input, rows);
    }
  };
  Run(tokens, 0, /*threads=*/1, at_once.data());
  workspace_.observe_input = nullptr;
  BB_RETURN_IF_ERROR(status);
  Run(tokens.first(tokens.size() - 1), 0, /*threads=*/1, in_steps.data());
  Run(tokens.last(1), static_cast<int64_t>(tokens.size()) - 1, /*threads=*/1, in_steps.data());
  for (size_t i = 0; i < at_once.size(); ++i) {
    if (std::isfinite(at_once[i]) && at_once[i] == in_steps[i]) continue;
    return absl::InternalError(absl::StrCat(what_.format,
                                            ", ",
                                            ActivationsName(what_.activations),
                                            " activations: logit ",
                                            i,
                                            " is ",
                                            at_once[i],
                                            " in one pass and ",
                                            in_steps[i],
                                            " when the last token is run alone"));
  }
  return absl::OkStatus();
}

std::vector<int32_t> RandomPrompt(const Model& model, int64_t count) {
  Random random(/*seed=*/3);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random.Below(static_cast<uint64_t>(model.config().vocab_size)));
  }
  return tokens;
}

}  // namespace bitbudget
