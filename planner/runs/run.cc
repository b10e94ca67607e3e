#include "planner/runs/run.h"

#include "absl/strings/str_cat.h"
#include "planner/runs/packing.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

std::string PackResults(std::span<const ProbeResult> results) {
  Packer packer;
  packer.Number<int64_t>(static_cast<int64_t>(results.size()));
  for (const ProbeResult& result : results) {
    packer.Number<int32_t>(result.tokens);
    packer.Number<int32_t>(result.fdt);
    packer.Number<int32_t>(result.sdt);
    packer.Number<double>(result.nll_sum);
    packer.Number<double>(result.kl_sum);
  }
  return packer.Take();
}

absl::StatusOr<Evaluation> UnpackResults(absl::string_view bytes, absl::string_view where) {
  constexpr size_t kHeader = 8, kResult = 28;
  Unpacker unpacker(bytes);
  const int64_t count = unpacker.Number<int64_t>();
  if (bytes.size() < kHeader || count < 0 ||
      (bytes.size() - kHeader) / kResult != static_cast<uint64_t>(count)) {
    return absl::DataLossError(absl::StrCat(where, ": damaged results"));
  }
  Evaluation results(count);
  for (ProbeResult& result : results) {
    result.tokens = unpacker.Number<int32_t>();
    result.fdt = unpacker.Number<int32_t>();
    result.sdt = unpacker.Number<int32_t>();
    result.nll_sum = unpacker.Number<double>();
    result.kl_sum = unpacker.Number<double>();
  }
  if (!unpacker.Done()) return absl::DataLossError(absl::StrCat(where, ": damaged results"));
  return results;
}

absl::Status Run::Begin(const std::string& directory, std::span<const IdentityField> identity) {
  Packer packer;
  for (const IdentityField& field : identity) packer.Text(field.value);
  BB_ASSIGN_OR_RETURN(const std::vector<std::string> sent,
                      ranks_->Exchange("identity", packer.Take()));
  for (int r = 1; r < ranks_->size(); ++r) {
    Unpacker first(sent[0]), other(sent[r]);
    for (const IdentityField& field : identity) {
      const std::string expected = first.Text();
      const std::string value = other.Text();
      if (value == expected) continue;
      return absl::InvalidArgumentError(absl::StrCat("rank ",
                                                     r,
                                                     " has another ",
                                                     field.name,
                                                     " than rank 0: ",
                                                     value,
                                                     " instead of ",
                                                     expected,
                                                     "; all machines need the same files"));
    }
  }
  if (directory.empty()) return absl::OkStatus();
  absl::Status opened;
  if (ranks_->is_root()) {
    absl::StatusOr<std::unique_ptr<RunStore>> store = RunStore::Open(directory, identity);
    opened = store.status();
    if (store.ok()) store_ = *std::move(store);
  }
  BB_RETURN_IF_ERROR(ranks_->Agree("opening the store", opened));
  stored_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> Run::Recall(absl::string_view key) {
  if (!stored_) return std::optional<std::string>();
  absl::StatusOr<std::string> message = std::string();
  if (store_ != nullptr) {
    const absl::StatusOr<std::optional<std::string>> value = store_->GetBlob(key);
    if (value.ok()) {
      Packer packer;
      packer.Number<uint8_t>(value->has_value());
      packer.Text(value->value_or(""));
      message = packer.Take();
    } else {
      message = value.status();
    }
  }
  BB_ASSIGN_OR_RETURN(const std::string sent, ranks_->FromRoot(key, std::move(message)));
  Unpacker unpacker(sent);
  const bool found = unpacker.Number<uint8_t>() != 0;
  return found ? std::optional<std::string>(unpacker.Text()) : std::nullopt;
}

absl::Status Run::Keep(absl::string_view key, absl::string_view value) {
  return store_ == nullptr ? absl::OkStatus() : store_->PutBlob(key, value);
}

absl::StatusOr<std::string> Run::Remember(
    absl::string_view key, const std::function<absl::StatusOr<std::string>()>& make) {
  BB_ASSIGN_OR_RETURN(const std::optional<std::string> stored, Recall(key));
  if (stored.has_value()) return *stored;
  absl::StatusOr<std::string> made = make();
  BB_RETURN_IF_ERROR(ranks_->Agree(key, made.status()));
  BB_RETURN_IF_ERROR(Keep(key, *made));
  return made;
}

absl::StatusOr<std::vector<int64_t>> Run::ProbeIds(absl::string_view set,
                                                   std::span<const std::string> names) {
  // Only the rank that has the store needs them.
  if (store_ == nullptr) return std::vector<int64_t>(names.size());
  return store_->ProbeIds(set, names);
}

absl::StatusOr<std::vector<std::optional<ProbeResult>>> Run::Find(absl::string_view candidate,
                                                                  std::span<const int64_t> probes) {
  if (!stored_) return std::vector<std::optional<ProbeResult>>(probes.size());
  if (ranks_->size() == 1) return store_->Find(candidate, probes);
  absl::StatusOr<std::string> message = std::string();
  if (store_ != nullptr) {
    const absl::StatusOr<std::vector<std::optional<ProbeResult>>> found =
        store_->Find(candidate, probes);
    if (!found.ok()) {
      message = found.status();
    } else {
      std::vector<uint8_t> known;
      Evaluation results;
      for (const std::optional<ProbeResult>& result : *found) {
        known.push_back(result.has_value());
        if (result.has_value()) results.push_back(*result);
      }
      Packer packer;
      packer.Numbers(known);
      packer.Text(PackResults(results));
      message = packer.Take();
    }
  }
  BB_ASSIGN_OR_RETURN(const std::string sent,
                      ranks_->FromRoot("stored results", std::move(message)));
  Unpacker unpacker(sent);
  const std::vector<uint8_t> known = unpacker.Numbers<uint8_t>();
  BB_ASSIGN_OR_RETURN(const Evaluation results, UnpackResults(unpacker.Text(), "rank 0"));
  std::vector<std::optional<ProbeResult>> found(known.size());
  size_t next = 0;
  for (size_t i = 0; i < known.size(); ++i) {
    if (known[i] && next < results.size()) found[i] = results[next++];
  }
  if (found.size() != probes.size() || next != results.size()) {
    return absl::InternalError("rank 0 sent results of other probes");
  }
  return found;
}

absl::Status Run::Save(absl::string_view candidate,
                       std::span<const int64_t> probes,
                       std::span<const ProbeResult> results) {
  return store_ == nullptr ? absl::OkStatus() : store_->Save(candidate, probes, results);
}

}  // namespace bitbudget
