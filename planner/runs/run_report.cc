#include "planner/runs/run_report.h"

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "planner/runs/store_format.h"
#include "runtime/base/sqlite.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/metrics.h"
#include "runtime/tensor/format.h"

namespace bitbudget {
namespace {

// More than any model has, and far from what sums of sizes could overflow with.
constexpr int64_t kMostRows = int64_t{1} << 24;
constexpr int64_t kMostBytes = int64_t{1} << 50;

class Reader {
 public:
  Reader(const std::string& directory, Database* database) : database_(*database) {
    report_.directory = directory;
  }

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
    BB_ASSIGN_OR_RETURN(
        Statement rows,
        database_.Prepare("SELECT name, value, checksum = checksum('identity', position, name, "
                          "value) FROM identity ORDER BY position"));
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found) return absl::OkStatus();
      BB_RETURN_IF_ERROR(CheckRow(database_, rows, 2, "identity"));
      report_.identity.push_back({rows.Text(0), rows.Text(1)});
    }
  }

  absl::Status ReadModel() {
    BB_ASSIGN_OR_RETURN(
        Statement rows,
        database_.Prepare(
            "SELECT name, kind, layer, rows, cols, format, checksum = checksum('components', id, "
            "name, kind, layer, rows, cols, format) FROM components ORDER BY id"));
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found) break;
      BB_RETURN_IF_ERROR(CheckRow(database_, rows, 6, "components"));
      Component& component = report_.components.emplace_back();
      component.name = rows.Text(0);
      BB_ASSIGN_OR_RETURN(component.kind, ParseKind(rows.Text(1)));
      component.layer = static_cast<int>(rows.Integer(2));
      component.rows = rows.Integer(3);
      component.cols = rows.Integer(4);
      BB_ASSIGN_OR_RETURN(const Format format, ParseStoredFormat(rows.Text(5)));
      if (component.rows < 0 || component.rows > kMostRows || component.cols < 0 ||
          component.cols > kMostRows || !Fits(format, component.cols)) {
        return Damaged(absl::StrCat(
            component.name, " of ", component.rows, " rows of ", component.cols, " inputs"));
      }
      report_.stored_formats.push_back(format);
    }
    BB_ASSIGN_OR_RETURN(Statement fixed,
                        database_.Prepare("SELECT value, checksum = checksum('blobs', ?1, value) "
                                          "FROM blobs WHERE key = ?1",
                                          absl::string_view(kFixedBytesKey)));
    BB_ASSIGN_OR_RETURN(const bool found, fixed.Step());
    if (!found) return absl::OkStatus();
    BB_RETURN_IF_ERROR(CheckRow(database_, fixed, 1, "blobs"));
    if (!absl::SimpleAtoi(fixed.Text(0), &fixed_bytes_) || fixed_bytes_ < 0 ||
        fixed_bytes_ > kMostBytes) {
      return Damaged("fixed bytes");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ComponentKind> ParseKind(const std::string& name) const {
    for (int kind = 0; kind <= static_cast<int>(ComponentKind::kHead); ++kind) {
      const ComponentKind candidate = static_cast<ComponentKind>(kind);
      if (name == ComponentKindName(candidate)) return candidate;
    }
    return Damaged(absl::StrCat("component kind ", name));
  }

  absl::StatusOr<Format> ParseStoredFormat(absl::string_view name) const {
    const absl::StatusOr<Format> format = ParseFormat(std::string(name));
    if (!format.ok()) return Damaged(format.status().message());
    return format;
  }

  absl::Status ReadJobs() {
    BB_ASSIGN_OR_RETURN(Statement jobs,
                        database_.Prepare("SELECT id, options, state, checksum = "
                                          "checksum('jobs', options, state) FROM jobs "
                                          "ORDER BY id"));
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, jobs.Step());
      if (!found) return absl::OkStatus();
      BB_RETURN_IF_ERROR(CheckRow(database_, jobs, 3, "jobs"));
      RunReport::Job& job = report_.jobs.emplace_back();
      job.options = jobs.Text(1);
      job.state = jobs.Text(2);
      BB_RETURN_IF_ERROR(ReadTrace(jobs.Integer(0), job.options, &job.trace));
    }
  }

  absl::Status ReadTrace(int64_t job, const std::string& options, std::vector<TraceStep>* trace) {
    BB_ASSIGN_OR_RETURN(
        Statement rows,
        database_.Prepare("SELECT what, changes, size_bytes, fdt_mean, dppl, kl_mean, text_kl, "
                          "checksum = checksum('trace', ?2, step, what, changes, size_bytes, "
                          "fdt_mean, dppl, kl_mean, text_kl) "
                          "FROM trace WHERE job = ?1 ORDER BY step",
                          job,
                          absl::string_view(options)));
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found) return absl::OkStatus();
      BB_RETURN_IF_ERROR(CheckRow(database_, rows, 7, "trace"));
      TraceStep& step = trace->emplace_back();
      step.what = rows.Text(0);
      for (const absl::string_view text : absl::StrSplit(rows.Text(1), ',', absl::SkipEmpty())) {
        const std::pair<std::string, std::string> change =
            absl::StrSplit(text, absl::MaxSplits('=', 1));
        ComponentId id = -1;
        if (!absl::SimpleAtoi(change.first, &id) || id < 0 ||
            id >= static_cast<int>(report_.components.size())) {
          return Damaged(absl::StrCat("trace change ", text));
        }
        BB_ASSIGN_OR_RETURN(const Format format, ParseStoredFormat(change.second));
        step.changes.push_back({id, format});
      }
      step.size_bytes = rows.Integer(2);
      step.fdt_mean = rows.Real(3);
      step.dppl = rows.Real(4);
      step.kl_mean = rows.Real(5);
      step.text_kl = rows.Real(6);
    }
  }

  // Candidates with a result on every search probe, in the order of their first evaluation.
  absl::Status ReadCandidates() {
    BB_ASSIGN_OR_RETURN(
        Statement rows,
        database_.Prepare(absl::StrCat("SELECT ",
                                       ResultColumns("candidates.candidate"),
                                       ", candidates.id, candidates.candidate FROM ",
                                       kResultTables,
                                       " WHERE probe_set = 'search' ORDER BY candidates.id, "
                                       "probes.id")
                              .c_str()));
    int64_t id = -1;
    std::string name;
    Evaluation evaluation;
    while (true) {
      BB_ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found || rows.Integer(kResultColumns) != id) {
        if (static_cast<int64_t>(evaluation.size()) == report_.probes && report_.probes > 0) {
          BB_RETURN_IF_ERROR(Add(name, evaluation));
        }
        if (!found) break;
        id = rows.Integer(kResultColumns);
        name = rows.Text(kResultColumns + 1);
        evaluation.clear();
      }
      BB_ASSIGN_OR_RETURN(const ProbeResult result, ReadStoredResult(database_, rows));
      evaluation.push_back(result);
    }
    KeepBest();
    return absl::OkStatus();
  }

  absl::Status Add(const std::string& name, const Evaluation& evaluation) {
    if (absl::StrContains(name, '/')) return absl::OkStatus();  // of retrained weights
    const std::vector<Component>& components = report_.components;
    MeasuredCandidate candidate;
    candidate.size_bytes = fixed_bytes_;
    candidate.fdt_mean = Compute(Statistic::kFdtMean, evaluation);
    candidate.kl_mean = Compute(Statistic::kKlMean, evaluation);
    candidate.text_kl = Compute(Statistic::kTextKl, evaluation);
    candidate.loss = Compute(Statistic::kLoss, evaluation);
    std::vector<ComponentFormat> changes;
    for (const absl::string_view text : absl::StrSplit(name, ',')) {
      BB_ASSIGN_OR_RETURN(const Format format, ParseStoredFormat(text));
      const size_t c = candidate.assignment.size();
      if (c == components.size()) return Damaged(absl::StrCat("candidate ", name));
      if (!Fits(format, components[c].cols)) {
        return Damaged(absl::StrCat(text, " for rows of ", components[c].cols, " inputs"));
      }
      candidate.assignment.push_back(format);
      candidate.size_bytes += SizeBytes(format, components[c].rows, components[c].cols);
      if (format != report_.stored_formats[c]) changes.push_back({static_cast<int>(c), format});
    }
    if (candidate.assignment.size() != components.size()) {
      return Damaged(absl::StrCat("candidate ", name));
    }
    if (changes.size() == 1) {
      const auto& [id, format] = changes[0];
      report_.alone.push_back({changes[0],
                               SizeBytes(format, components[id].rows, components[id].cols),
                               candidate.loss});
    }
    report_.best.push_back(std::move(candidate));
    return absl::OkStatus();
  }

  void KeepBest() {
    std::vector<MeasuredCandidate>& all = report_.best;
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return std::pair(a.size_bytes, a.loss) < std::pair(b.size_bytes, b.loss);
    });
    std::vector<MeasuredCandidate> best;
    for (MeasuredCandidate& candidate : all) {
      if (best.empty() || candidate.loss < best.back().loss) {
        best.push_back(std::move(candidate));
      }
    }
    all = std::move(best);
    std::sort(report_.alone.begin(), report_.alone.end(), [](const auto& a, const auto& b) {
      return std::tuple(a.change.component, a.size_bytes, a.change.format.Name()) <
             std::tuple(b.change.component, b.size_bytes, b.change.format.Name());
    });
  }

  absl::Status Damaged(absl::string_view what) const { return DamagedStore(database_, what); }

  Database& database_;
  RunReport report_;
  int64_t fixed_bytes_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<RunReport>> ReadRuns(const std::string& directory) {
  std::vector<std::string> stores = ListStores(directory);
  if (stores.empty()) stores.push_back(directory);
  std::vector<RunReport> reports;
  for (const std::string& store : stores) {
    BB_ASSIGN_OR_RETURN(
        const std::unique_ptr<Database> database,
        Database::Open(absl::StrCat(store, "/", kRunStoreFile), Database::Mode::kRead));
    BB_ASSIGN_OR_RETURN(RunReport report, Reader(store, database.get()).Read());
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace bitbudget
