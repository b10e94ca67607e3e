#include "runtime/eval/bank.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

std::vector<ComponentFormat> ListOf(const Assignment& assignment) {
  std::vector<ComponentFormat> list;
  for (size_t c = 0; c < assignment.size(); ++c) {
    list.push_back({static_cast<ComponentId>(c), assignment[c]});
  }
  return list;
}

int64_t BytesOf(const std::optional<Encoding>& encoding) {
  return encoding.has_value() ? static_cast<int64_t>(encoding->bytes.size()) : 0;
}

}  // namespace

Assignment StoredAssignment(const Model& model) {
  Assignment assignment;
  for (size_t c = 0; c < model.components().size(); ++c) {
    assignment.push_back(model.Weight(static_cast<ComponentId>(c)).format);
  }
  return assignment;
}

absl::StatusOr<WeightLease> AssignmentWeights::Pin(int first, int end, int threads) {
  return bank_->Pin(assignment_, activations_, first, end, threads);
}

EncodingBank::EncodingBank(const Model& model,
                           const WeightEncoder& encoder,
                           const BankOptions& options)
    : model_(model), encoder_(encoder), options_(options), spill_(options.spill_directory) {}

Format EncodingBank::StoredFormat(ComponentId component) const {
  return model_.Weight(component).format;
}

EncodingBank::Counts EncodingBank::counts() const {
  Counts counts = counts_;
  counts.held_bytes = held_bytes_;
  counts.spilled_bytes = spill_.size();
  return counts;
}

int64_t EncodingBank::PanelBytes(const ComponentFormat& what) const {
  const auto& [id, format] = what;
  const Component& component = model_.component(id);
  const bool stored = IsStored(what);
  const WeightUse use = UseOf(model_, id);
  int64_t bytes = 0;
  if (use != WeightUse::kProduct && !stored) {
    bytes += SizeBytes(format, component.rows, component.cols);
  }
  if (use == WeightUse::kRows) return bytes;
  const int64_t rows = RoundUp(component.rows, kPanelWidth);
  const int64_t cols = RoundUp(component.cols, kInputPad);
  if (format.kind == FormatKind::kRemoved) return bytes;
  if (format.IsFloat() || format.kind == FormatKind::kOneBit ||
      options_.activations == Activations::kF32) {
    return bytes + rows * cols * 4;
  }
  // Its runs, for the formats that it has.
  const int run =
      options_.activations == Activations::kLlamaCpp ? RunOf(LlamaCppRounding(format)) : 0;
  return bytes + CodePanelBytes(format, component.rows, component.cols, run > 0 ? run : kMaxFlush);
}

absl::Status EncodingBank::Prepare(const Assignment& assignment, int threads, Progress* progress) {
  CHECK_EQ(assignment.size(), model_.components().size());
  return Prepare(ListOf(assignment), threads, progress);
}

absl::Status EncodingBank::Prepare(std::span<const ComponentFormat> wanted,
                                   int threads,
                                   Progress* progress) {
  std::vector<ComponentFormat> missing;
  for (const ComponentFormat& want : wanted) {
    if (!IsStored(want) && !entries_.contains(want)) {
      missing.push_back(want);
    }
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());

  // A few at a time, so that finished ones can be spilled before the next are made.
  const size_t at_once = static_cast<size_t>(threads);
  for (size_t begin = 0; begin < missing.size(); begin += at_once) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    const size_t count = std::min(at_once, missing.size() - begin);
    int64_t bytes = 0;
    for (size_t i = begin; i < begin + count; ++i) {
      const Component& component = model_.component(missing[i].component);
      bytes += SizeBytes(missing[i].format, component.rows, component.cols);
    }
    BB_RETURN_IF_ERROR(MakeRoom(bytes));
    std::vector<absl::StatusOr<Encoding>> made(count);
    // A single one is spread over all threads, row by row.
    const int each = count == 1 ? threads : 1;
    ParallelFor(count == 1 ? 1 : threads, static_cast<int64_t>(count), [&](int64_t i, int) {
      const auto& [component, format] = missing[begin + i];
      made[i] = encoder_.Encode(component, format, each);
    });
    for (size_t i = 0; i < count; ++i) {
      if (!made[i].ok()) return made[i].status();
      Entry& entry = entries_[missing[begin + i]];
      entry.encoding = *std::move(made[i]);
      entry.last_use = ++clock_;
      held_bytes_ += BytesOf(entry.encoding);
      ++counts_.encoded;
      model_.ReleasePages(missing[begin + i].component);
    }
  }
  encoder_.FreeWorkspace();
  return absl::OkStatus();
}

