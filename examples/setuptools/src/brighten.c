/* Adds a constant to 8-bit pixels, stopping at white. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static void
brighten_loop(const unsigned char *pixels, unsigned char amount, unsigned char *out, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        unsigned int sum = (unsigned int)pixels[i] + amount;
        out[i] = (unsigned char)(sum > 255 ? 255 : sum);
    }
}

static PyObject *
brighten(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer pixels;
    unsigned char amount;

    if (!PyArg_ParseTuple(args, "y*b:brighten", &pixels, &amount)) {
        return NULL;
    }
    PyObject *result = PyBytes_FromStringAndSize(NULL, pixels.len);
    if (result != NULL) {
        brighten_loop(pixels.buf, amount, (unsigned char *)PyBytes_AS_STRING(result), pixels.len);
    }
    PyBuffer_Release(&pixels);
    return result;
}

static PyMethodDef methods[] = {
    {"brighten", brighten, METH_VARARGS, "brighten(pixels, amount): pixels + amount, at most 255 each."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_brighten",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__brighten(void)
{
    return PyModuleDef_Init(&module);
}
