#include "tools/existing_output.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "planner/jobs/apply_job.h"
#include "plans/targets/plan_file.h"
#include "plans/targets/target.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/read_file.h"
#include "runtime/model/checkpoint/gguf_files.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

// Whether a text is a driver script of an export: each begins with what it does "as a bitbudget
// plan says".
bool IsDriver(absl::string_view text) {
  return absl::StartsWith(text, "\"\"\"") && absl::StrContains(text.substr(0, 400), "bitbudget");
}

const char* Described(Content content) {
  switch (content) {
    case Content::kPlan:
      return "a plan that this version reads";
    case Content::kGguf:
      return "a GGUF file that bitbudget wrote";
    case Content::kArray:
      return "a NumPy array";
    case Content::kPage:
      return "a page that bitbudget wrote";
    case Content::kCurve:
      return "a curve that bitbudget wrote";
  }
  return "";
}

bool IsApplied(const std::string& path) {
  const absl::StatusOr<GgufFiles> gguf = OpenGgufFiles(path);
  return gguf.ok() && gguf->parsed.front().Find(kGgufToolKey) != nullptr;
}

absl::Status InTheWay(const char* option, const std::string& path, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(option,
                                                 " ",
                                                 path,
                                                 ": exists and is not ",
                                                 expected,
                                                 "; name another file, or --force replaces it"));
}

bool Holds(const std::string& path, Content content) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return false;
  const absl::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()),
                                file->bytes().size());
  if (bytes.empty()) return true;
  switch (content) {
    case Content::kPlan:
      return ReadPlan(path).ok();
    case Content::kGguf:
      return IsApplied(path);
    case Content::kArray:
      return absl::StartsWith(bytes, "\x93NUMPY");
    case Content::kPage:
      return absl::StartsWithIgnoreCase(bytes, "<!doctype html") &&
             absl::StrContains(bytes, "bitbudget");
    case Content::kCurve:
      return absl::StartsWith(bytes, "{") && absl::StrContains(bytes, "\"points\"") &&
             absl::StrContains(bytes, "\"knee\"");
  }
  return false;
}

}  // namespace

void AddForceOption(CLI::App* command, bool* force) {
  command->add_flag("--force", *force, "Replace a file at the output that is no earlier result");
}

absl::Status CheckExisting(const char* option,
                           const std::string& path,
                           Content content,
                           bool force) {
  std::error_code error;
  if (force || !std::filesystem::exists(path, error) || Holds(path, content)) {
    return absl::OkStatus();
  }
  return InTheWay(option, path, Described(content));
}

absl::Status CheckExistingExport(const std::string& path, const plans::Plan& plan, bool force) {
  std::error_code error;
  if (force || !std::filesystem::exists(path, error)) return absl::OkStatus();
  const absl::StatusOr<std::string> old = ReadFile(path, kMaxConfigBytes);
  if (old.ok() && (old->empty() || IsDriver(*old))) return absl::OkStatus();
  const TargetModel model = ModelOfPlan(plan);
  for (const TargetProfile* target : Targets()) {
    if (old.ok() && target->Read(*old, path, model).ok()) return absl::OkStatus();
  }
  return InTheWay("--out", path, "a configuration that a target reads");
}

absl::Status CheckPlanOut(const std::string& path, bool force) {
  for (const char* suffix : {".gguf", ".safetensors"}) {
    if (!absl::EndsWith(path, suffix)) continue;
    return UsageError(absl::InvalidArgumentError(absl::StrCat(
        "--out ",
        path,
        ": a plan is no ",
        suffix,
        " file; bitbudget fit makes a GGUF file in one command, or write the plan to a .pb or "
        ".json file, and apply makes the model of it")));
  }
  return CheckExisting("--out", path, Content::kPlan, force);
}

}  // namespace bitbudget
