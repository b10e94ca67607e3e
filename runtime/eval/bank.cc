#include "runtime/eval/bank.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

EncodingBank::EncodingBank(const Model& model,
                           const ReferenceWeights& reference,
                           const Encoder& encoder,
                           Activations activations,
                           int64_t max_bytes)
    : model_(model),
      reference_(reference),
      encoder_(encoder),
      activations_(activations),
      max_bytes_(max_bytes) {}

Format EncodingBank::StoredFormat(ComponentId component) const {
  return DTypeFormat(model_.Weight(component).dtype);
}

Assignment EncodingBank::StoredAssignment() const {
  Assignment assignment;
  for (size_t c = 0; c < model_.components().size(); ++c) {
    assignment.push_back(StoredFormat(static_cast<ComponentId>(c)));
  }
  return assignment;
}

absl::Status EncodingBank::Prepare(std::span<const ComponentFormat> wanted, int threads) {
  std::vector<ComponentFormat> missing;
  for (const ComponentFormat& want : wanted) {
    if (want.format != StoredFormat(want.component) && !entries_.contains(want)) {
      missing.push_back(want);
    }
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());

  std::vector<absl::StatusOr<std::unique_ptr<ComponentWeights>>> made(missing.size());
  ParallelFor(threads, static_cast<int64_t>(missing.size()), [&](int64_t i, int) {
    const auto& [component, format] = missing[i];
    absl::StatusOr<Encoding> encoding = encoder_.Encode(model_.Weight(component), format);
    if (!encoding.ok()) {
      made[i] = absl::Status(encoding.status().code(),
                             absl::StrCat(model_.component(component).name,
                                          " in ",
                                          format.Name(),
                                          ": ",
                                          encoding.status().message()));
      return;
    }
    made[i] = std::make_unique<ComponentWeights>(
        *std::move(encoding),
        activations_,
        model_.component(component).kind == ComponentKind::kEmbedding);
  });
  for (size_t i = 0; i < missing.size(); ++i) {
    BB_RETURN_IF_ERROR(made[i].status());
    held_bytes_ += (*made[i])->bytes();
    entries_[missing[i]] = {*std::move(made[i]), ++clock_};
  }
  return absl::OkStatus();
}

const ComponentWeights* EncodingBank::Get(ComponentId component, const Format& format) {
  if (format == StoredFormat(component)) return &reference_.component(component);
  const auto entry = entries_.find({component, format});
  CHECK(entry != entries_.end()) << "component " << component << " was not prepared";
  entry->second.last_use = ++clock_;
  return entry->second.weights.get();
}

absl::StatusOr<WeightSet> EncodingBank::Weights(const Assignment& assignment, int threads) {
  CHECK_EQ(assignment.size(), model_.components().size());
  std::vector<ComponentFormat> wanted;
  for (size_t c = 0; c < assignment.size(); ++c) {
    wanted.push_back({static_cast<ComponentId>(c), assignment[c]});
  }
  BB_RETURN_IF_ERROR(Prepare(wanted, threads));
  WeightSet set;
  for (const ComponentFormat& want : wanted)
    set.components.push_back(Get(want.component, want.format));
  return set;
}

void EncodingBank::Trim(const Assignment& keep) {
  while (held_bytes_ > max_bytes_) {
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      const auto& [component, format] = it->first;
      if (component < static_cast<ComponentId>(keep.size()) && keep[component] == format) continue;
      if (oldest == entries_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
    }
    if (oldest == entries_.end()) return;
    held_bytes_ -= oldest->second.weights->bytes();
    entries_.erase(oldest);
  }
}

}  // namespace bitbudget
