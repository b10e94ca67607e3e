// Models and plans of the library.

#include "runtime/model/decoder/model.h"

#include <bitbudget/bitbudget.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "plans/pinned.h"
#include "plans/plan_io.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "plans/targets/target.h"
#include "plans/validate.h"
#include "plans/verdict.h"
#include "runtime/base/json_text.h"
#include "runtime/base/parallel.h"
#include "tools/api/parse.h"
#include "tools/existing_output.h"
#include "tools/export_files.h"
#include "tools/plan_json.h"

namespace bitbudget::api {

Error::~Error() = default;
UsageError::~UsageError() = default;
InfeasibleError::~InfeasibleError() = default;
InterruptedError::~InterruptedError() = default;

Model Model::Load(const std::string& path, int threads) {
  absl::StatusOr<std::unique_ptr<bitbudget::Model>> model =
      bitbudget::Model::Load(path, threads > 0 ? threads : DefaultThreads());
  ThrowIfError(model.status());
  return Model(*std::move(model));
}

const std::string& Model::path() const { return model_->path(); }
const std::string& Model::architecture() const { return model_->config().architecture_name; }
const std::string& Model::fingerprint() const { return model_->Fingerprint(); }
int64_t Model::parameter_count() const { return model_->parameter_count(); }
int64_t Model::size_bytes() const { return model_->stored_bytes(); }

std::vector<Component> Model::components() const {
  std::vector<Component> components;
  const std::vector<bitbudget::Component>& all = model_->components();
  for (ComponentId id = 0; id < static_cast<ComponentId>(all.size()); ++id) {
    const bitbudget::Component& c = all[id];
    const Format& format = model_->Weight(id).format;
    components.push_back({c.name,
                          ComponentKindName(c.kind),
                          c.layer,
                          c.rows,
                          c.cols,
                          format.Name(),
                          SizeBytes(format, c.rows, c.cols)});
  }
  return components;
}

Plan Plan::Read(const std::string& path) {
  absl::StatusOr<plans::Plan> plan = ReadPlan(path);
  ThrowIfError(plan.status());
  return Plan(std::make_shared<const plans::Plan>(*std::move(plan)), path);
}

void Plan::Write(const std::string& path, bool force) const {
  ThrowIfError(CheckPlanOut(path, force));
  ThrowIfError(WritePlan(*plan_, path));
}

bool Plan::complete() const { return plan_->complete(); }
int64_t Plan::size_bytes() const { return PlanSizeBytes(*plan_); }
double Plan::bits_per_weight() const { return PlanBitsPerWeight(*plan_); }
std::string Plan::target() const { return plan_->options().target(); }
std::string Plan::verdict() const { return Verdict(*plan_); }

std::vector<Component> Plan::components() const {
  std::vector<Component> components;
  for (const plans::Component& c : plan_->components()) {
    components.push_back({c.name(),
                          c.kind(),
                          c.layer(),
                          c.rows(),
                          c.cols(),
                          c.format(),
                          c.size_bytes(),
                          IsPinned(*plan_, c)});
  }
  return components;
}

std::string Plan::Text() const { return RenderPlan(*plan_); }

std::string Plan::Json() const {
  const absl::StatusOr<std::string> json = PlanToJson(*plan_);
  ThrowIfError(json.status());
  return *json;
}

std::string Plan::Summary() const {
  return DumpJson(PlanJson(*plan_, /*memory=*/std::nullopt, /*seconds=*/std::nullopt), 2);
}

ExportResult Plan::Export(const std::string& out, const std::string& target, bool force) const {
  absl::StatusOr<WrittenExport> written = WriteExport(*plan_, {path_, target, out, force});
  ThrowIfError(written.status());
  return {std::move(written->files), std::move(written->instructions)};
}

std::vector<Target> Targets() {
  std::vector<Target> targets;
  for (const TargetProfile* target : bitbudget::Targets()) {
    targets.push_back({std::string(target->name()), std::string(target->summary())});
  }
  return targets;
}

std::string Version() { return BITBUDGET_VERSION; }

}  // namespace bitbudget::api