absl::StatusOr<Encoding> EncodingBank::ReadBack(const ComponentFormat& what,
                                                const Entry& entry) const {
  CHECK(entry.spilled_at.has_value());
  const Component& component = model_.component(what.component);
  Encoding encoding{what.format, component.rows, component.cols, {}};
  encoding.bytes.resize(SizeBytes(what.format, component.rows, component.cols));
  BB_RETURN_IF_ERROR(spill_.Read(*entry.spilled_at, encoding.bytes));
  return encoding;
}

absl::StatusOr<int64_t> EncodingBank::Lend(int64_t bytes) {
  BB_RETURN_IF_ERROR(MakeRoom(bytes));
  return std::clamp<int64_t>(options_.max_bytes - held_bytes_, 0, bytes);
}

absl::StatusOr<Encoding> EncodingBank::Encoded(const ComponentFormat& what) {
  if (IsStored(what)) {
    return encoder_.Encode(what.component, what.format, 1);  // a copy of its bytes
  }
  Progress silent;
  BB_RETURN_IF_ERROR(Prepare({&what, 1}, 1, &silent));
  const Entry& entry = entries_.at(what);
  if (entry.encoding.has_value()) return *entry.encoding;
  return ReadBack(what, entry);
}

void EncodingBank::Forget() {
  std::erase_if(entries_, [&](const Entries::value_type& item) {
    const auto& [what, entry] = item;
    CHECK_EQ(entry.pins, 0) << model_.component(what.component).name;
    if (IsStored(what)) return false;
    held_bytes_ -= BytesOf(entry.encoding);
    if (entry.weights != nullptr) held_bytes_ -= entry.weights->bytes();
    return true;
  });
}

absl::StatusOr<std::unique_ptr<ComponentWeights>> EncodingBank::Make(const ComponentFormat& what,
                                                                     const Entry& entry) const {
  if (IsStored(what)) {
    return std::make_unique<ComponentWeights>(model_, what.component);
  }
  const WeightUse use = UseOf(model_, what.component);
  if (entry.encoding.has_value()) {
    return std::make_unique<ComponentWeights>(*entry.encoding, options_.activations, use);
  }
  BB_ASSIGN_OR_RETURN(const Encoding encoding, ReadBack(what, entry));
  return std::make_unique<ComponentWeights>(encoding, options_.activations, use);
}

absl::Status EncodingBank::MakeRoom(int64_t bytes) {
  while (held_bytes_ + bytes > options_.max_bytes) {
    Entry* idle = nullptr;     // panels that the running pass does not need, the oldest
    Entry* encoded = nullptr;  // the oldest encoding in memory
    Entry* needed = nullptr;   // panels that the running pass needs last
    for (auto& [what, entry] : entries_) {
      if (entry.encoding.has_value() &&
          (encoded == nullptr || entry.last_use < encoded->last_use)) {
        encoded = &entry;
      }
      if (entry.weights == nullptr || entry.pins > 0) continue;
      if (entry.needed_at == pin_clock_) {
        if (needed == nullptr || entry.last_use > needed->last_use) needed = &entry;
      } else if (idle == nullptr || entry.last_use < idle->last_use) {
        idle = &entry;
      }
    }
    if (idle == nullptr && encoded != nullptr) {
      if (!encoded->spilled_at.has_value()) {
        BB_ASSIGN_OR_RETURN(encoded->spilled_at, spill_.Append(encoded->encoding->bytes));
      }
      held_bytes_ -= BytesOf(encoded->encoding);
      encoded->encoding.reset();
      continue;
    }
    Entry* const dropped = idle != nullptr ? idle : needed;
    if (dropped == nullptr) return absl::OkStatus();
    held_bytes_ -= dropped->weights->bytes();
    dropped->weights.reset();
  }
  return absl::OkStatus();
}

