#ifndef BITBUDGET_PLANS_TARGETS_PYTHON_DRIVER_H_
#define BITBUDGET_PLANS_TARGETS_PYTHON_DRIVER_H_

#include <string>

#include "plans/targets/json_file.h"
#include "plans/targets/target.h"

namespace bitbudget::internal {

// A Python program that runs a consumer with the JSON file beside it.
struct PythonDriver {
  const char* arguments;  // of its command line: "MODEL OUT"
  // $DRIVER stands for its file name, $ARGUMENTS for the above, $CONFIG for an expression that is
  // the path of the JSON file.
  const char* program;
};

// `config` in `path`, the driver beside it, and how to run the driver.
Export ExportWithDriver(const std::string& path, const Json& config, const PythonDriver& driver);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_PYTHON_DRIVER_H_
