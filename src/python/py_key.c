/*
 * Keys: identities to sign and decrypt with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "python/py_private.h"

#include <string.h>

PyTypeObject *py_key_type;

/* A passphrase that was given, or none. */
struct phrase {
    const char *text;
    size_t bytes;
};

static mmh_status answer(void *user, const char *why, char *to, size_t room, size_t *bytes,
                         mmh_error *err)
{
    const struct phrase *phrase = user;
    if (!phrase->text || phrase->bytes > room) {
        if (err) {
            err->status = MMH_E_KEY;
            PyOS_snprintf(err->message, sizeof err->message, "%.200s is wanted, and none was given",
                          why);
        }
        return MMH_E_KEY;
    }
    memcpy(to, phrase->text, phrase->bytes);
    *bytes = phrase->bytes;
    return MMH_OK;
}

static PyObject *wrap(PyTypeObject *type, mmh_status status, mmh_key *key, const mmh_error *err)
{
    if (status != MMH_OK)
        return py_raise(err);
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    py_key *self = (py_key *)allocate(type, 0);
    if (!self) {
        mmh_key_destroy(key);
        return NULL;
    }
    self->key = key;
    return (PyObject *)self;
}

static PyObject *key_generate(PyObject *type, PyObject *args)
{
    const char *algorithms = NULL;
    unsigned bits = 0;
    mmh_key *key = NULL;
    mmh_error err = { 0 };
    if (!PyArg_ParseTuple(args, "|zI:generate", &algorithms, &bits))
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    mmh_status status = mmh_key_generate(&key, algorithms, bits, &err);
    PyEval_RestoreThread(thread);
    return wrap((PyTypeObject *)type, status, key, &err);
}

static PyObject *key_read(PyObject *type, PyObject *args)
{
    PyObject *path;
    struct phrase phrase = { NULL, 0 };
    Py_ssize_t bytes = 0;
    mmh_key *key = NULL;
    mmh_error err = { 0 };
    if (!PyArg_ParseTuple(args, "O&|z#:read", PyUnicode_FSConverter, &path, &phrase.text, &bytes))
        return NULL;
    phrase.bytes = (size_t)bytes;
    PyThreadState *thread = PyEval_SaveThread();
    mmh_status status = mmh_key_read(&key, PyBytes_AsString(path), answer, &phrase, &err);
    PyEval_RestoreThread(thread);
    Py_DECREF(path);
    return wrap((PyTypeObject *)type, status, key, &err);
}

static PyObject *key_parse(PyObject *type, PyObject *args)
{
    const char *text, *name = "the key";
    struct phrase phrase = { NULL, 0 };
    Py_ssize_t bytes = 0, phrase_bytes = 0;
    mmh_key *key = NULL;
    mmh_error err = { 0 };
    if (!PyArg_ParseTuple(args, "s#|z#s:parse", &text, &bytes, &phrase.text, &phrase_bytes, &name))
        return NULL;
    phrase.bytes = (size_t)phrase_bytes;
    PyThreadState *thread = PyEval_SaveThread();
    mmh_status status = mmh_key_parse(&key, text, (size_t)bytes, name, answer, &phrase, &err);
    PyEval_RestoreThread(thread);
    return wrap((PyTypeObject *)type, status, key, &err);
}

static PyObject *key_write(PyObject *object, PyObject *args)
{
    PyObject *path;
    int secret, overwrite;
    const char *phrase = NULL;
    Py_ssize_t bytes = 0;
    mmh_error err = { 0 };
    if (!PyArg_ParseTuple(args, "O&pz#p:write", PyUnicode_FSConverter, &path, &secret, &phrase,
                          &bytes, &overwrite))
        return NULL;
    const mmh_key *key = ((py_key *)object)->key;
    PyThreadState *thread = PyEval_SaveThread();
    mmh_status status = mmh_key_write(key, PyBytes_AsString(path), secret, phrase, (size_t)bytes,
                                      overwrite, &err);
    PyEval_RestoreThread(thread);
    Py_DECREF(path);
    if (status != MMH_OK)
        return py_raise(&err);
    Py_RETURN_NONE;
}

/* [(algorithm, signs, secret, classical, post_quantum, nist_category, bits, fingerprint), ...] */
static PyObject *key_parts(PyObject *object, PyObject *unused)
{
    PyObject *list = PyList_New(0);
    (void)unused;
    for (size_t i = 0; list; i++) {
        mmh_key_info info = { .struct_size = sizeof info };
        if (mmh_key_part(((py_key *)object)->key, i, &info, NULL) != MMH_OK)
            break;
        PyObject *item = Py_BuildValue(
            "(sNNNNIIN)", info.algorithm, PyBool_FromLong(info.signs), PyBool_FromLong(info.secret),
            PyBool_FromLong(info.classical), PyBool_FromLong(info.post_quantum), info.nist_category,
            info.bits, py_hex(info.fingerprint, sizeof info.fingerprint));
        if (!item || PyList_Append(list, item))
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static void key_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    mmh_key_destroy(((py_key *)object)->key);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef key_methods[] = {
    { "_generate", key_generate, METH_VARARGS | METH_CLASS, NULL },
    { "_read", key_read, METH_VARARGS | METH_CLASS, NULL },
    { "_parse", key_parse, METH_VARARGS | METH_CLASS, NULL },
    { "_write", key_write, METH_VARARGS, NULL },
    { "_parts", key_parts, METH_NOARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot key_slots[] = {
    { Py_tp_dealloc, key_dealloc },
    { Py_tp_methods, key_methods },
    { Py_tp_doc, "A key to sign with, one to decrypt with, or both." },
    { 0, NULL },
};

static PyType_Spec key_spec = { .name = "mmh._mmh.Key",
                                .basicsize = sizeof(py_key),
                                .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE |
                                         Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                .slots = key_slots };

int py_key_add(PyObject *module)
{
    py_key_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &key_spec, NULL);
    return py_key_type && PyModule_AddType(module, py_key_type) == 0;
}
