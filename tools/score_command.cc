#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "planner/runs/calibration.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "plans/text_table.h"
#include "runtime/base/status_macros.h"
#include "scoring/lim.h"
#include "scoring/signal.h"
#include "scoring/zd.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

struct ScoreFlags {
  ModelOption model;
  ProbeFlags probes;
  MemoryFlags memory;
  std::string scorer;
  std::string format = "int4-g64";
  std::string encoder = "clip";
  int64_t probe_count = 64;
  bool json = false;
};

// What scores on calibration text need.
struct Calibration {
  std::unique_ptr<ProbeMaker> maker;
  std::unique_ptr<Workspace> bench;
  std::vector<std::vector<int32_t>> sequences;
};

absl::StatusOr<Calibration> MakeCalibration(const ScoreFlags& flags, const Model& model) {
  Calibration calibration;
  BB_ASSIGN_OR_RETURN(const ProbeOptions options, flags.probes.Options());
  BB_ASSIGN_OR_RETURN(calibration.maker, ProbeMaker::Create(model, options));
  WorkspaceOptions bench_options;
  bench_options.encoder = flags.encoder;
  bench_options.threads = flags.model.Threads();
  bench_options.spill_directory = flags.memory.spill_directory;
  MemoryRequest request;
  request.calibration_probes = flags.probe_count;
  request.context = calibration.maker->context();
  request.completion = calibration.maker->completion_tokens();
  request.threads = bench_options.threads;
  BB_ASSIGN_OR_RETURN(const int64_t limit, flags.memory.Limit());
  BB_ASSIGN_OR_RETURN(const MemoryPlan memory, PlanMemory(model, request, limit));
  ProcessProgress()->Message(memory.Describe());
  bench_options.SetMemory(memory);
  BB_ASSIGN_OR_RETURN(calibration.bench,
                      Workspace::Create(model, bench_options, calibration.maker->context()));
  BB_ASSIGN_OR_RETURN(calibration.sequences,
                      calibration.maker->Prompts(ProbeRole::kCalibration,
                                                 flags.probe_count,
                                                 calibration.bench->transformer(),
                                                 calibration.bench->reference(),
                                                 bench_options.threads,
                                                 ProcessProgress(),
                                                 bench_options.states_bytes));
  return calibration;
}

absl::StatusOr<LayerScores> ScoreLayers(const ScoreFlags& flags, const Model& model) {
  if (flags.scorer == "zd") return ScoreZd(model, flags.model.Threads());
  BB_ASSIGN_OR_RETURN(const Calibration calibration, MakeCalibration(flags, model));
  return ScoreLim(calibration.bench->transformer(),
                  calibration.bench->reference(),
                  calibration.sequences,
                  flags.model.Threads(),
                  ProcessProgress());
}

absl::StatusOr<SignalReport> Propagate(const ScoreFlags& flags,
                                       const Format& format,
                                       const Model& model) {
  BB_ASSIGN_OR_RETURN(const Assignment assignment, UniformAssignment(format, model));
  BB_ASSIGN_OR_RETURN(const Calibration calibration, MakeCalibration(flags, model));
  Run alone;
  BB_RETURN_IF_ERROR(CalibrateEncoder(
      *calibration.maker, calibration.bench.get(), &alone, ProcessProgress(), nullptr));
  SignalOptions options;
  options.threads = flags.model.Threads();
  return ScoreSignal(calibration.bench->transformer(),
                     calibration.bench->bank(),
                     assignment,
                     calibration.sequences,
                     options,
                     ProcessProgress());
}

// A number, or null where there is none or it is not finite (the SQNR of no error).
nlohmann::ordered_json Number(std::optional<double> value) {
  if (!value.has_value() || !std::isfinite(*value)) return nullptr;
  return *value;
}

nlohmann::ordered_json SignalJson(const SignalReport& report,
                                  const Format& format,
                                  const Model& model) {
  nlohmann::ordered_json json = {{"scorer", "signal"},
                                 {"format", format.Name()},
                                 {"layers", report.layers.layers},
                                 {"order", report.layers.order}};
  nlohmann::ordered_json& kinds = json["kinds"];
  for (const KindSignal& kind : SummarizeByKind(report, model)) {
    kinds[ComponentKindName(kind.kind)] = {{"components", kind.components},
                                           {"sqnr_db", Number(kind.sqnr_db)},
                                           {"gain", kind.gain},
                                           {"output_error", kind.output_error},
                                           {"layer_error", Number(kind.layer_error)},
                                           {"stream_error", Number(kind.stream_error)},
                                           {"growth", Number(kind.growth)}};
  }
  nlohmann::ordered_json& components = json["components"];
  for (size_t c = 0; c < report.components.size(); ++c) {
    const ComponentSignal& signal = report.components[c];
    components[model.components()[c].name] = {{"sqnr_db", Number(signal.sqnr_db)},
                                              {"gain", signal.gain},
                                              {"output_error", signal.output_error},
                                              {"layer_error", Number(signal.layer_error)},
                                              {"stream_error", Number(signal.stream_error)},
                                              {"growth", Number(signal.Growth())}};
  }
  return json;
}

