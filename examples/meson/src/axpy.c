/* y += a * x over buffers of C doubles, such as array.array("d"). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

/* No `restrict`: axpy_into(a, x, x) is a legal call. The compiler tests for overlap at run time, so the
   loop is vectorised all the same. */
static void
axpy_loop(double a, const double *x, double *y, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

/* Fills `view` and returns 0, or raises and returns -1. */
static int
get_doubles(PyObject *object, int flags, Py_buffer *view)
{
    if (PyObject_GetBuffer(object, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) {
        return -1;
    }
    if (view->format == NULL || strcmp(view->format, "d") != 0) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_TypeError, "expected a buffer of C doubles");
        return -1;
    }
    return 0;
}

static PyObject *
axpy_into(PyObject *Py_UNUSED(module), PyObject *args)
{
    double a;
    PyObject *x_object, *y_object, *result = NULL;
    Py_buffer x, y;

    if (!PyArg_ParseTuple(args, "dOO:axpy_into", &a, &x_object, &y_object)) {
        return NULL;
    }
    if (get_doubles(x_object, PyBUF_SIMPLE, &x) < 0) {
        return NULL;
    }
    if (get_doubles(y_object, PyBUF_WRITABLE, &y) < 0) {
        goto release_x;
    }
    if (x.len != y.len) {
        PyErr_SetString(PyExc_ValueError, "x and y differ in length");
        goto release_y;
    }
    axpy_loop(a, x.buf, y.buf, x.len / x.itemsize);
    result = Py_NewRef(Py_None);

release_y:
    PyBuffer_Release(&y);
release_x:
    PyBuffer_Release(&x);
    return result;
}

static PyMethodDef methods[] = {
    {"axpy_into", axpy_into, METH_VARARGS, "axpy_into(a, x, y): add a * x to y, in place."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_axpy",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__axpy(void)
{
    return PyModuleDef_Init(&module);
}
