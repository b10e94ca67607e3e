#include "runtime/eval/weight_encoder.h"

#include <algorithm>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/input_sources.h"

namespace bitbudget {

StatsWeightEncoder::StatsWeightEncoder(const Model& model, const Encoder& encoder)
    : model_(model), encoder_(encoder), sources_(InputSources(model)) {
  int64_t widest = 0;
  for (const Component& component : model.components()) widest = std::max(widest, component.cols);
  ones_.assign(widest, 1.0f);
}

absl::StatusOr<Encoding> StatsWeightEncoder::Encode(ComponentId id,
                                                    const Format& format,
                                                    int threads) const {
  InputStats stats;
  const bool multiplied = sources_[id] >= 0;
  const bool gram = encoder_.needs() == StatsNeed::kGram;
  Gram storage;
  if (gram && multiplied && grams_ != nullptr) {
    BB_ASSIGN_OR_RETURN(stats.gram, grams_->Find(sources_[id], &storage));
  }
  if (encoder_.needs() != StatsNeed::kNothing) {
    if (const auto found = moments_.find(sources_[id]); found != moments_.end()) {
      stats.moments = found->second;
    } else if (!multiplied) {
      stats.moments = std::span(ones_).first(static_cast<size_t>(model_.component(id).cols));
    }
  }
  const Encoder& encoder = gram && !multiplied ? *clip_ : encoder_;
  absl::StatusOr<Encoding> encoding = encoder.Encode(model_.Weight(id), format, stats, threads);
  if (encoding.ok()) return encoding;
  return absl::Status(
      encoding.status().code(),
      absl::StrCat(
          model_.component(id).name, " in ", format.Name(), ": ", encoding.status().message()));
}

}  // namespace bitbudget