std::string Cell(std::optional<double> value, int digits) {
  return value.has_value() ? absl::StrFormat("%.*f", digits, *value) : "-";
}

void PrintSignal(const SignalReport& report, const Format& format, const Model& model) {
  using Align = TextTable::Align;
  std::printf(
      "signal propagation of %s: one component alone, relative errors of norms\n"
      "  output: of its own outputs (SQNR and gain as well), layer: of the residual stream behind\n"
      "  its layer, final: of the final stream, growth: final / output (geometric mean)\n\n",
      format.Name().c_str());
  TextTable kinds({Align::kLeft, Align::kRight});
  kinds.AddRow({"type", "components", "SQNR, dB", "gain", "output", "layer", "final", "growth"});
  for (const KindSignal& kind : SummarizeByKind(report, model)) {
    kinds.AddRow({ComponentKindName(kind.kind),
                  absl::StrCat(kind.components),
                  Cell(kind.sqnr_db, 2),
                  Cell(kind.gain, 4),
                  Cell(kind.output_error, 5),
                  Cell(kind.layer_error, 5),
                  Cell(kind.stream_error, 5),
                  Cell(kind.growth, 3)});
  }
  std::printf("%s\n", kinds.ToString(/*indent=*/2).c_str());

  // Components come layer by layer, in the same order in every one of them.
  TextTable layers({Align::kLeft, Align::kRight});
  std::vector<std::vector<std::string>> rows(report.layers.layers.size());
  std::vector<std::string> header = {"layer", "as a whole"};
  for (size_t c = 0; c < report.components.size(); ++c) {
    const Component& component = model.components()[c];
    if (component.layer < 0) continue;
    if (component.layer == 0) header.push_back(ComponentKindName(component.kind));
    rows[component.layer].push_back(Cell(report.components[c].stream_error, 5));
  }
  layers.AddRow(header);
  for (const int layer : report.layers.order) {
    std::vector<std::string> row = {absl::StrCat(layer), Cell(report.layers.layers[layer], 5)};
    row.insert(row.end(), rows[layer].begin(), rows[layer].end());
    layers.AddRow(std::move(row));
  }
  std::printf("error of the final stream, layers from the most to the least important:\n\n%s",
              layers.ToString(/*indent=*/2).c_str());
}

absl::Status RunSignal(const ScoreFlags& flags) {
  const absl::StatusOr<Format> format = ParseFormat(flags.format);
  if (!format.ok()) return UsageError(format.status());
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.model.Load());
  BB_ASSIGN_OR_RETURN(const SignalReport report, Propagate(flags, *format, *model));
  if (flags.json) {
    std::printf("%s\n", SignalJson(report, *format, *model).dump(2).c_str());
  } else {
    PrintSignal(report, *format, *model);
  }
  return absl::OkStatus();
}

absl::Status RunScore(const ScoreFlags& flags) {
  if (flags.scorer == "signal") return RunSignal(flags);
  if (flags.scorer != "lim" && flags.scorer != "zd") {
    return UsageError(absl::InvalidArgumentError(
        absl::StrCat("--scorer '", flags.scorer, "' is unknown; known are: lim, zd, signal")));
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.model.Load());
  BB_ASSIGN_OR_RETURN(const LayerScores scores, ScoreLayers(flags, *model));
  if (flags.json) {
    nlohmann::ordered_json json = {
        {"scorer", scores.scorer}, {"layers", scores.layers}, {"order", scores.order}};
    if (!scores.attention.empty()) json["attention"] = scores.attention;
    if (!scores.mlp.empty()) json["mlp"] = scores.mlp;
    if (!scores.components.empty()) {
      nlohmann::ordered_json& components = json["components"];
      for (size_t c = 0; c < scores.components.size(); ++c) {
        components[model->components()[c].name] = scores.components[c];
      }
    }
    std::printf("%s\n", json.dump(2).c_str());
    return absl::OkStatus();
  }
  std::printf("%s, layers from the most to the least important:\n", scores.scorer.c_str());
  for (const int layer : scores.order) std::printf("  %4d  %.6f\n", layer, scores.layers[layer]);
  return absl::OkStatus();
}

}  // namespace

void AddScoreCommand(CLI::App* app) {
  CLI::App* command = app->add_subcommand("score", "Rank the decoder layers by importance");
  auto flags = std::make_shared<ScoreFlags>();
  flags->model.AddTo(command);
  command
      ->add_option("--scorer",
                   flags->scorer,
                   "lim (embedding change), zd (outlier weights) or signal (what the error of "
                   "--format does on its way through the model)")
      ->required();
  command->add_option("--probes", flags->probe_count, "Calibration sequences for lim and signal")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--format", flags->format, "signal: the format whose errors are propagated")
      ->capture_default_str();
  command->add_option("--encoder", flags->encoder, "signal: how its codes are chosen, as in plan")
      ->capture_default_str();
  flags->probes.AddTo(command);
  flags->memory.AddTo(command);
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [flags] { return RunScore(*flags); });
}

}  // namespace bitbudget
