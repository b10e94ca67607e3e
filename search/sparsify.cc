#include "search/sparsify.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/status_macros.h"
#include "search/merit.h"
#include "search/search_session.h"
#include "search/typical_error.h"

namespace bitbudget {
namespace {

constexpr char kNote[] =
    "sparsified in rounds without the retraining that the paper does between them";
constexpr char kRetrainedNote[] = "sparsified in rounds, retrained after each of them";

// A step of a unit's ladder.
struct Rung {
  int permille = 0;  // of the unit's weights that are left out
  int choice = 0;
};

// The merit that a unit's rungs are predicted to have, which falls with the share of zeros.
class MeritCurve {
 public:
  MeritCurve(int permille, const Merit& merit) : nodes_{{permille, merit}} {}

  // REQUIRES: a larger share than those before.
  void Add(int permille, Merit merit) {
    CHECK_GT(permille, nodes_.back().permille);
    // Less is not better: what a measurement says so is noise.
    for (size_t i = 0; i < merit.size(); ++i) {
      merit[i] = std::min(merit[i], nodes_.back().merit[i]);
    }
    nodes_.push_back({permille, merit});
  }

  // REQUIRES: a share between the first node and the last one.
  Merit At(int permille) const {
    const auto right = std::find_if(nodes_.begin() + 1, nodes_.end() - 1, [&](const Node& node) {
      return node.permille >= permille;
    });
    const Node& a = *(right - 1);
    const Node& b = *right;
    const double share =
        static_cast<double>(permille - a.permille) / static_cast<double>(b.permille - a.permille);
    Merit merit;
    for (size_t i = 0; i < merit.size(); ++i) {
      merit[i] = a.merit[i] + share * (b.merit[i] - a.merit[i]);
    }
    return merit;
  }

 private:
  struct Node {
    int permille;
    Merit merit;
  };
  std::vector<Node> nodes_;
};

class Sparsification {
 public:
  // `retrainer` may be null.
  Sparsification(const SparsifyOptions& options, SearchSession& session, Retrainer* retrainer)
      : options_(options), session_(session), problem_(session.problem()), retrainer_(retrainer) {}

  absl::Status Search() {
    if (problem_.AllPinned()) return session_.AcceptPinned();
    BB_RETURN_IF_ERROR(MakeRungs());
    Selection start = Take([](const std::vector<Rung>& rungs) { return rungs.front(); });
    const Selection end = Take([](const std::vector<Rung>& rungs) { return rungs.back(); });
    if (!problem_.Fits(end)) return absl::OkStatus();
    session_.summary().note = retrainer_ != nullptr ? kRetrainedNote : kNote;
    current_ = std::move(start);
    BB_RETURN_IF_ERROR(session_.SetIncumbent(problem_.ToAssignment(current_)));
    session_.RecordStart(current_, incumbent());
    const int64_t start_bytes = problem_.TotalBytes(current_);
    while (!problem_.Fits(current_)) {
      BB_RETURN_IF_ERROR(Round());
      if (retrainer_ != nullptr) BB_RETURN_IF_ERROR(Retrain(start_bytes));
    }
    session_.Result(current_, incumbent());
    return absl::OkStatus();
  }

 private:
  const Evaluation& incumbent() const { return session_.evaluator().incumbent_evaluation(); }

  // The rungs of all units by increasing share; of equal shares the smaller choice.
  absl::Status MakeRungs() {
    rungs_.resize(problem_.size());
    at_.assign(problem_.size(), 0);
    for (UnitId u = 0; u < problem_.size(); ++u) {
      std::optional<Format> base;
      for (size_t i = 0; i < problem_.ladders[u].size(); ++i) {
        const Format& format = problem_.ladders[u][i].format;
        if (format.kind != FormatKind::kRemoved && !problem_.Pinned(u)) {
          if (!base.has_value()) base = format.Dense();
          if (*base != format.Dense()) return Mixed(u, *base, format);
        }
        rungs_[u].push_back({SparsityPermille(format), static_cast<int>(i)});
      }
      // Choices come by increasing bytes.
      std::stable_sort(rungs_[u].begin(), rungs_[u].end(), [](const Rung& a, const Rung& b) {
        return a.permille < b.permille;
      });
      const auto same =
          std::unique(rungs_[u].begin(), rungs_[u].end(), [](const Rung& a, const Rung& b) {
            return a.permille == b.permille;
          });
      rungs_[u].erase(same, rungs_[u].end());
    }
    return absl::OkStatus();
  }

