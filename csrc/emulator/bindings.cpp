// onnxlrp._emulator: launch emulated kernels on numpy arrays.
#include <dlfcn.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <map>
#include <memory>

#include "runtime.hpp"

namespace py = pybind11;
using cuda_on_cpu::Kernel;
using cuda_on_cpu::Param;
using cuda_on_cpu::Table;

extern "C" const Table onnxlrp_kernels;

namespace {

std::string named(const Param& p) {
  if (p.kind == 'V') return p.pointer ? "any array" : "a value of " + std::to_string(p.size) + " bytes";
  static const std::map<char, std::string> kinds{{'f', "float"}, {'i', "int"}, {'u', "uint"}, {'b', "bool"}};
  const std::string type = p.kind == 'b' ? "bool" : kinds.at(p.kind) + std::to_string(8 * p.size);
  return p.pointer ? "a " + type + " array" : "a " + type;
}

// Storage of one parameter's value, from which the kernel's call reads it.
struct Value {
  alignas(16) char bytes[16] = {};
  std::string large;
  void* at() { return large.empty() ? bytes : &large[0]; }
};

class Binder {
 public:
  Binder(const Kernel& kernel, const py::sequence& given, cuda_on_cpu::Launch& launch) : launch_(launch) {
    if (static_cast<int>(py::len(given)) != kernel.count) {
      throw py::type_error("kernel " + std::string(kernel.name) + " takes " + std::to_string(kernel.count) +
                           " arguments, not " + std::to_string(py::len(given)));
    }
    values_.resize(static_cast<size_t>(kernel.count));
    for (int i = 0; i < kernel.count; ++i) {
      where_ = "kernel " + std::string(kernel.name) + ", argument " + std::to_string(i);
      const Param& p = kernel.params[i];
      Value& value = values_[static_cast<size_t>(i)];
      const py::object object = given[static_cast<size_t>(i)];
      if (p.pointer) {
        pointer(i, p, object, value);
      } else {
        scalar(p, object, value);
      }
      launch.arguments.push_back(value.at());
    }
  }

 private:
  [[noreturn]] void wrong(const Param& p, const py::object& object) {
    throw py::type_error(where_ + " is " + named(p) + ", not " + py::cast<std::string>(py::repr(object)).substr(0, 80));
  }

  void pointer(int index, const Param& p, const py::object& object, Value& value) {
    if (object.is_none()) return;  // null
    if (!py::isinstance<py::array>(object)) wrong(p, object);
    const py::array array = py::cast<py::array>(object);
    const std::string name = "argument " + std::to_string(index) + " (" +
                             py::cast<std::string>(py::str(array.dtype())) +
                             py::cast<std::string>(py::str(object.attr("shape"))) + ")";
    const char kind = array.dtype().kind();
    const bool fits =
        p.kind == 'V' || (array.itemsize() == p.size && (kind == p.kind || (p.size <= 2 && p.kind != 'f')));
    if (!fits) throw py::type_error(where_ + " is " + named(p) + ", not " + name);
    if (!(array.flags() & py::array::c_style)) throw py::value_error(where_ + ", " + name + ", is not contiguous");
    char* data = const_cast<char*>(static_cast<const char*>(array.data()));
    if (reinterpret_cast<uintptr_t>(data) % (p.kind == 'V' ? 1 : p.lanes * p.size)) {
      throw py::value_error(where_ + ", " + name + ", is not aligned to " + std::to_string(p.lanes * p.size) +
                            " bytes");
    }
    memcpy(value.bytes, &data, sizeof data);
    launch_.arrays.push_back({index, data, static_cast<size_t>(array.nbytes()), static_cast<unsigned>(array.itemsize()),
                              array.writeable(), name});
  }

