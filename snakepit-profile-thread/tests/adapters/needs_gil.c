/* An extension that says nothing about free threading, so loading it turns the GIL on. */
#include <Python.h>

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "needs_gil", NULL, -1};

PyMODINIT_FUNC PyInit_needs_gil(void)
{
    return PyModule_Create(&module);
}
