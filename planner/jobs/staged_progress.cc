#include "planner/jobs/staged_progress.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace bitbudget {
namespace {

// The estimate that the job begins with weighs as much as this share of its work.
constexpr double kFirstEstimate = 0.02;
// Work that is so much faster than expected was not done here.
constexpr double kRecalled = 20;

double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

StagedProgress::StagedProgress(PlanWork work,
                               double pass_seconds,
                               Progress* inner,
                               std::function<double()> now_s)
    : inner_(*inner),
      now_s_(now_s ? std::move(now_s) : SteadySeconds),
      pass_seconds_(pass_seconds),
      first_total_(work.passes()),
      learned_s_(now_s_()) {
  for (WorkStage& stage : work.stages) {
    Stage& own = stages_.emplace_back();
    own.name = std::move(stage.name);
    own.job = stage.job;
    for (PhaseWork& part : stage.parts) own.parts.push_back({std::move(part)});
  }
  Tell();
}

StagedProgress::~StagedProgress() { inner_.Overall(nullptr); }

void StagedProgress::Find(absl::string_view phase) {
  part_ = nullptr;
  known_ = false;
  for (size_t s = stage_; s < stages_.size(); ++s) {
    if (stages_[s].job > job_) continue;
    for (Part& part : stages_[s].parts) {
      if (!IsPhase(phase, part.work)) continue;
      known_ = true;
      if (part.used >= part.work.times) continue;
      EnterStage(s);
      part_ = &part;
      return;
    }
  }
}

void StagedProgress::EnterStage(size_t stage) {
  for (; stage_ < stage; ++stage_) {
    for (Part& part : stages_[stage_].parts) {
      if (part.work.limit) {
        part.work.times = part.used;
      } else {
        part.used = part.work.times;
      }
    }
  }
}

void StagedProgress::BeginJob(int job) {
  job_ = job;
  for (size_t s = stage_; s < stages_.size(); ++s) {
    if (stages_[s].job != job) continue;
    EnterStage(s);
    break;
  }
  Tell();
}

void StagedProgress::Begin(absl::string_view phase, int64_t total) {
  if (part_ != nullptr) End();
  Find(phase);
  if (part_ != nullptr) base_ = part_->used;
  total_ = total;
  done_ = 0;
  Tell();
  inner_.Begin(phase, total);
}

void StagedProgress::Update(int64_t done, absl::string_view note) {
  done_ = done;
  Reach(static_cast<double>(done));
  Tell();
  inner_.Update(done, note);
}

void StagedProgress::Within(double steps) {
  const double reached = static_cast<double>(done_) + steps;
  Reach(total_ > 0 ? std::min(reached, static_cast<double>(total_)) : reached);
  Tell();
  inner_.Within(steps);
}

void StagedProgress::End() {
  if (part_ != nullptr && !part_->work.by_step)
    Reach(static_cast<double>(std::max<int64_t>(total_, 1)));
  part_ = nullptr;
  Tell();
  inner_.End();
}

void StagedProgress::Finish() {
  EnterStage(stages_.size());
  if (!stages_.empty()) --stage_;
  part_ = nullptr;
  Tell();
}

void StagedProgress::Reach(double steps) {
  if (part_ == nullptr) return;
  const PhaseWork& work = part_->work;
  double used = base_;
  if (work.by_step) {
    used += steps;
  } else if (total_ > 0) {
    used += std::min(1.0, steps / static_cast<double>(total_));
  } else if (steps >= 1) {
    used += 1;
  }
  used = std::min(used, work.times);
  if (used <= part_->used) return;
  const double passes = (used - part_->used) * work.passes;
  part_->used = used;
  Learn(work.kind, passes);
}

void StagedProgress::Learn(WorkKind kind, double passes) {
  const double now = now_s_();
  const double seconds = now - learned_s_;
  learned_s_ = now;
  if (seconds * kRecalled < passes * SecondsPerPass(kind)) return;
  Speed& speed = speeds_[static_cast<size_t>(kind)];
  speed.passes += passes;
  speed.seconds += seconds;
}

double StagedProgress::SecondsPerPass(WorkKind kind) const {
  const double weight = kFirstEstimate * first_total_;
  Speed all{weight, weight * pass_seconds_};
  for (const Speed& speed : speeds_) {
    all.passes += speed.passes;
    all.seconds += speed.seconds;
  }
  if (all.passes <= 0) return 0;
  const Speed& own = speeds_[static_cast<size_t>(kind)];
  return (own.seconds + weight * all.seconds / all.passes) / (own.passes + weight);
}

void StagedProgress::Tell() {
  if (stages_.empty()) return;
  OverallProgress job;
  job.stage = static_cast<int>(stage_) + 1;
  job.stages = static_cast<int>(stages_.size());
  job.name = stages_[stage_].name;
  for (const Stage& stage : stages_) {
    for (const Part& part : stage.parts) {
      const double left = (part.work.times - part.used) * part.work.passes;
      job.passes += part.used * part.work.passes;
      job.total_passes += part.work.total();
      job.seconds_left += left * SecondsPerPass(part.work.kind);
    }
  }
  job.share = job.total_passes > 0 ? std::min(1.0, job.passes / job.total_passes) : 1;
  inner_.Overall(&job);
}

}  // namespace bitbudget
