#include "planner/jobs/target_model.h"

namespace bitbudget {

TargetModel ModelForTargets(const Model& model) {
  TargetModel result;
  result.architecture = model.config().architecture_name;
  for (const Component& c : model.components()) {
    result.components.push_back({c.name, ComponentKindName(c.kind), c.layer, c.rows, c.cols});
  }
  return result;
}

}  // namespace bitbudget
