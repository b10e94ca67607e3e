// The bitbudget command.

#include <fcntl.h>
#include <gflags/gflags.h>
#include <glog/logging.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "planner/jobs/feasibility.h"
#include "runtime/kernels/table.h"
#include "tools/bus_error.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/config_file.h"
#include "tools/interrupt.h"
#include "tools/out_of_memory.h"

namespace bitbudget {
namespace {

constexpr const char* kDescription =
    "Decides, for a language model and a memory budget, which format every weight matrix gets,\n"
    "proves the decision by running it, and writes it down as a plan.";

constexpr const char* kFooter =
    "Exit codes: 0 done, 2 usage, 3 bad input, 4 no assignment fits the budget, 130 interrupted.\n"
    "Results go to standard output; progress and messages to standard error.\n"
    "bitbudget help COMMAND shows a command's options and examples.\n"
    "BITBUDGET_CPU=portable|avx2|avx512vnni selects the kernels (default: the fastest of the CPU).";

// One line: arguments, file and tensor names in a message may hold anything.
std::string OneLine(absl::string_view message) {
  std::string line(message);
  for (char& c : line) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return line;
}

void PrintError(const absl::Status& status) {
  std::fprintf(stderr, "bitbudget: %s\n", OneLine(status.message()).c_str());
}

// Results that did not reach their reader are an error, whatever the command found.
absl::Status FlushOutput() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return absl::OkStatus();
  const int error = errno != 0 ? errno : EIO;  // it failed earlier
  return absl::ErrnoToStatus(error, "standard output: cannot write");
}

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  if (absl::IsCancelled(status)) return kExitInterrupted;
  if (IsUsageError(status)) return kExitUsage;
  if (IsInfeasible(status)) return kExitInfeasible;
  return kExitBadInput;
}

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "bitbudget");
  app.footer(kFooter);
  app.require_subcommand(0, 1);  // that there is one is checked after unknown arguments
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return absl::StrCat("bitbudget: ",
                        OneLine(absl::StrReplaceAll(error.what(), {{"\n", " "}})),
                        "; --help lists the options\n");
  });
  app.set_version_flag("-V,--version", BITBUDGET_VERSION);
  int verbosity = 0;
  app.add_option("--v", verbosity, "Diagnostics on standard error: 0 (off) to 3");
  bool quiet = false;
  app.add_flag("-q,--quiet", quiet, "No progress and no notes, only results and errors");
  AddConfigOption(&app);
  app.fallthrough();
  AddFitCommand(&app);
  AddPlanCommand(&app);
  AddExploreCommand(&app);
  AddEvalCommand(&app);
  AddScoreCommand(&app);
  AddShowCommand(&app);
  AddDiffCommand(&app);
  AddApplyCommand(&app);
  AddRecoverCommand(&app);
  AddEqualizeCommand(&app);
  AddExportCommand(&app);
  AddLintCommand(&app);
  AddFormatsCommand(&app);
  AddRunsCommand(&app);
  AddGenerateCommand(&app);
  AddTokenizeCommand(&app);
  AddLogitsCommand(&app);
  AddCompletionCommand(&app);
  AddManualCommand(&app);

  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::WARNING;
  app.parse_complete_callback([&] {
    SetQuiet(quiet);
    FLAGS_v = verbosity;
    if (verbosity > 0) FLAGS_minloglevel = google::INFO;
  });

  if (const absl::Status status = CheckKernelOverride(); !status.ok()) {
    PrintError(status);
    return kExitUsage;
  }
  InstallBusErrorHandler();
  const InterruptGuard interrupt_guard;
  try {
    absl::StatusOr<std::vector<std::string>> args =
        ReadConfig(app, ExpandHelp(std::vector<std::string>(argv + 1, argv + argc)));
    if (!args.ok()) {
      PrintError(args.status());
      return kExitUsage;
    }
    std::reverse(args->begin(), args->end());  // as CLI11 takes them
    app.parse(*std::move(args));
    if (app.get_subcommands().empty()) throw CLI::RequiredError("A command");
  } catch (const CLI::ExtrasError&) {
    PrintError(absl::InvalidArgumentError(DescribeUnknown(app)));
    return kExitUsage;
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) return kExitUsage;
    const absl::Status written = FlushOutput();  // of --help or --version
    if (!written.ok()) PrintError(written);
    return ExitCodeOf(written);
  }
  absl::Status status = CommandStatus();
  if (status.ok()) status = FlushOutput();
  if (!status.ok() && !IsSilentError(status)) {
    ProcessProgress()->End();  // an error leaves its phase open; the message goes below the bar
    PrintError(status);
  }
  return ExitCodeOf(status);
}

// A standard stream that the caller closed would be the next file that is opened, and what is
// printed would go into it.
void FillStandardStreams() {
  int file = open("/dev/null", O_RDWR);
  while (file >= 0 && file <= STDERR_FILENO) file = open("/dev/null", O_RDWR);
  if (file >= 0) close(file);
}

// Settings that libraries read when they are loaded, ahead of main, so that the program starts
// itself again with them. Threads of OpenMP that wait for others spin by default, which on a
// machine that is shared takes as much CPU time again as the work, and gains nothing measurable on
// one that is not. OpenBLAS, which comes with Ceres and has no work here, starts a thread for every
// core, and waits for them at the end of the process whether or not they could be started.
void SetUpLibraries(char** argv) {
  bool changed = false;
  if (std::getenv("OMP_WAIT_POLICY") == nullptr && std::getenv("GOMP_SPINCOUNT") == nullptr) {
    changed |= setenv("OMP_WAIT_POLICY", "passive", 1) == 0;
  }
  if (std::getenv("OPENBLAS_NUM_THREADS") == nullptr) {
    changed |= setenv("OPENBLAS_NUM_THREADS", "1", 1) == 0;
  }
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (changed && !error) execv(self.c_str(), argv);  // returns only on failure: then as it is
}

}  // namespace
}  // namespace bitbudget

int main(int argc, char** argv) {
  bitbudget::FillStandardStreams();
  bitbudget::SetUpLibraries(argv);
  bitbudget::InstallOutOfMemoryHandler();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may grow no more is a failed write
  try {
    return bitbudget::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    bitbudget::EndOutOfMemory();
  }
}