  absl::Status Mixed(UnitId u, const Format& a, const Format& b) const {
    return absl::InvalidArgumentError(absl::StrCat(
        "sparsify search: ",
        problem_.components[problem_.Parts(u)[0]].name,
        " may become ",
        a.Name(),
        " or ",
        b.Name(),
        "; it needs formats that differ in sparsity only, such as --formats 'bf16+s*'"));
  }

  template <typename Which>
  Selection Take(const Which& which) const {
    Selection selection;
    for (const std::vector<Rung>& rungs : rungs_) selection.push_back(which(rungs).choice);
    return selection;
  }

  // The next rungs to run of a unit that is to lose `added` thousandths: the nearest to half of it
  // and to one and a half of it, and the last one. None when there is none left.
  std::vector<int> Probed(UnitId u, int added) const {
    const std::vector<Rung>& rungs = rungs_[u];
    const int last = static_cast<int>(rungs.size()) - 1;
    std::vector<int> probed;
    for (const int halves : {1, 3}) {
      const int wanted = rungs[at_[u]].permille + halves * added / 2;
      int best = at_[u] + 1;
      for (int r = best; r <= last; ++r) {
        if (std::abs(rungs[r].permille - wanted) < std::abs(rungs[best].permille - wanted)) {
          best = r;
        }
      }
      if (best <= last) probed.push_back(best);
    }
    if (at_[u] < last) probed.push_back(last);
    probed.erase(std::unique(probed.begin(), probed.end()), probed.end());
    return probed;
  }

  absl::Status Round() {
    const size_t round = static_cast<size_t>(session_.summary().rounds++);
    const int added = options_.round_permille[std::min(round, options_.round_permille.size() - 1)];
    std::vector<std::vector<int>> probed;
    int64_t evaluations = 1;
    for (UnitId u = 0; u < problem_.size(); ++u) {
      probed.push_back(Probed(u, added));
      evaluations += static_cast<int64_t>(probed.back().size());
    }
    session_.BeginPhase(absl::StrCat("round ", round + 1), evaluations);
    const Merit now = MeritOf(MeritKind::kFdt, incumbent());
    std::vector<MeritCurve> curves;
    for (UnitId u = 0; u < problem_.size(); ++u) {
      MeritCurve& curve = curves.emplace_back(rungs_[u][at_[u]].permille, now);
      for (const int r : probed[u]) {
        BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                            session_.Evaluate(problem_.Changes(u, rungs_[u][r].choice)));
        curve.Add(rungs_[u][r].permille, MeritOf(MeritKind::kFdt, evaluation));
      }
    }
    const std::vector<UnitId> raised = Fill(curves, problem_.SparsityPermilleOf(current_) + added);
    std::vector<ComponentFormat> changes;
    for (const UnitId u : raised) {
      const std::vector<ComponentFormat> own = problem_.Changes(u, current_[u]);
      changes.insert(changes.end(), own.begin(), own.end());
    }
    BB_RETURN_IF_ERROR(session_.Commit(changes));
    session_.Record(absl::StrFormat("%.1f%% zeros", problem_.SparsityPermilleOf(current_) / 10),
                    std::move(changes),
                    current_,
                    incumbent());
    session_.EndPhase();
    return absl::OkStatus();
  }

