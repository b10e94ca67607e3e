#include "planner/workspace/checked_encoder.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

std::string EncodingSha256(const Encoding& encoding) {
  Sha256 hash;
  hash.Update({reinterpret_cast<const char*>(encoding.bytes.data()), encoding.bytes.size()});
  return hash.Finish();
}

absl::StatusOr<Encoding> CheckedWeightEncoder::Encode(ComponentId id,
                                                      const Format& format,
                                                      int threads) const {
  BB_ASSIGN_OR_RETURN(Encoding encoding, encoder_.Encode(id, format, threads));
  const auto found = expected_.find({id, format});
  if (found == expected_.end()) return encoding;
  const std::string hash = EncodingSha256(encoding);
  if (hash == found->second) return encoding;
  return absl::FailedPreconditionError(
      absl::StrCat(model_.component(id).name,
                   " in ",
                   format.Name(),
                   ": encoded again, it has the SHA-256 ",
                   hash,
                   ", not the ",
                   found->second,
                   " of the plan; another version of bitbudget made the plan"));
}

}  // namespace bitbudget
