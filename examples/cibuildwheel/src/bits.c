/* Counts the bits that are set in a buffer. From level v2 on, x86-64 has an instruction for it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

static Py_ssize_t
count_loop(const unsigned char *bytes, Py_ssize_t n)
{
    Py_ssize_t total = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        total += __builtin_popcountll(word);
    }
    for (; i < n; i++) {
        total += __builtin_popcountll(bytes[i]);
    }
    return total;
}

static PyObject *
count(PyObject *Py_UNUSED(module), PyObject *object)
{
    Py_buffer view;

    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_ssize_t total = count_loop(view.buf, view.len);
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(total);
}

static PyMethodDef methods[] = {
    {"count", count, METH_O, "count(buffer): how many bits of it are set."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_bits",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__bits(void)
{
    return PyModuleDef_Init(&module);
}
