#include "planner/runs/run.h"

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::Status Run::Begin(const std::string& run_directory,
                        std::span<const IdentityField> identity,
                        Progress* progress) {
  messages::Identity own;
  for (const IdentityField& field : identity) own.add_values(field.value);
  BB_ASSIGN_OR_RETURN(const std::vector<std::string> sent,
                      ranks_->Exchange("identity", Serialize(own)));
  for (int r = 1; r < ranks_->size(); ++r) {
    BB_ASSIGN_OR_RETURN(const auto first, Parse<messages::Identity>(sent[0], "identity", "rank 0"));
    BB_ASSIGN_OR_RETURN(const auto other,
                        Parse<messages::Identity>(sent[r], "identity", absl::StrCat("rank ", r)));
    for (int i = 0; i < first.values_size() && i < other.values_size(); ++i) {
      if (other.values(i) == first.values(i)) continue;
      return absl::InvalidArgumentError(absl::StrCat("rank ",
                                                     r,
                                                     " has another ",
                                                     identity[i].name,
                                                     " than rank 0: ",
                                                     other.values(i),
                                                     " instead of ",
                                                     first.values(i),
                                                     "; all machines need the same files"));
    }
  }
  if (run_directory.empty()) return absl::OkStatus();
  // From here on there is a run to resume: an interruption says so instead of ending at once.
  absl::Status opened =
      progress->Interrupted() ? absl::CancelledError("interrupted") : absl::OkStatus();
  if (ranks_->is_root() && opened.ok()) {
    if (HoldsOldStore(run_directory)) {
      progress->Message(absl::StrCat(run_directory,
                                     "/",
                                     kRunStoreFile,
                                     " is a run of an earlier version and not used; it can be "
                                     "removed"));
    }
    absl::StatusOr<std::unique_ptr<RunStore>> store = RunStore::Open(run_directory, identity);
    opened = store.status();
    if (store.ok()) store_ = *std::move(store);
  }
  BB_RETURN_IF_ERROR(ranks_->Agree("opening the store", opened));
  stored_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> Run::Recall(absl::string_view key) {
  if (!stored_) return std::optional<std::string>();
  if (ranks_->size() == 1) return store_->GetBlob(key);
  absl::StatusOr<std::string> message = std::string();
  if (store_ != nullptr) {
    absl::StatusOr<std::optional<std::string>> value = store_->GetBlob(key);
    if (value.ok()) {
      messages::Recalled recalled;
      if (value->has_value()) recalled.set_value(**std::move(value));
      message = Serialize(recalled);
    } else {
      message = value.status();
    }
  }
  BB_ASSIGN_OR_RETURN(const std::string sent, ranks_->FromRoot(key, std::move(message)));
  BB_ASSIGN_OR_RETURN(auto recalled, Parse<messages::Recalled>(sent, "stored value", "rank 0"));
  if (!recalled.has_value()) return std::optional<std::string>();
  return std::optional<std::string>(std::move(*recalled.mutable_value()));
}

absl::Status Run::Keep(absl::string_view key, absl::string_view value) {
  return store_ == nullptr ? absl::OkStatus() : store_->PutBlob(key, value);
}

absl::StatusOr<std::string> Run::Remember(
    absl::string_view key, const std::function<absl::StatusOr<std::string>()>& make) {
  if (const auto known = remembered_.find(key); known != remembered_.end()) return known->second;
  BB_ASSIGN_OR_RETURN(const std::optional<std::string> stored, Recall(key));
  if (stored.has_value()) return *stored;
  absl::StatusOr<std::string> made = make();
  BB_RETURN_IF_ERROR(ranks_->Agree(key, made.status()));
  BB_RETURN_IF_ERROR(Keep(key, *made));
  if (!stored_) remembered_.emplace(key, *made);
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
      messages::FoundResults sent;
      Evaluation results;
      for (const std::optional<ProbeResult>& result : *found) {
        sent.add_found(result.has_value());
        if (result.has_value()) results.push_back(*result);
      }
      ToMessage(results, sent.mutable_results());
      message = Serialize(sent);
    }
  }
  BB_ASSIGN_OR_RETURN(const std::string bytes,
                      ranks_->FromRoot("stored results", std::move(message)));
  BB_ASSIGN_OR_RETURN(const auto sent,
                      Parse<messages::FoundResults>(bytes, "stored results", "rank 0"));
  BB_ASSIGN_OR_RETURN(const Evaluation results, FromMessage(sent.results(), "rank 0"));
  std::vector<std::optional<ProbeResult>> found;
  size_t next = 0;
  for (const bool known : sent.found()) {
    found.emplace_back();
    if (known && next < results.size()) found.back() = results[next++];
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
