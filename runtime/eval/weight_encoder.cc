#include "runtime/eval/weight_encoder.h"

#include <algorithm>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
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
  if (encoder_.needs() == StatsNeed::kMoments) {
    if (const auto found = moments_.find(sources_[id]); found != moments_.end()) {
      stats.moments = found->second;
    } else if (sources_[id] < 0) {
      stats.moments = std::span(ones_).first(static_cast<size_t>(model_.component(id).cols));
    }
  }
  absl::StatusOr<Encoding> encoding = encoder_.Encode(model_.Weight(id), format, stats, threads);
  if (encoding.ok()) return encoding;
  return absl::Status(
      encoding.status().code(),
      absl::StrCat(
          model_.component(id).name, " in ", format.Name(), ": ", encoding.status().message()));
}

}  // namespace bitbudget
