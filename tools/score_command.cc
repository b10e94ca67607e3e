#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "planner/jobs/constraints.h"
#include "planner/jobs/score_job.h"
#include "plans/text_table.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

std::string FormatNames(const std::vector<Format>& formats) {
  return absl::StrJoin(formats, ",", [](std::string* out, const Format& format) {
    absl::StrAppend(out, format.Name());
  });
}

struct ScoreFlags {
  WorkspaceFlags workspace;
  std::string scorer;
  std::string format = ScoreOptions().format.Name();
  std::string formats = FormatNames(ScoreOptions().formats);
  std::optional<int64_t> probe_count;
  bool json = false;
};

absl::StatusOr<ScoreOptions> OptionsOf(const ScoreFlags& flags) {
  ScoreOptions options;
  BB_RETURN_IF_ERROR(InOption("--scorer", FindScorer(flags.scorer).status()));
  options.scorer = flags.scorer;
  BB_ASSIGN_OR_RETURN(options.workspace, flags.workspace.Options());
  options.probe_count = flags.probe_count;
  BB_ASSIGN_OR_RETURN(options.format, InOption("--format", ParseFormat(flags.format)));
  BB_ASSIGN_OR_RETURN(options.formats, InOption("--formats", ParseFormatList(flags.formats)));
  BB_RETURN_IF_ERROR(options.Validate());
  return options;
}

// A number, or null where there is none or it is not finite (the SQNR of no error).
nlohmann::ordered_json Number(std::optional<double> value) {
  if (!value.has_value() || !std::isfinite(*value)) return nullptr;
  return *value;
}

// What a layer's components cost in the format at `index` of their ladders; nats per token.
std::vector<double> LayerCosts(const LayerScores& scores, size_t index, const Model& model) {
  std::vector<double> sums(scores.layers.size());
  for (size_t c = 0; c < scores.costs.size(); ++c) {
    const int layer = model.components()[c].layer;
    if (layer >= 0) sums[layer] += scores.costs[c][index];
  }
  return sums;
}

void AddCosts(const LayerScores& scores,
              const ScoreOptions& options,
              const Model& model,
              nlohmann::ordered_json* json) {
  for (size_t i = 0; i < options.formats.size(); ++i) {
    (*json)["layer_costs"][options.formats[i].Name()] = LayerCosts(scores, i, model);
  }
  for (size_t c = 0; c < scores.costs.size(); ++c) {
    nlohmann::ordered_json costs;
    for (size_t i = 0; i < options.formats.size(); ++i) {
      costs[options.formats[i].Name()] = scores.costs[c][i];
    }
    (*json)["components"].push_back({{"name", model.components()[c].name}, {"cost", costs}});
  }
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
  if (!scores.costs.empty()) AddCosts(scores, options, model, &json);
  return json;
}

// `digits`: ComponentMeasure::digits.
std::string Cell(std::optional<double> value, int digits) {
  if (!value.has_value()) return "-";
  return digits < 0 ? absl::StrFormat("%.*g", -digits, *value)
                    : absl::StrFormat("%.*f", digits, *value);
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
  return table.ToString(/*indent=*/2, OutputWidth());
}

// One row per layer, in an order: its cells, and those of its components.
std::string ByLayer(std::vector<std::string> header,
                    std::vector<std::vector<std::string>> rows,
                    const std::vector<int>& order,
                    const std::vector<std::optional<double>>& components,
                    int digits,
                    const Model& model) {
  // Components come layer by layer, in the same order in every one of them.
  for (size_t c = 0; c < components.size(); ++c) {
    const Component& component = model.components()[c];
    if (component.layer < 0) continue;
    if (component.layer == 0) header.push_back(ComponentKindName(component.kind));
    rows[component.layer].push_back(Cell(components[c], digits));
  }
  TextTable table({TextTable::Align::kRight});
  table.AddRow(std::move(header));
  for (const int layer : order) {
    std::vector<std::string> row = {absl::StrCat(layer)};
    row.insert(row.end(), rows[layer].begin(), rows[layer].end());
    table.AddRow(std::move(row));
  }
  return table.ToString(/*indent=*/2, OutputWidth());
}

// The scores of all layers, beside those of their parts or components.
std::string LayerTable(const LayerScores& scores, const Model& model) {
  constexpr int kDigits = 6;
  std::vector<std::string> header = {"layer", "score"};
  std::vector<std::vector<std::string>> rows;
  for (const double score : scores.layers) rows.push_back({Cell(score, kDigits)});
  for (const LayerScores::Part& part : scores.parts) {
    header.push_back(part.name);
    for (size_t layer = 0; layer < rows.size(); ++layer) {
      rows[layer].push_back(Cell(part.scores[layer], kDigits));
    }
  }
  return ByLayer(
      std::move(header), std::move(rows), scores.order, scores.components, kDigits, model);
}

