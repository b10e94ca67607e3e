#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "planner/jobs/score_job.h"
#include "plans/text_table.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"
#include "tools/command.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct ScoreFlags {
  WorkspaceFlags workspace;
  std::string scorer;
  std::string format = ScoreOptions().format.Name();
  int64_t probe_count = ScoreOptions().probe_count;
  bool json = false;
};

absl::StatusOr<ScoreOptions> OptionsOf(const ScoreFlags& flags) {
  ScoreOptions options;
  BB_RETURN_IF_ERROR(InOption("--scorer", FindScorer(flags.scorer).status()));
  options.scorer = flags.scorer;
  BB_ASSIGN_OR_RETURN(options.workspace, flags.workspace.Options());
  options.probe_count = flags.probe_count;
  BB_ASSIGN_OR_RETURN(options.format, InOption("--format", ParseFormat(flags.format)));
  BB_RETURN_IF_ERROR(options.Validate());
  return options;
}

// A number, or null where there is none or it is not finite (the SQNR of no error).
nlohmann::ordered_json Number(std::optional<double> value) {
  if (!value.has_value() || !std::isfinite(*value)) return nullptr;
  return *value;
}

nlohmann::ordered_json ScoresJson(const LayerScores& scores,
                                  const ScoreOptions& options,
                                  const Model& model) {
  nlohmann::ordered_json json = {{"scorer", scores.scorer}};
  if (FindScorer(options.scorer).value()->needs == ScorerNeeds::kFormats) {
    json["format"] = options.format.Name();
  }
  json["layers"] = scores.layers;
  json["order"] = scores.order;
  for (const LayerScores::Part& part : scores.parts) json[part.name] = part.scores;
  for (const KindMeans& kind : MeansByKind(scores, model)) {
    if (scores.measures.empty()) break;
    nlohmann::ordered_json& means = json["kinds"][ComponentKindName(kind.kind)];
    means["components"] = kind.components;
    for (size_t m = 0; m < kind.means.size(); ++m) {
      means[scores.measures[m].name] = Number(kind.means[m]);
    }
  }
  for (size_t c = 0; c < scores.components.size(); ++c) {
    nlohmann::ordered_json& component = json["components"][model.components()[c].name];
    if (scores.measures.empty()) component = Number(scores.components[c]);
    for (const ComponentMeasure& measure : scores.measures) {
      component[measure.name] = Number(measure.values[c]);
    }
  }
  return json;
}

std::string Cell(std::optional<double> value, int digits) {
  return value.has_value() ? absl::StrFormat("%.*f", digits, *value) : "-";
}

// The means of all measures by kind of component.
std::string KindTable(const LayerScores& scores, const Model& model) {
  TextTable table({TextTable::Align::kLeft, TextTable::Align::kRight});
  std::vector<std::string> header = {"type", "components"};
  for (const ComponentMeasure& measure : scores.measures) header.push_back(measure.heading);
  table.AddRow(std::move(header));
  for (const KindMeans& kind : MeansByKind(scores, model)) {
    std::vector<std::string> row = {ComponentKindName(kind.kind), absl::StrCat(kind.components)};
    for (size_t m = 0; m < kind.means.size(); ++m) {
      row.push_back(Cell(kind.means[m], scores.measures[m].digits));
    }
    table.AddRow(std::move(row));
  }
  return table.ToString(/*indent=*/2);
}

// The scores of all layers, beside those of their parts or components.
std::string LayerTable(const LayerScores& scores, const Model& model) {
  constexpr int kDigits = 6;
  std::vector<std::string> header = {"layer", "score"};
  std::vector<std::vector<std::string>> rows(scores.layers.size());
  for (const LayerScores::Part& part : scores.parts) {
    header.push_back(part.name);
    for (size_t layer = 0; layer < rows.size(); ++layer) {
      rows[layer].push_back(Cell(part.scores[layer], kDigits));
    }
  }
  // Components come layer by layer, in the same order in every one of them.
  for (size_t c = 0; c < scores.components.size(); ++c) {
    const Component& component = model.components()[c];
    if (component.layer < 0) continue;
    if (component.layer == 0) header.push_back(ComponentKindName(component.kind));
    rows[component.layer].push_back(Cell(scores.components[c], kDigits));
  }
  TextTable table({TextTable::Align::kRight});
  table.AddRow(std::move(header));
  for (const int layer : scores.order) {
    std::vector<std::string> row = {absl::StrCat(layer), Cell(scores.layers[layer], kDigits)};
    row.insert(row.end(), rows[layer].begin(), rows[layer].end());
    table.AddRow(std::move(row));
  }
  return table.ToString(/*indent=*/2);
}

absl::Status RunScore(const ScoreFlags& flags) {
  const absl::StatusOr<ScoreOptions> options = OptionsOf(flags);
  if (!options.ok()) return UsageError(options.status());
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const LayerScores scores, RunScoreJob(*model, *options, ProcessProgress()));
  if (flags.json) {
    std::printf("%s\n", ScoresJson(scores, *options, *model).dump(2).c_str());
    return absl::OkStatus();
  }
  if (!scores.measures.empty()) {
    std::printf("%s\n\n%s\n", scores.legend.c_str(), KindTable(scores, *model).c_str());
  }
  std::printf("%s, layers from the most to the least important:\n\n%s",
              scores.scorer.c_str(),
              LayerTable(scores, *model).c_str());
  return absl::OkStatus();
}

}  // namespace

void AddScoreCommand(CLI::App* app) {
  CLI::App* command =
      app->add_subcommand("score", "Rank the decoder layers by how much they need their bits");
  auto flags = std::make_shared<ScoreFlags>();
  command->add_option("--scorer", flags->scorer, DescribeScorers())->required();
  command
      ->add_option(
          "--probes", flags->probe_count, "Calibration sequences, for scorers that run any")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command
      ->add_option("--format",
                   flags->format,
                   "Format whose errors are followed, for scorers that look at one")
      ->capture_default_str();
  flags->workspace.AddTo(command, {.probes = true, .memory = true, .encoder = true});
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [flags] { return RunScore(*flags); });
}

}  // namespace bitbudget