  absl::Status Retrain(int64_t start_bytes) {
    if (problem_.Fits(current_)) session_.Result(current_, incumbent());
    const Assignment assignment = problem_.ToAssignment(current_);
    BB_RETURN_IF_ERROR(
        retrainer_->Retrain(assignment, {session_.summary().rounds, RoundsLeft(start_bytes)}));
    session_.BeginPhase("retrained", 1);
    BB_RETURN_IF_ERROR(session_.SetIncumbent(assignment));
    session_.EndPhase();
    session_.Record("retrained", {}, current_, incumbent());
    return absl::OkStatus();
  }

  // How many rounds it takes from here on to meet the limit. Bytes fall as zeros rise.
  int64_t RoundsLeft(int64_t start_bytes) const {
    if (problem_.Fits(current_)) return 0;
    const double zeros = problem_.SparsityPermilleOf(current_);
    const int64_t bytes = problem_.TotalBytes(current_);
    const double over = static_cast<double>(bytes) - static_cast<double>(problem_.MaxBytes());
    double missing = problem_.MinSparsityPermille() - zeros;
    if (over > 0 && start_bytes > bytes) {
      missing = std::max(missing, zeros * over / static_cast<double>(start_bytes - bytes));
    }
    int64_t left = 0;
    for (auto next = static_cast<size_t>(session_.summary().rounds); missing > 0; ++next) {
      missing -= options_.round_permille[std::min(next, options_.round_permille.size() - 1)];
      ++left;
    }
    return std::max<int64_t>(left, 1);
  }

  // Takes steps by predicted merit, highest first, until the target of zeros is reached or the
  // budget is met. Returns the units that changed.
  std::vector<UnitId> Fill(const std::vector<MeritCurve>& curves, double target_permille) {
    struct Step {
      Merit merit;
      UnitId unit;
      // The best on top; of equal ones the earlier unit.
      bool operator<(const Step& other) const {
        return merit != other.merit ? merit < other.merit : unit > other.unit;
      }
    };
    std::priority_queue<Step> steps;
    const auto push_next = [&](UnitId u) {
      if (at_[u] + 1 == static_cast<int>(rungs_[u].size())) return;
      steps.push({curves[u].At(rungs_[u][at_[u] + 1].permille), u});
    };
    for (UnitId u = 0; u < problem_.size(); ++u) push_next(u);
    const Selection before = current_;
    while (!steps.empty() && problem_.SparsityPermilleOf(current_) < target_permille &&
           !problem_.Fits(current_)) {
      const UnitId u = steps.top().unit;
      steps.pop();
      current_[u] = rungs_[u][++at_[u]].choice;
      push_next(u);
    }
    std::vector<UnitId> changed;
    for (UnitId u = 0; u < problem_.size(); ++u) {
      if (current_[u] != before[u]) changed.push_back(u);
    }
    return changed;
  }

  const SparsifyOptions& options_;
  SearchSession& session_;
  const SearchProblem& problem_;
  Retrainer* const retrainer_;
  std::vector<std::vector<Rung>> rungs_;  // of every unit
  std::vector<int> at_;                   // the rung of every unit
  Selection current_;                     // the same as choices
};

class SparsifySearch : public SearchMethod {
 public:
  explicit SparsifySearch(const SparsifyOptions& options) : options_(options) {}

  absl::string_view name() const override { return "sparsify"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchSession session(context);
    return session.Finish(Sparsification(options_, session, context.retrainer).Search());
  }

 private:
  const SparsifyOptions options_;
};

}  // namespace

absl::Status SparsifyOptions::Validate() const {
  if (round_permille.empty()) {
    return absl::InvalidArgumentError("round_permille is empty; it needs a round");
  }
  for (const int added : round_permille) {
    if (added >= 1 && added <= 1000) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("round_permille has ", added, "; rounds add 1 to 1000"));
  }
  return absl::OkStatus();
}

std::unique_ptr<SearchMethod> MakeSparsifySearch(const SparsifyOptions& options) {
  CHECK(options.Validate().ok()) << options.Validate();
  return std::make_unique<SparsifySearch>(options);
}

}  // namespace bitbudget
