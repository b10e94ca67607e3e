// The Python module "bitbudget", over the C++ interface (tools/api/bitbudget/bitbudget.h).

#include <bitbudget/bitbudget.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <utility>

namespace py = pybind11;
namespace api = bitbudget::api;

namespace {

void AddOption(const std::string& name, const py::handle& value, api::Options* options) {
  if (py::isinstance<py::list>(value) || py::isinstance<py::tuple>(value)) {
    for (const py::handle& one : value) AddOption(name, one, options);
  } else if (py::isinstance<py::bool_>(value)) {
    options->emplace_back(name, value.cast<bool>() ? "true" : "false");
  } else if (!value.is_none()) {
    options->emplace_back(name, py::str(value).cast<std::string>());
  }
}

// held_out_probes=32 is the option "held-out-probes"; None is no option, a list is one for each.
api::Options OptionsOf(const py::kwargs& kwargs) {
  api::Options options;
  for (const auto& [key, value] : kwargs) {
    std::string name = key.cast<std::string>();
    std::replace(name.begin(), name.end(), '_', '-');
    AddOption(name, value, &options);
  }
  return options;
}

py::dict ReportOf(const api::ProgressReport& report) {
  using py::literals::operator""_a;
  return py::dict("phase"_a = report.phase,
                  "done"_a = report.done,
                  "total"_a = report.total,
                  "note"_a = report.note,
                  "share"_a = report.share,
                  "seconds_left"_a = report.seconds_left);
}

// Runs a long call without the lock of the interpreter. Between its steps Python handles signals,
// so that Ctrl-C ends it, and calls `progress` unless that is None; what either raises ends the
// call at its next safe point and is raised from it. A callback that returns False stops the call.
template <typename Call>
auto Run(const py::object& progress, const Call& call) {
  std::optional<py::error_already_set> raised;
  const api::ProgressCallback callback = [&](const api::ProgressReport& report) {
    const py::gil_scoped_acquire lock;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      return progress.is_none() || !progress(ReportOf(report)).is(py::bool_(false));
    } catch (const py::error_already_set& error) {
      raised = error;
      return false;
    }
  };
  const auto run = [&] {
    const py::gil_scoped_release unlock;
    return call(callback);
  };
  try {
    auto result = run();
    if (raised.has_value()) throw py::error_already_set(*raised);
    return result;
  } catch (const api::InterruptedError&) {
    if (raised.has_value()) throw py::error_already_set(*raised);
    throw;
  }
}

py::object FromJson(const std::string& json) {
  return py::module_::import("json").attr("loads")(json);
}

std::string PathOf(const py::object& path) {
  return py::module_::import("os").attr("fspath")(path).cast<std::string>();
}

py::object Evaluate(const api::Model& model,
                    const std::optional<api::Plan>& plan,
                    const py::object& progress,
                    const py::kwargs& kwargs) {
  const api::Options options = OptionsOf(kwargs);
  const api::Evaluation evaluation = Run(progress, [&](const api::ProgressCallback& callback) {
    return plan.has_value() ? api::Evaluate(model, *plan, options, callback)
                            : api::Evaluate(model, options, callback);
  });
  return FromJson(evaluation.json);
}

std::string Describe(const api::Component& component) {
  return "<Component " + component.name + " " + std::to_string(component.rows) + " x " +
         std::to_string(component.cols) + " " + component.format + ">";
}

void AddErrors(py::module_* m) {
  // The innermost kind is registered last and so translated first.
  const auto& error = py::register_exception<api::Error>(*m, "Error");
  py::register_exception<api::UsageError>(*m, "UsageError", error);
  py::register_exception<api::InfeasibleError>(*m, "InfeasibleError", error);
  py::register_exception<api::InterruptedError>(*m, "Interrupted", error);
}

