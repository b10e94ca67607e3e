#include "plans/targets/python_driver.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/json_text.h"

namespace bitbudget::internal {
namespace {

// As a Python string literal.
std::string PythonQuote(const std::string& text) {
  // JSON strings in ASCII are Python strings too.
  return DumpJson(Json(text), -1, /*ensure_ascii=*/true);
}

// The last part of a path.
std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// A name that no package has: Python looks for what a script imports beside the script first, so
// that a driver mlx.py would import itself.
std::string DriverPath(const std::string& path) {
  const std::string name = PathBeside(FileName(path), ".py");
  return absl::StrCat(path.substr(0, path.size() - FileName(path).size()), "run_", name);
}

}  // namespace

Export ExportWithDriver(const std::string& path, const Json& config, const PythonDriver& driver) {
  const std::string driver_path = DriverPath(path);
  const std::string config_path =
      absl::StrCat("os.path.join(os.path.dirname(os.path.abspath(__file__)), ",
                   PythonQuote(FileName(path)),
                   ")");
  Export result;
  result.files.push_back({path, JsonText(config)});
  result.files.push_back({driver_path,
                          absl::StrReplaceAll(driver.program,
                                              {{"$DRIVER", FileName(driver_path)},
                                               {"$ARGUMENTS", driver.arguments},
                                               {"$CONFIG", config_path}})});
  result.instructions = absl::StrCat("python ", driver_path, " ", driver.arguments);
  return result;
}

}  // namespace bitbudget::internal
