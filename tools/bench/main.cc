// bitbudget-bench: speed beside a baseline of the same run (docs/performance.md).

#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "tools/bench/bench.h"
#include "tools/bench/machine.h"

namespace bitbudget {
namespace {

constexpr int kExitFailed = 1;  // a wrong result, or something could not be measured
constexpr int kExitUsage = 2;

struct Flags {
  BenchOptions options;
  std::vector<std::string> formats;
  std::string activations;
  bool json = false;
};

absl::Status ReadCases(Flags* flags) {
  if (flags->formats.empty() && flags->activations.empty()) return absl::OkStatus();
  std::vector<std::string> formats = flags->formats;
  std::vector<Activations> kinds;
  if (flags->activations.empty()) {
    kinds = {Activations::kInt16, Activations::kInt8};
  } else {
    BB_ASSIGN_OR_RETURN(const Activations kind, ParseActivations(flags->activations));
    if (kind == Activations::kToken8 || kind == Activations::kToken4 ||
        kind == Activations::kLlamaCpp) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--activations ",
          flags->activations,
          " has the kernels of int16 and int8; it emulates and is not meant to be fast"));
    }
    kinds = {kind};
  }
  if (formats.empty()) formats = {"int8-g128", "int4-g32", "int4-g128"};
  for (const Activations kind : kinds) {
    for (const std::string& format : formats) {
      BB_RETURN_IF_ERROR(ParseFormat(format).status());
      flags->options.cases.push_back({format, kind});
    }
  }
  return absl::OkStatus();
}

using Bench = absl::Status (*)(const BenchOptions&, const BenchSink&);

absl::Status Run(Bench bench, Flags flags) {
  BB_RETURN_IF_ERROR(ReadCases(&flags));
  const Machine machine = DescribeMachine();
  if (!flags.json) std::fprintf(stdout, "%s\n", RenderMachine(machine).c_str());
  std::vector<BenchResult> results;
  const absl::Status status =
      bench(flags.options, [&](const BenchResult& result) { results.push_back(result); });
  BB_RETURN_IF_ERROR(status);
  if (!flags.json) {
    std::fputs(RenderTable(results).c_str(), stdout);
    return absl::OkStatus();
  }
  nlohmann::ordered_json json;
  json["machine"] = ToJson(machine);
  json["machine"]["repetitions"] = flags.options.repetitions;
  json["results"] = nlohmann::ordered_json::array();
  for (const BenchResult& result : results) json["results"].push_back(ToJson(result));
  std::fprintf(stdout, "%s\n", json.dump(1).c_str());
  return absl::OkStatus();
}

void AddSharedFlags(CLI::App* app, Flags* flags) {
  BenchOptions& options = flags->options;
  app->add_flag("--json", flags->json, "Results as JSON");
  app->add_option("--repetitions", options.repetitions, "Rounds; fewer than 11 say little")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  app->add_option("--min-seconds", options.min_seconds, "Time of one measurement, at least")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 60.0));
  app->add_option("--threads", options.threads, "Numbers of threads, e.g. 1,2")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
}

void AddCaseFlags(CLI::App* app, Flags* flags) {
  app->add_option("--formats", flags->formats, "Weight formats, e.g. int8-g128,int4-g32")
      ->delimiter(',');
  app->add_option("--activations", flags->activations, "int16, int8 or f32");
}

void AddShapeFlags(CLI::App* app, Flags* flags) {
  constexpr int64_t kMax = int64_t{1} << 20;
  app->add_option("--m", flags->options.rows, "Numbers of rows")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, kMax));
  app->add_option("--n", flags->options.outputs, "Numbers of outputs")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, kMax));
  app->add_option("--k", flags->options.inputs, "Inputs")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, kMax));
}

int Main(int argc, char** argv) {
  if (const absl::Status status = CheckKernelOverride(); !status.ok()) {
    std::fprintf(stderr, "bitbudget-bench: %s\n", std::string(status.message()).c_str());
    return kExitUsage;
  }
  ChooseOpenBlas(argv);
  google::InitGoogleLogging(argv[0]);
  CLI::App app(
      "Measures speed beside a baseline of the same run, checks every result, and prints the "
      "targets\nbeside what was measured. BITBUDGET_CPU=portable|avx2|avx512vnni selects the "
      "kernels.",
      "bitbudget-bench");
  app.require_subcommand(1);
  Flags flags;
  absl::Status status;
  const auto add = [&](const char* name, const char* description, Bench bench) {
    CLI::App* command = app.add_subcommand(name, description);
    AddSharedFlags(command, &flags);
    command->callback([&flags, &status, bench] { status = Run(bench, flags); });
    return command;
  };
  CLI::App* kernels =
      add("kernels", "Tiles of packed operands beside their instructions' bound", RunKernelsBench);
  CLI::App* linear =
      add("linear", "Products with their packing beside OpenBLAS sgemm", RunLinearBench);
  CLI::App* prefill =
      add("prefill", "A model reading a prompt beside its matrix products", RunPrefillBench);
  CLI::App* decode =
      add("decode", "A model one token at a time beside a plain read of it", RunDecodeBench);
  CLI::App* search = add("search", "Candidates of a search beside a full pass", RunSearchBench);
  CLI::App* encode =
      add("encode", "Encoders on a generated matrix, in weights per second", RunEncodeBench);
  for (CLI::App* command : {kernels, linear, encode}) AddShapeFlags(command, &flags);
  for (CLI::App* command : {kernels, linear, prefill, decode, encode})
    AddCaseFlags(command, &flags);
  for (CLI::App* command : {prefill, decode, search}) {
    const char* without = command == search ? "tools/demo/models/novel-1m" : "a generated one";
    command
        ->add_option(
            "--model", flags.options.model, absl::StrCat("Model folder (default: ", without, ")"))
        ->check(CLI::ExistingDirectory);
  }
  for (CLI::App* command : {prefill, decode}) {
    command
        ->add_option("--layers",
                     flags.options.layers,
                     "Layers of the model that is generated without --model")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
  }
  prefill->add_option("--tokens", flags.options.tokens, "Tokens of the prompt")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  search->add_option("--probes", flags.options.probes, "Probes")
      ->capture_default_str()
      ->check(CLI::Range(4, 1 << 20));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "bitbudget-bench: %s\n", std::string(status.message()).c_str());
  return kExitFailed;
}

}  // namespace
}  // namespace bitbudget

int main(int argc, char** argv) { return bitbudget::Main(argc, argv); }
