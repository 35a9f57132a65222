// The Python half: arguments in, results and exceptions out.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "collatz.h"

namespace {

PyObject *count_steps(PyObject *, PyObject *args)
{
    unsigned long long first;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "Kn:count_steps", &first, &count)) {
        return nullptr;
    }
    constexpr unsigned long long limit = 1ULL << 32;
    if (first < 1 || first > limit || count < 0 ||
        static_cast<unsigned long long>(count) > limit - first) {
        PyErr_SetString(PyExc_ValueError, "the numbers are not within 1 ... 2**32 - 1");
        return nullptr;
    }
    PyObject *result = PyBytes_FromStringAndSize(
        nullptr, count * static_cast<Py_ssize_t>(sizeof(std::uint32_t)));
    if (result == nullptr) {
        return nullptr;
    }
    auto *steps = reinterpret_cast<std::uint32_t *>(PyBytes_AS_STRING(result));
    const char *error;
    Py_BEGIN_ALLOW_THREADS
    error = collatz::count_steps(first, static_cast<std::size_t>(count), steps);
    Py_END_ALLOW_THREADS
    if (error != nullptr) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_RuntimeError, error);
        return nullptr;
    }
    return result;
}

PyObject *toolkit_version(PyObject *, PyObject *)
{
    const int version = collatz::toolkit_version();
    return Py_BuildValue("(ii)", version / 1000, version % 1000 / 10);
}

PyObject *architectures(PyObject *, PyObject *)
{
    PyObject *result = PyList_New(0);
    for (const int architecture : collatz::architectures()) {
        PyObject *item = result == nullptr ? nullptr : PyLong_FromLong(architecture);
        if (item == nullptr || PyList_Append(result, item) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(item);
    }
    return result;
}

PyMethodDef methods[] = {
    {"count_steps", count_steps, METH_VARARGS, "count_steps(first, count): 32-bit integers, as bytes."},
    {"toolkit_version", toolkit_version, METH_NOARGS, "toolkit_version(): (major, minor)."},
    {"architectures", architectures, METH_NOARGS, "architectures(): a list of integers."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {
    {0, nullptr},
};

PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_collatz",
    .m_doc = nullptr,
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = nullptr,
    .m_clear = nullptr,
    .m_free = nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__collatz(void)
{
    return PyModuleDef_Init(&module);
}