std::vector<ComponentFormat> EncodingBank::OfStage(const Assignment& assignment, int stage) const {
  std::vector<ComponentFormat> list;
  for (const ComponentId id : StageComponents(stage, model_.config())) {
    list.push_back({id, assignment[id]});
  }
  return list;
}

absl::StatusOr<WeightLease> EncodingBank::Pin(
    const Assignment& assignment, F32Activations activations, int first, int end, int threads) {
  CHECK(0 <= first && first < end && end <= NumStages(model_.config()));
  CHECK_EQ(assignment.size(), model_.components().size());
  ++pin_clock_;
  std::vector<ComponentFormat> all;
  for (int stage = first; stage < end; ++stage) {
    for (const ComponentFormat& what : OfStage(assignment, stage)) all.push_back(what);
  }
  Progress silent;
  BB_RETURN_IF_ERROR(Prepare(all, threads, &silent));
  for (const ComponentFormat& what : all) entries_[what].needed_at = pin_clock_;

  // As many stages as fit beside what is pinned already; at least one.
  std::vector<ComponentFormat> pinned;
  int64_t bytes = 0;
  for (const auto& [what, entry] : entries_) {
    if (entry.pins > 0) bytes += entry.weights->bytes();
  }
  int stage = first;
  for (; stage < end; ++stage) {
    const std::vector<ComponentFormat> wanted = OfStage(assignment, stage);
    int64_t more = 0;
    for (const ComponentFormat& what : wanted) {
      if (entries_[what].pins == 0) more += PanelBytes(what);
    }
    if (stage > first && bytes + more > options_.max_bytes) break;
    bytes += more;
    for (const ComponentFormat& what : wanted) {
      ++entries_[what].pins;
      pinned.push_back(what);
    }
  }
  if (absl::Status status = MakeWeights(pinned, threads); !status.ok()) {
    Unpin(pinned);
    return status;
  }
  WeightSet set;
  set.components.resize(assignment.size());
  if (!vectors_.empty() && assignment != StoredAssignment()) set.vectors = &vectors_;
  if (options_.is_candidate) set.vectors_of = &model_;
  set.round_activations = activations == F32Activations::kRounded;
  set.round_stored =
      activations == F32Activations::kByBank && options_.activations == Activations::kLlamaCpp;
  for (const ComponentFormat& what : pinned) {
    set.components[what.component] = entries_[what].weights.get();
  }
  return WeightLease(std::move(set), stage, [this, pinned = std::move(pinned)] { Unpin(pinned); });
}

absl::Status EncodingBank::MakeWeights(const std::vector<ComponentFormat>& pinned, int threads) {
  std::vector<Entries::iterator> missing;
  int64_t bytes = 0;
  for (const ComponentFormat& what : pinned) {
    const auto it = entries_.find(what);
    if (it->second.weights != nullptr) continue;
    if (std::find(missing.begin(), missing.end(), it) != missing.end()) continue;
    missing.push_back(it);
    bytes += PanelBytes(what);
  }
  if (missing.empty()) return absl::OkStatus();
  BB_RETURN_IF_ERROR(MakeRoom(bytes));
  std::vector<absl::Status> statuses(missing.size());
  ParallelFor(threads, static_cast<int64_t>(missing.size()), [&](int64_t i, int) {
    auto& [what, entry] = *missing[i];
    auto made = Make(what, entry);
    if (made.ok()) entry.weights = *std::move(made);
    // Rows of an embedding are read from the checkpoint as tokens come.
    if (IsStored(what) && UseOf(model_, what.component) == WeightUse::kProduct) {
      model_.ReleasePages(what.component);
    }
    statuses[i] = made.status();
  });
  for (size_t i = 0; i < missing.size(); ++i) {
    if (!statuses[i].ok()) continue;
    held_bytes_ += missing[i]->second.weights->bytes();
    ++counts_.packed;
  }
  for (const absl::Status& status : statuses) BB_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

void EncodingBank::Unpin(const std::vector<ComponentFormat>& pinned) {
  for (const ComponentFormat& what : pinned) {
    Entry& entry = entries_[what];
    --entry.pins;
    entry.last_use = ++clock_;
  }
}

}  // namespace bitbudget