  // The same types as CuPy accepts: numpy scalars, Python int for any integer that can hold it, Python float for float.
  void scalar(const Param& p, const py::object& object, Value& value) {
    const py::module_ numpy = py::module_::import("numpy");
    if (p.kind == 'V' || p.lanes > 1) {
      const std::string raw = py::cast<std::string>(py::bytes(py::array(object).attr("tobytes")()));
      if (raw.size() != size_t(p.size) * p.lanes) wrong(p, object);
      value.large = raw;
      return;
    }
    const bool integer = py::isinstance<py::int_>(object) || py::isinstance(object, numpy.attr("integer"));
    if (p.kind == 'f') {
      const bool real = py::isinstance<py::float_>(object) || py::isinstance(object, numpy.attr("floating"));
      if (!real || (p.size == 4 && py::isinstance(object, numpy.attr("float64")) && !PyFloat_CheckExact(object.ptr())))
        wrong(p, object);
      const double x = py::cast<double>(object);
      const float narrow = static_cast<float>(x);
      if (p.size == 4)
        memcpy(value.bytes, &narrow, 4);
      else
        memcpy(value.bytes, &x, 8);
    } else if (p.kind == 'b') {
      value.bytes[0] = py::cast<bool>(py::bool_(object));
    } else {
      if (!integer) wrong(p, object);
      const py::int_ whole(object);
      const int bits = static_cast<int>(8 * p.size) - (p.kind == 'i');
      const py::int_ limit = py::int_(1).attr("__lshift__")(bits);
      const bool low = p.kind == 'i' ? whole < -limit : whole < py::int_(0);
      if (low || whole >= limit) wrong(p, object);
      const uint64_t raw = PyLong_AsUnsignedLongLongMask(whole.ptr());
      memcpy(value.bytes, &raw, p.size);
    }
  }

  cuda_on_cpu::Launch& launch_;
  std::vector<Value> values_;
  std::string where_;
};

dim3 size3(const py::tuple& given) {
  const auto at = [&](size_t i) { return i < given.size() ? py::cast<unsigned>(given[i]) : 1u; };
  return {at(0), at(1), at(2)};
}

PyObject* kernel_error = nullptr;

// A table of kernels: the extension's own, or one of a compiled file.
class Library {
 public:
  explicit Library(const Table& table) : table_(table) {
    if (table.version != cuda_on_cpu::kVersion) throw std::runtime_error("the file was compiled for another emulator");
    for (int i = 0; i < table.count; ++i) kernels_[table.kernels[i].name] = &table.kernels[i];
  }

  void launch(const std::string& name, const py::tuple& grid, const py::tuple& block, const py::sequence& args,
              size_t shared, bool check, uint64_t seed) const {
    const auto found = kernels_.find(name);
    if (found == kernels_.end()) throw py::key_error(name);
    cuda_on_cpu::Launch launch{found->second, &table_, {}, {}, size3(grid), size3(block), shared, seed, check};
    const Binder binder(*found->second, args, launch);
    std::string error;
    {
      py::gil_scoped_release release;
      error = cuda_on_cpu::run(launch);
    }
    if (error.empty()) return;
    PyErr_SetString(kernel_error, error.c_str());
    throw py::error_already_set();
  }

  py::list names() const {
    py::list all;
    for (const auto& [name, kernel] : kernels_) all.append(name);
    return all;
  }
  bool instrumented() const { return table_.instrumented != 0; }

 private:
  const Table& table_;
  std::map<std::string, const Kernel*> kernels_;
};

// The file stays loaded, since its code may be on a stack.
std::unique_ptr<Library> load(const std::string& path) {
  void* file = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!file) throw std::runtime_error(dlerror());
  const void* table = dlsym(file, "cuda_on_cpu_table");
  if (!table) throw std::runtime_error(path + " has no table of kernels");
  return std::make_unique<Library>(*static_cast<const Table*>(table));
}

}  // namespace

PYBIND11_MODULE(_emulator, m) {
  m.doc() = "CUDA kernels on the CPU.";
  kernel_error = PyErr_NewException("onnxlrp._emulator.KernelError", PyExc_RuntimeError, nullptr);
  m.attr("KernelError") = py::reinterpret_borrow<py::object>(kernel_error);
  py::class_<Library>(m, "Library", "Compiled kernels.")
      .def("launch", &Library::launch, py::arg("name"), py::arg("grid"), py::arg("block"), py::arg("args"),
           py::arg("shared") = 0, py::arg("check") = false, py::arg("seed") = 0,
           "Run a kernel on numpy arrays, in place.")
      .def_property_readonly("names", &Library::names)
      .def_property_readonly("instrumented", &Library::instrumented, "Whether `check` sees every access.");
  m.attr("builtin") = std::make_unique<Library>(onnxlrp_kernels);
  m.def("load", &load, py::arg("path"), "The kernels of a compiled file.");
  m.def("workers", &cuda_on_cpu::workers, py::arg("count") = 0, "Set or get how many threads share a launch.");
  m.attr("kernels_digest") = ONNXLRP_KERNELS;
  m.attr("emulator_digest") = ONNXLRP_EMULATOR;
}
