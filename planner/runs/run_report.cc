#include "planner/runs/run_report.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/base/sqlite.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/metrics.h"
#include "runtime/tensor/format.h"

namespace bitbudget {
namespace {

class Reader {
 public:
  explicit Reader(Database* database) : database_(*database) {}

  absl::StatusOr<RunReport> Read() {
    BB_ASSIGN_OR_RETURN(const bool used, CheckRunStore(&database_));
    if (!used) return std::move(report_);  // its command has only just created it
    BB_RETURN_IF_ERROR(ReadIdentity());
    BB_RETURN_IF_ERROR(ReadModel());
    BB_RETURN_IF_ERROR(ReadJobs());
    BB_ASSIGN_OR_RETURN(report_.candidates, database_.Integer("SELECT count(*) FROM candidates"));
    BB_ASSIGN_OR_RETURN(report_.results, database_.Integer("SELECT count(*) FROM results"));
    BB_ASSIGN_OR_RETURN(
        report_.probes,
        database_.Integer("SELECT count(*) FROM probes WHERE probe_set = 'search'"));
    BB_RETURN_IF_ERROR(ReadCandidates());
    return std::move(report_);
  }

 private:
  absl::Status ReadIdentity() {
    BB_ASSIGN_OR_RETURN(Statement rows,
                        database_.Prepare("SELECT name, value FROM identity ORDER BY position"));
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found) return absl::OkStatus();
      report_.identity.push_back({rows.Text(0), rows.Text(1)});
    }
  }

  absl::Status ReadModel() {
    BB_ASSIGN_OR_RETURN(
        Statement rows,
        database_.Prepare("SELECT name, rows, cols, format FROM components ORDER BY id"));
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found) break;
      components_.push_back({rows.Text(0), rows.Integer(1), rows.Integer(2), rows.Text(3)});
    }
    report_.components = static_cast<int64_t>(components_.size());
    BB_ASSIGN_OR_RETURN(Statement fixed,
                        database_.Prepare("SELECT value FROM blobs WHERE key = ?1",
                                          absl::string_view(kFixedBytesKey)));
    BB_ASSIGN_OR_RETURN(const bool found, fixed.Step());
    if (found && !absl::SimpleAtoi(fixed.Text(0), &fixed_bytes_)) return Damaged("fixed bytes");
    return absl::OkStatus();
  }

  absl::Status ReadJobs() {
    BB_ASSIGN_OR_RETURN(Statement jobs,
                        database_.Prepare("SELECT id, options, state FROM jobs ORDER BY id"));
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, jobs.Step());
      if (!found) return absl::OkStatus();
      RunReport::Job& job = report_.jobs.emplace_back();
      job.options = jobs.Text(1);
      job.state = jobs.Text(2);
      BB_ASSIGN_OR_RETURN(
          Statement moves,
          database_.Prepare("SELECT what, changes, size_bytes, fdt_mean, dppl, kl_mean FROM moves "
                            "WHERE job = ?1 ORDER BY step",
                            jobs.Integer(0)));
      while (true) {
        BB_ASSIGN_OR_RETURN(const bool more, moves.Step());
        if (!more) break;
        job.moves.push_back({moves.Text(0),
                             moves.Text(1),
                             moves.Integer(2),
                             moves.Real(3),
                             moves.Real(4),
                             moves.Real(5)});
      }
    }
  }

  // Candidates with a result on every search probe, in the order they were first run.
  absl::Status ReadCandidates() {
    BB_ASSIGN_OR_RETURN(
        Statement rows,
        database_.Prepare("SELECT tokens, fdt, sdt, sums, candidates.id, candidates.candidate FROM "
                          "candidates JOIN results ON results.candidate = candidates.id JOIN "
                          "probes ON probes.id = results.probe WHERE probe_set = 'search' ORDER "
                          "BY candidates.id, probes.id"));
    int64_t id = -1;
    std::string name;
    Evaluation evaluation;
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found || rows.Integer(4) != id) {
        if (static_cast<int64_t>(evaluation.size()) == report_.probes && report_.probes > 0) {
          BB_RETURN_IF_ERROR(Add(name, evaluation));
        }
        if (!found) break;
        id = rows.Integer(4);
        name = rows.Text(5);
        evaluation.clear();
      }
      BB_ASSIGN_OR_RETURN(const ProbeResult result, ReadStoredResult(database_, rows));
      evaluation.push_back(result);
    }
    KeepBest();
    return absl::OkStatus();
  }

  absl::Status Add(const std::string& name, const Evaluation& evaluation) {
    const std::vector<std::string> formats = absl::StrSplit(name, ',');
    if (formats.size() != components_.size()) return Damaged(absl::StrCat("candidate ", name));
    MeasuredCandidate candidate;
    candidate.assignment = name;
    candidate.size_bytes = fixed_bytes_;
    candidate.fdt_mean = Compute(Statistic::kFdtMean, evaluation);
    candidate.kl_mean = Compute(Statistic::kKlMean, evaluation);
    std::vector<size_t> changed;
    for (size_t c = 0; c < formats.size(); ++c) {
      const absl::StatusOr<Format> format = ParseFormat(formats[c]);
      if (!format.ok()) return Damaged(format.status().message());
      if (!Fits(*format, components_[c].cols)) {
        return Damaged(absl::StrCat(formats[c], " for rows of ", components_[c].cols, " inputs"));
      }
      candidate.size_bytes += SizeBytes(*format, components_[c].rows, components_[c].cols);
      if (formats[c] != components_[c].format) changed.push_back(c);
    }
    if (changed.size() == 1) {
      const StoredComponent& component = components_[changed[0]];
      const Format format = *ParseFormat(formats[changed[0]]);
      report_.alone.push_back({component.name,
                               format.Name(),
                               SizeBytes(format, component.rows, component.cols),
                               candidate.kl_mean});
    }
    report_.best.push_back(std::move(candidate));
    return absl::OkStatus();
  }

  void KeepBest() {
    std::vector<MeasuredCandidate>& all = report_.best;
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return std::pair(a.size_bytes, a.kl_mean) < std::pair(b.size_bytes, b.kl_mean);
    });
    std::vector<MeasuredCandidate> best;
    for (MeasuredCandidate& candidate : all) {
      if (best.empty() || candidate.kl_mean < best.back().kl_mean) {
        best.push_back(std::move(candidate));
      }
    }
    all = std::move(best);
    std::map<std::string, size_t> order;
    for (size_t c = 0; c < components_.size(); ++c) order[components_[c].name] = c;
    std::sort(report_.alone.begin(), report_.alone.end(), [&](const auto& a, const auto& b) {
      return std::tuple(order[a.component], a.size_bytes, a.format) <
             std::tuple(order[b.component], b.size_bytes, b.format);
    });
  }

  absl::Status Damaged(absl::string_view what) const {
    return absl::DataLossError(absl::StrCat(
        database_.path(), ": damaged (", std::string(what), "); remove it or use another one"));
  }

  Database& database_;
  RunReport report_;
  std::vector<StoredComponent> components_;
  int64_t fixed_bytes_ = 0;
};

}  // namespace

absl::StatusOr<RunReport> ReadRun(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kRunStoreFile);
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Database> database,
                      Database::Open(path, Database::Mode::kRead));
  return Reader(database.get()).Read();
}

}  // namespace bitbudget