void AddClasses(py::module_* m) {
  py::class_<api::Component>(*m, "Component", "A weight matrix of a model or a plan.")
      .def_readonly("name", &api::Component::name, "Hugging Face module name")
      .def_readonly("kind", &api::Component::kind, "embed, q, k, v, o, gate, up, down or head")
      .def_readonly("layer", &api::Component::layer, "-1: of no layer")
      .def_readonly("rows", &api::Component::rows, "outputs")
      .def_readonly("cols", &api::Component::cols, "inputs")
      .def_readonly("format", &api::Component::format)
      .def_readonly("size_bytes", &api::Component::size_bytes)
      .def_readonly("pinned", &api::Component::pinned, "whether a pin fixed the format")
      .def("__repr__", Describe);

  py::class_<api::Model>(*m, "Model", "A loaded checkpoint; see load().")
      .def_property_readonly("path", &api::Model::path)
      .def_property_readonly("architecture", &api::Model::architecture)
      .def_property_readonly("fingerprint", &api::Model::fingerprint, "SHA-256; slow at first")
      .def_property_readonly("parameter_count", &api::Model::parameter_count)
      .def_property_readonly("size_bytes", &api::Model::size_bytes, "as stored")
      .def_property_readonly("components", &api::Model::components);

  py::class_<api::Plan>(*m, "Plan", "Which format every matrix gets, with the evidence.")
      .def(
          "write",
          [](const api::Plan& plan, const py::object& path, bool force) {
            plan.Write(PathOf(path), force);
          },
          py::arg("path"),
          py::arg("force") = false,
          "Writes a file: JSON if its name ends in .json, else binary. An earlier plan there is\n"
          "replaced, another file only by `force`.")
      .def_property_readonly("complete", &api::Plan::complete, "False: the search was stopped")
      .def_property_readonly("size_bytes", &api::Plan::size_bytes, "of the whole model")
      .def_property_readonly("bits_per_weight", &api::Plan::bits_per_weight)
      .def_property_readonly("target", &api::Plan::target, "the program that it was made for")
      .def_property_readonly(
          "verdict", &api::Plan::verdict, "whether it beats the best uniform format, and by what")
      .def_property_readonly("components", &api::Plan::components)
      .def(
          "summary",
          [](const api::Plan& plan) { return FromJson(plan.Summary()); },
          "Sizes, work and held-out metrics: what `bitbudget plan --json` prints.")
      .def(
          "to_dict",
          [](const api::Plan& plan) { return FromJson(plan.Json()); },
          "All of the plan, with the names of docs/plan-format.md.")
      .def(
          "export",
          [](const api::Plan& plan, const py::object& out, const std::string& to, bool force) {
            api::ExportResult result = plan.Export(PathOf(out), to, force);
            return std::pair(std::move(result.files), std::move(result.instructions));
          },
          py::arg("out"),
          py::arg("to") = "",
          py::arg("force") = false,
          "Writes the configuration of a target, by default the plan's own, and returns the files\n"
          "that were written and how to use them.")
      .def("__str__", &api::Plan::Text);
}

void AddFunctions(py::module_* m) {
  m->def(
      "load",
      [](const py::object& path, int threads) {
        const std::string text = PathOf(path);
        const py::gil_scoped_release unlock;
        return api::Model::Load(text, threads);
      },
      py::arg("path"),
      py::arg("threads") = 0,
      "Loads a Hugging Face folder or a GGUF file. Its files must not change meanwhile.");
  m->def(
      "read_plan",
      [](const py::object& path) { return api::Plan::Read(PathOf(path)); },
      py::arg("path"));
  m->def(
      "plan",
      [](const api::Model& model, const py::object& progress, const py::kwargs& kwargs) {
        const api::Options options = OptionsOf(kwargs);
        return Run(progress, [&](const api::ProgressCallback& callback) {
          return api::FindPlan(model, options, callback);
        });
      },
      py::arg("model"),
      py::kw_only(),
      py::arg("progress") = py::none(),
      "Searches for a plan. Keywords are the options of `bitbudget plan` but for output and\n"
      "training, with underscores: plan(model, budget='4.5bpw', pin=['embed=int8']). `progress` "
      "is\n"
      "called with a dict of phase, done, total, note, share and seconds_left; if it returns "
      "False\n"
      "the search stops, and the plan is the best so far, which is not `complete`.");
  m->def("evaluate",
         Evaluate,
         py::arg("model"),
         py::arg("plan") = py::none(),
         py::kw_only(),
         py::arg("progress") = py::none(),
         "Measures a plan, or what the keywords name: uniform='int4-g64', candidate='other.gguf'.\n"
         "Keywords are the options of `bitbudget eval`; the result is what its --json prints.");
  m->def(
      "apply",
      [](const api::Model& model,
         const api::Plan& plan,
         const py::object& out,
         const py::object& progress,
         const py::kwargs& kwargs) {
        const api::Options options = OptionsOf(kwargs);
        const std::string path = PathOf(out);
        return Run(progress, [&](const api::ProgressCallback& callback) {
          return api::Apply(model, plan, path, options, callback);
        });
      },
      py::arg("model"),
      py::arg("plan"),
      py::arg("out"),
      py::kw_only(),
      py::arg("progress") = py::none(),
      "Writes the model that the plan describes: a GGUF file if `out` ends in .gguf, else a new\n"
      "folder. Keywords are the options of `bitbudget apply`. Returns the bytes written.");
  m->def(
      "targets",
      [] {
        py::dict targets;
        for (const api::Target& target : api::Targets()) {
          targets[py::str(target.name)] = target.summary;
        }
        return targets;
      },
      "The programs that plans can be made for, with what each is.");
}

}  // namespace

PYBIND11_MODULE(bitbudget, m) {
  m.doc() =
      "Fits language models into a memory budget: see load(), plan(), evaluate(), apply().\n"
      "Errors are bitbudget.Error and its kinds UsageError, InfeasibleError and Interrupted.";
  m.attr("__version__") = api::Version();
  AddErrors(&m);
  AddClasses(&m);
  AddFunctions(&m);
}
