#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "planner/workbench.h"
#include "runtime/base/status_macros.h"
#include "scoring/lim.h"
#include "scoring/zd.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

struct ScoreFlags {
  ModelOption model;
  ProbeFlags probes;
  MemoryFlags memory;
  std::string scorer;
  int64_t probe_count = 64;
  bool json = false;
};

absl::StatusOr<BlockScores> Score(const ScoreFlags& flags, const Model& model) {
  if (flags.scorer == "zd") return ScoreZd(model, flags.model.Threads());
  BB_ASSIGN_OR_RETURN(const ProbeOptions options, flags.probes.Options());
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker, ProbeMaker::Create(model, options));
  WorkbenchOptions bench_options;
  bench_options.threads = flags.model.Threads();
  bench_options.spill_directory = flags.memory.spill_directory;
  MemoryRequest request;
  request.calibration_probes = flags.probe_count;
  request.context = maker->context();
  request.completion = maker->completion_tokens();
  request.threads = bench_options.threads;
  BB_ASSIGN_OR_RETURN(const int64_t limit, flags.memory.Limit());
  BB_ASSIGN_OR_RETURN(const MemoryPlan memory, PlanMemory(model, request, limit));
  ProcessProgress()->Message(memory.Describe());
  bench_options.SetMemory(memory);
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Workbench> bench,
                      Workbench::Create(model, bench_options, maker->context()));
  BB_ASSIGN_OR_RETURN(const auto sequences,
                      maker->Prompts(ProbeRole::kCalibration,
                                     flags.probe_count,
                                     bench->transformer(),
                                     bench->reference(),
                                     bench_options.threads,
                                     ProcessProgress(),
                                     bench_options.states_bytes));
  return ScoreLim(bench->transformer(),
                  bench->reference(),
                  sequences,
                  bench_options.threads,
                  ProcessProgress());
}

absl::Status RunScore(const ScoreFlags& flags) {
  if (flags.scorer != "lim" && flags.scorer != "zd") {
    return UsageError(absl::InvalidArgumentError(
        absl::StrCat("--scorer '", flags.scorer, "' is unknown; known are: lim, zd")));
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.model.Load());
  BB_ASSIGN_OR_RETURN(const BlockScores scores, Score(flags, *model));
  if (flags.json) {
    nlohmann::ordered_json json = {
        {"scorer", scores.scorer}, {"blocks", scores.blocks}, {"order", scores.order}};
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
  std::printf("%s, blocks from the most to the least important:\n", scores.scorer.c_str());
  for (const int block : scores.order) std::printf("  %4d  %.6f\n", block, scores.blocks[block]);
  return absl::OkStatus();
}

}  // namespace

void AddScoreCommand(CLI::App* app) {
  CLI::App* command = app->add_subcommand("score", "Rank the decoder blocks by importance");
  auto flags = std::make_shared<ScoreFlags>();
  flags->model.AddTo(command);
  command->add_option("--scorer", flags->scorer, "lim (embedding change) or zd (outlier weights)")
      ->required();
  command->add_option("--probes", flags->probe_count, "Calibration sequences for lim")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  flags->probes.AddTo(command);
  flags->memory.AddTo(command);
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [flags] { return RunScore(*flags); });
}

}  // namespace bitbudget
