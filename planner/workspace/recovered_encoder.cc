#include "planner/workspace/recovered_encoder.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

RecoveredWeights::RecoveredWeights(const ComponentEncodings& encodings, VectorsByLayer vectors)
    : vectors_(std::move(vectors)) {
  for (const auto& [id, encoding] : encodings) {
    parts_[id] = {encoding.format, std::as_bytes(std::span(encoding.bytes))};
  }
}

absl::Status RecoveredEncoder::CheckFormat(ComponentId id, const Format& format) const {
  if (weights_.empty() || format == model_.Weight(id).format) return absl::OkStatus();
  const auto found = weights_.parts().find(id);
  if (found != weights_.parts().end() && found->second.format == format) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(model_.component(id).name,
                   " in ",
                   format.Name(),
                   ": the plan is recovered, and has this component ",
                   found == weights_.parts().end()
                       ? "as it is stored"
                       : absl::StrCat("with codes for ", found->second.format.Name()),
                   "; only the plan from before its recovery can be changed"));
}

absl::Status RecoveredEncoder::CheckFormats(const Assignment& assignment) const {
  for (size_t c = 0; c < assignment.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    BB_RETURN_IF_ERROR(CheckFormat(id, assignment[c]));
    if (weights_.vectors().empty() || !weights_.parts().contains(id)) continue;
    if (assignment[c] == weights_.parts().at(id).format) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(model_.component(id).name,
                     ": the plan is recovered, and its norms belong to its codes; only the plan "
                     "from before its recovery can be changed"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Encoding> RecoveredEncoder::Encode(ComponentId id,
                                                  const Format& format,
                                                  int threads) const {
  BB_RETURN_IF_ERROR(CheckFormat(id, format));
  if (weights_.empty() || format == model_.Weight(id).format) {
    return encoder_.Encode(id, format, threads);
  }
  const std::span<const std::byte> bytes = weights_.parts().at(id).bytes;
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  const Component& component = model_.component(id);
  return Encoding{
      format, component.rows, component.cols, std::vector<uint8_t>(begin, begin + bytes.size())};
}

}  // namespace bitbudget
