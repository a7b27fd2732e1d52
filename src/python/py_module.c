/*
 * The extension module mmh._mmh: what it holds, and how failures become exceptions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "python/py_private.h"

#include <string.h>

PyObject *py_raise(const mmh_error *err)
{
    if (PyErr_Occurred())
        return NULL;
    PyObject *errors = PyImport_ImportModule("mmh._errors");
    PyObject *error = errors
                        ? PyObject_CallMethod(errors, "from_status", "sN",
                                              mmh_status_name(err->status), py_text(err->message))
                        : NULL;
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    Py_XDECREF(errors);
    return NULL;
}

/* Called in the child of a fork: its contexts have no threads. */
static PyObject *forked(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    py_fork_generation++;
    Py_RETURN_NONE;
}

/* {name: (bits, block elements, block bytes)} of the element types. */
static PyObject *dtypes(PyObject *module, PyObject *unused)
{
    PyObject *all = PyDict_New();
    (void)module;
    (void)unused;
    for (int i = 0; all && i < MMH_DTYPE_COUNT; i++) {
        unsigned bytes = 0, elements = mmh_dtype_block((mmh_dtype)i, &bytes);
        if (!py_put(all, mmh_dtype_text((mmh_dtype)i),
                    Py_BuildValue("(III)", mmh_dtype_bit_count((mmh_dtype)i), elements, bytes)))
            Py_CLEAR(all);
    }
    return all;
}

/* [(name, signs, classical, post_quantum, nist_category), ...] */
static PyObject *algorithms(PyObject *module, PyObject *unused)
{
    PyObject *list = PyList_New(0);
    (void)module;
    (void)unused;
    for (size_t i = 0; list; i++) {
        mmh_key_info info = { .struct_size = sizeof info };
        if (mmh_algorithm(i, &info, NULL) != MMH_OK)
            break;
        PyObject *item = Py_BuildValue("(sNNNI)", info.algorithm, PyBool_FromLong(info.signs),
                                       PyBool_FromLong(info.classical),
                                       PyBool_FromLong(info.post_quantum), info.nist_category);
        if (!item || PyList_Append(list, item))
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* How many bytes a caller's memory has: a buffer, a DLPack tensor, or (address, bytes). */
static PyObject *memory_bytes(PyObject *module, PyObject *object)
{
    struct py_memory memory;
    (void)module;
    if (!py_memory_get(&memory, object, false, "what is packed"))
        return NULL;
    size_t bytes = memory.bytes;
    py_memory_release(&memory);
    return PyLong_FromSize_t(bytes);
}

static PyMethodDef functions[] = {
    { "forked", forked, METH_NOARGS, NULL },
    { "dtypes", dtypes, METH_NOARGS, NULL },
    { "algorithms", algorithms, METH_NOARGS, NULL },
    { "memory_bytes", memory_bytes, METH_O, NULL },
    { NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, .m_name = "mmh._mmh",
                                         .m_doc = "libmmh for the package mmh, which is its face.",
                                         .m_size = -1, .m_methods = functions };

PyMODINIT_FUNC PyInit__mmh(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && (PyModule_AddFunctions(module, py_operations) || !py_key_add(module) ||
                   !py_context_add(module) || !py_reader_add(module) ||
                   PyModule_AddStringConstant(module, "version", mmh_version())))
        Py_CLEAR(module);
    return module;
}