// A measure of the matrices of every layer, from the first on.
std::string MeasureTable(const ComponentMeasure& measure, int layers, const Model& model) {
  std::vector<int> order(layers);
  std::iota(order.begin(), order.end(), 0);
  return ByLayer({"layer"},
                 std::vector<std::vector<std::string>>(layers),
                 order,
                 measure.values,
                 measure.digits,
                 model);
}

// What every component, and every layer as the sum over its own, costs in every format.
std::string CostTable(const LayerScores& scores, const ScoreOptions& options, const Model& model) {
  TextTable table({TextTable::Align::kLeft, TextTable::Align::kRight});
  std::vector<std::string> header = {"component"};
  std::vector<std::vector<double>> layers;
  for (size_t i = 0; i < options.formats.size(); ++i) {
    header.push_back(options.formats[i].Name());
    layers.push_back(LayerCosts(scores, i, model));
  }
  table.AddRow(std::move(header));
  for (size_t c = 0; c < scores.costs.size(); ++c) {
    std::vector<std::string> row = {model.components()[c].name};
    for (const double cost : scores.costs[c]) row.push_back(absl::StrFormat("%.3g", cost));
    table.AddRow(std::move(row));
  }
  for (size_t layer = 0; layer < scores.layers.size(); ++layer) {
    std::vector<std::string> row = {absl::StrCat("layer ", layer)};
    for (const std::vector<double>& sums : layers) {
      row.push_back(absl::StrFormat("%.3g", sums[layer]));
    }
    table.AddRow(std::move(row));
  }
  return table.ToString(/*indent=*/2, OutputWidth());
}

absl::Status RunScore(const CLI::App& command, const ScoreFlags& flags) {
  const absl::StatusOr<ScoreOptions> options = OptionsOf(flags);
  if (!options.ok()) return UsageError(options.status());
  const ScorerNeeds needs = FindScorer(options->scorer).value()->needs;
  if (const absl::Status status = RefuseIdle(
          command,
          {{"--format", needs != ScorerNeeds::kFormats, "this scorer follows no format"},
           {"--formats", needs != ScorerNeeds::kLadders, "this scorer costs no formats"}});
      !status.ok()) {
    return UsageError(status);
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const LayerScores scores, RunScoreJob(*model, *options, ProcessProgress()));
  if (flags.json) {
    std::printf("%s\n", DumpJson(ScoresJson(scores, *options, *model), 2).c_str());
    return absl::OkStatus();
  }
  std::string text;
  if (!scores.measures.empty()) {
    absl::StrAppend(&text, scores.legend, "\n\n", KindTable(scores, *model), "\n");
    for (const ComponentMeasure& measure : scores.measures) {
      if (!measure.by_layer) continue;
      const int layers = static_cast<int>(scores.layers.size());
      absl::StrAppend(
          &text, measure.heading, ", by layer:\n\n", MeasureTable(measure, layers, *model), "\n");
    }
  }
  if (!scores.costs.empty()) {
    absl::StrAppend(&text,
                    "what a format of one component alone costs, in ",
                    FindScorer(options->scorer).value()->cost_unit,
                    " (layers: sums):\n\n",
                    CostTable(scores, *options, *model),
                    "\n");
  }
  absl::StrAppend(&text,
                  scores.scorer,
                  ", layers from the most to the least important:\n\n",
                  LayerTable(scores, *model));
  PrintFitting(text);
  return absl::OkStatus();
}

}  // namespace

void AddScoreCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "score",
                 "Rank the decoder layers by how much they need their bits",
                 {"score MODEL --scorer lim",
                  "score MODEL --scorer kfac --formats int4-g64,int3-g64 -t book.txt"});
  auto flags = std::make_shared<ScoreFlags>();
  command->add_option("--scorer", flags->scorer, DescribeScorers())->required();
  command
      ->add_option("--probes",
                   flags->probe_count,
                   "Calibration sequences, for scorers that run any (default: 64; of kfac and "
                   "linearity 16)")
      ->check(CLI::Range(1, 1 << 20));
  command
      ->add_option("--format",
                   flags->format,
                   "Format whose errors are followed, for scorers that look at one")
      ->capture_default_str();
  command
      ->add_option("--formats",
                   flags->formats,
                   "Formats to cost, comma-separated, for scorers that cost formats")
      ->capture_default_str();
  flags->workspace.AddTo(command, {.probes = true, .memory = true, .encoder = true});
  Heading(command, "Output");
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [command, flags] { return RunScore(*command, *flags); });
}

}  // namespace bitbudget
