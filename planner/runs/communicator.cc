#include "planner/runs/communicator.h"

#include <glog/logging.h>

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

class SingleProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int ranks_on_machine() const override { return 1; }

 protected:
  absl::StatusOr<std::vector<std::string>> AllGather(absl::string_view message) override {
    return std::vector<std::string>{std::string(message)};
  }
};

std::string MakeContribution(absl::string_view what, const absl::StatusOr<std::string>& mine) {
  messages::Contribution contribution;
  contribution.set_meeting(std::string(what));
  contribution.set_code(static_cast<int32_t>(mine.status().code()));
  contribution.set_content(mine.ok() ? *mine : std::string(mine.status().message()));
  return Serialize(contribution);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> Communicator::Exchange(absl::string_view what,
                                                                absl::StatusOr<std::string> mine) {
  if (over_) {
    CHECK(!last_error_.ok()) << what << ": after Finish()";
    return last_error_;
  }
  if (size() == 1) {
    if (!mine.ok()) return mine.status();
    return std::vector<std::string>{*std::move(mine)};
  }
  const absl::StatusOr<std::vector<std::string>> gathered = AllGather(MakeContribution(what, mine));
  absl::Status winner = gathered.status();
  absl::Status out_of_step;  // only an error when no rank has brought one: who leaves is elsewhere
  std::vector<std::string> values;
  for (int r = 0; gathered.ok() && r < size(); ++r) {
    auto contribution =
        Parse<messages::Contribution>((*gathered)[r], "contribution", absl::StrCat("rank ", r));
    if (!contribution.ok()) {
      out_of_step.Update(contribution.status());
      continue;
    }
    const auto code = static_cast<absl::StatusCode>(contribution->code());
    values.push_back(std::move(*contribution->mutable_content()));
    if (code != absl::StatusCode::kOk && (winner.ok() || absl::IsCancelled(winner)) &&
        (winner.ok() || code != absl::StatusCode::kCancelled)) {
      winner = absl::Status(code, values.back());
    }
    if (contribution->meeting() != what) {
      out_of_step.Update(absl::InternalError(absl::StrCat("rank ",
                                                          r,
                                                          " is at '",
                                                          contribution->meeting(),
                                                          "', rank ",
                                                          rank(),
                                                          " at '",
                                                          what,
                                                          "'")));
    }
  }
  winner.Update(out_of_step);
  if (winner.ok()) return values;
  over_ = true;
  last_error_ = winner;
  // A rank's own status may carry more than code and message.
  return mine.status().code() == winner.code() ? mine.status() : winner;
}

absl::StatusOr<std::string> Communicator::FromRoot(absl::string_view what,
                                                   absl::StatusOr<std::string> mine) {
  if (mine.ok() && !is_root()) mine->clear();
  BB_ASSIGN_OR_RETURN(std::vector<std::string> values, Exchange(what, std::move(mine)));
  return std::move(values[0]);
}

absl::Status Communicator::Agree(absl::string_view what, const absl::Status& mine) {
  if (!mine.ok()) return Exchange(what, mine).status();
  return Exchange(what, std::string()).status();
}

absl::Status Communicator::Finish(const absl::Status& mine) {
  if (over_ || size() == 1) return mine;
  absl::Status status = Agree("the end", mine);
  over_ = true;
  return status;
}

std::unique_ptr<Communicator> MakeSingleProcess() { return std::make_unique<SingleProcess>(); }

}  // namespace bitbudget
