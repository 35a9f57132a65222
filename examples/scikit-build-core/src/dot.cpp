// The dot product of two buffers of 32-bit integers, such as array.array("i").

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <cstring>

namespace {

// Integers, because the order in which a vectorised loop sums must not change the result. The sum is
// unsigned so that it wraps when it overflows, where a signed one would be undefined.
std::int64_t dot_loop(const std::int32_t *x, const std::int32_t *y, Py_ssize_t n)
{
    std::uint64_t sum = 0;
    for (Py_ssize_t i = 0; i < n; ++i) {
        sum += static_cast<std::uint64_t>(static_cast<std::int64_t>(x[i]) * y[i]);
    }
    return static_cast<std::int64_t>(sum);
}

// A buffer of 32-bit integers that is given back at the end of its scope.
class Int32Buffer {
public:
    Int32Buffer() = default;
    Int32Buffer(const Int32Buffer &) = delete;
    Int32Buffer &operator=(const Int32Buffer &) = delete;
    ~Int32Buffer() { PyBuffer_Release(&view_); }  // does nothing if there is no buffer

    // False if `object` has no such buffer; a Python exception is then set.
    bool get(PyObject *object)
    {
        if (PyObject_GetBuffer(object, &view_, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) {
            return false;
        }
        // A C long is the 32-bit integer "l" on Windows and a 64-bit one elsewhere.
        const char *format = view_.format == nullptr ? "" : view_.format;
        const bool is_integer = std::strcmp(format, "i") == 0 || std::strcmp(format, "l") == 0;
        if (!is_integer || view_.itemsize != sizeof(std::int32_t)) {
            PyErr_SetString(PyExc_TypeError, "expected a buffer of 32-bit integers");
            return false;
        }
        return true;
    }

    const std::int32_t *data() const { return static_cast<const std::int32_t *>(view_.buf); }
    Py_ssize_t size() const { return view_.len / view_.itemsize; }

private:
    Py_buffer view_{};
};

PyObject *dot(PyObject *, PyObject *args)
{
    PyObject *x_object, *y_object;
    if (!PyArg_ParseTuple(args, "OO:dot", &x_object, &y_object)) {
        return nullptr;
    }
    Int32Buffer x, y;
    if (!x.get(x_object) || !y.get(y_object)) {
        return nullptr;
    }
    if (x.size() != y.size()) {
        PyErr_SetString(PyExc_ValueError, "x and y differ in length");
        return nullptr;
    }
    return PyLong_FromLongLong(dot_loop(x.data(), y.data(), x.size()));
}

PyMethodDef methods[] = {
    {"dot", dot, METH_VARARGS, "dot(x, y): the dot product of two buffers of 32-bit integers."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {
    {0, nullptr},
};

PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_dot",
    .m_doc = nullptr,
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = nullptr,
    .m_clear = nullptr,
    .m_free = nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__dot(void)
{
    return PyModuleDef_Init(&module);
}
