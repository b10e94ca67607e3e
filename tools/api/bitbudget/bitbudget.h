#ifndef BITBUDGET_TOOLS_API_BITBUDGET_BITBUDGET_H_
#define BITBUDGET_TOOLS_API_BITBUDGET_BITBUDGET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#define BITBUDGET_API __attribute__((visibility("default")))

// bitbudget as a library: load models, search for plans, measure them, write models, read, write
// and export plans. docs/api.md tells how to build with it, tools/examples has programs.
//
// Functions throw Error and its kinds, whose what() is the one line that the command would print.
// Objects are small and share what they refer to; different threads may use them, and each call
// uses threads of its own (option "threads").

namespace bitbudget {
class Model;
namespace plans {
class Plan;
}
}  // namespace bitbudget

namespace bitbudget::api {

// Bad input: a file, a field or a value in it.
class BITBUDGET_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};
// A wrong option or argument of a call.
class BITBUDGET_API UsageError : public Error {
 public:
  using Error::Error;
  ~UsageError() override;
};
// No plan meets the limit.
class BITBUDGET_API InfeasibleError : public Error {
 public:
  using Error::Error;
  ~InfeasibleError() override;
};
// The callback stopped the call before there was a result.
class BITBUDGET_API InterruptedError : public Error {
 public:
  using Error::Error;
  ~InterruptedError() override;
};

// Options of a command, by the long names that its --help lists, without dashes. One that may be
// repeated stands there several times; one without a value is "true".
//   {{"budget", "4.5bpw"}, {"pin", "embed=int8"}, {"pin", "head=int8"}, {"exhaustive", "true"}}
using Options = std::vector<std::pair<std::string, std::string>>;

// How far a call is.
struct ProgressReport {
  std::string phase;  // what runs now, e.g. "candidates"
  int64_t done = 0;   // of its steps
  int64_t total = 0;  // 0: unknown
  std::string note;   // a short state, e.g. "KL 0.0123"
  // Of the whole call, where its work is known.
  std::optional<double> share;  // 0 to 1
  std::optional<double> seconds_left;
};

// Is called several times a second at most, from one thread at a time, not always the same one.
// false stops the call at its next safe point. It must not throw.
using ProgressCallback = std::function<bool(const ProgressReport&)>;

// A weight matrix of a model or a plan.
struct Component {
  std::string name;  // Hugging Face module name, e.g. "model.layers.0.mlp.up_proj"
  std::string kind;  // embed, q, k, v, o, gate, up, down or head
  int layer = -1;    // -1: of no layer
  int64_t rows = 0;  // outputs
  int64_t cols = 0;  // inputs
  std::string format;
  int64_t size_bytes = 0;  // in that format
  bool pinned = false;     // the plan's request fixed the format
};

// A loaded checkpoint. Its weights stay in their file, which must not change meanwhile.
class BITBUDGET_API Model {
 public:
  // A Hugging Face folder or a GGUF file. `threads` for the scan of its weights; 0: all cores.
  static Model Load(const std::string& path, int threads = 0);

  const std::string& path() const;
  const std::string& architecture() const;  // as config.json spells it
  const std::string& fingerprint() const;   // SHA-256 of configuration and weights; slow at first
  int64_t parameter_count() const;          // tied ones once
  int64_t size_bytes() const;               // as stored
  std::vector<Component> components() const;

  const bitbudget::Model& internal() const { return *model_; }

 private:
  explicit Model(std::shared_ptr<const bitbudget::Model> model) : model_(std::move(model)) {}

  std::shared_ptr<const bitbudget::Model> model_;
};

// What an export wrote.
struct ExportResult {
  std::vector<std::string> files;  // the configuration first
  std::string instructions;        // how to run the target with them
};

// Which format every matrix of a model gets, with the evidence.
class BITBUDGET_API Plan {
 public:
  // A file that bitbudget wrote, binary or JSON.
  static Plan Read(const std::string& path);
  // ".json": as JSON; else binary. An earlier plan there is replaced, another file only by `force`.
  // The file with the codes of a recovered plan stays where it is.
  void Write(const std::string& path, bool force = false) const;

  bool complete() const;       // false: the search was stopped, this is its best so far
  int64_t size_bytes() const;  // of the whole model
  double bits_per_weight() const;
  std::string target() const;   // the program that it was made for; empty: none
  std::string verdict() const;  // one line: whether it beats the best uniform format, and by what
  std::vector<Component> components() const;

  std::string Text() const;     // as `bitbudget show`
  std::string Json() const;     // all of it (docs/plan-format.md)
  std::string Summary() const;  // JSON: sizes, work and held-out metrics, as `plan --json`

  // Writes the configuration of a target (Targets()) and what goes beside it; an empty `target` is
  // the plan's own.
  ExportResult Export(const std::string& out,
                      const std::string& target = "",
                      bool force = false) const;

  // The file that it was read from; empty: none.
  const std::string& path() const { return path_; }
  const plans::Plan& internal() const { return *plan_; }

  Plan(std::shared_ptr<const plans::Plan> plan, std::string path)
      : plan_(std::move(plan)), path_(std::move(path)) {}

 private:
  std::shared_ptr<const plans::Plan> plan_;
  std::string path_;
};

// A statistic with its 95 % interval.
struct Measured {
  double value = 0;
  double low = 0;
  double high = 0;
};

// What `bitbudget eval` measures. KL in nats per token, FDT in tokens.
struct Evaluation {
  int64_t size_bytes = 0;  // of the whole model
  double bits_per_weight = 0;
  Measured fdt;  // mean first divergent token of completions
  // Of completions and of prompts. Absent with option "fdt-only", and the last ones where prompts
  // are too short.
  std::optional<Measured> kl;
  std::optional<Measured> top1;
  std::optional<Measured> text_kl;
  std::optional<Measured> text_kl_999;  // the 99.9th percentile over tokens
  std::optional<Measured> text_top1;
  std::string json;  // all of it, as `eval --json`
};

// Searches for a plan. Options: those of `bitbudget plan` but for output and training; "budget",
// "goal" or "sparsity" is required. Nothing is kept but in a folder that "run-dir" names, from
// which the same call resumes. Stopped by `progress`, it returns the best plan so far, which is not
// complete().
BITBUDGET_API Plan FindPlan(const Model& model,
                            const Options& options,
                            const ProgressCallback& progress = {});

// Measures what the options name: "uniform", "candidate", "plan" (a file) or "pin". Options: those
// of `bitbudget eval`.
BITBUDGET_API Evaluation Evaluate(const Model& model,
                                  const Options& options,
                                  const ProgressCallback& progress = {});
// Measures a plan.
BITBUDGET_API Evaluation Evaluate(const Model& model,
                                  const Plan& plan,
                                  const Options& options = {},
                                  const ProgressCallback& progress = {});

// Writes the model that a plan describes: `out` ending in ".gguf" is a file, else a new folder.
// Options: those of `bitbudget apply`. Returns the bytes that were written.
BITBUDGET_API int64_t Apply(const Model& model,
                            const Plan& plan,
                            const std::string& out,
                            const Options& options = {},
                            const ProgressCallback& progress = {});

// The programs that plans can be made for, and what each is.
struct Target {
  std::string name;
  std::string summary;
};
BITBUDGET_API std::vector<Target> Targets();

// The version of the library, e.g. "0.1.0".
BITBUDGET_API std::string Version();

}  // namespace bitbudget::api

#endif  // BITBUDGET_TOOLS_API_BITBUDGET_BITBUDGET_H_
