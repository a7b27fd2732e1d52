/*
 * Contexts: threads, progress, keys, and one call at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "python/py_private.h"

#include <string.h>

PyTypeObject *py_context_type;
unsigned long py_fork_generation;

void py_context_keep_error(py_context *context)
{
    if (context->error[0]) /* the first one is told */
        PyErr_Clear();
    else
        PyErr_Fetch(&context->error[0], &context->error[1], &context->error[2]);
}

static bool progress(void *user, const mmh_progress *now)
{
    py_context *self = user;
    PyGILState_STATE state = PyGILState_Ensure();
    bool go_on = true;
    if (PyErr_CheckSignals()) { /* Ctrl-C; only where this is the main thread */
        py_context_keep_error(self);
        go_on = false;
    } else if (self->progress) {
        self->callback_thread = PyThread_get_thread_ident();
        PyObject *answer = PyObject_CallFunction(
            self->progress, "zNKKK", now->stage, py_text(now->name),
            (unsigned long long)now->done_bytes, (unsigned long long)now->total_bytes,
            (unsigned long long)now->stored_bytes);
        if (!answer)
            py_context_keep_error(self);
        go_on = answer && answer != Py_False;
        Py_XDECREF(answer);
        self->callback_thread = 0;
    }
    PyGILState_Release(state);
    return go_on;
}

static mmh_status passphrase(void *user, const char *why, char *to, size_t room, size_t *bytes,
                             mmh_error *err)
{
    const py_context *self = user;
    (void)why;
    if (!self->passphrase || self->passphrase_bytes > room) {
        if (err) {
            err->status = MMH_E_KEY;
            strcpy(err->message, "no passphrase was given");
        }
        return MMH_E_KEY;
    }
    memcpy(to, self->passphrase, self->passphrase_bytes);
    *bytes = self->passphrase_bytes;
    return MMH_OK;
}

int py_context_enter(py_context *self, PyThreadState **thread)
{
    if (self->generation != py_fork_generation) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this process was forked since the file was opened: open it again");
        return 0;
    }
    unsigned long here = PyThread_get_thread_ident();
    if (self->depth && (self->owner == here || self->callback_thread == here)) {
        PyErr_SetString(PyExc_RuntimeError, "a callback calls what called it");
        return 0;
    }
    *thread = PyEval_SaveThread();
    PyThread_acquire_lock(self->lock, WAIT_LOCK);
    self->owner = PyThread_get_thread_ident();
    self->depth = 1;
    return 1;
}

void py_context_leave(py_context *self, PyThreadState *thread)
{
    self->depth = 0;
    PyThread_release_lock(self->lock);
    PyEval_RestoreThread(thread);
}

PyObject *py_context_raise(py_context *self, const mmh_error *err)
{
    if (!self->error[0])
        return py_raise(err);
    PyErr_Restore(self->error[0], self->error[1], self->error[2]);
    self->error[0] = self->error[1] = self->error[2] = NULL;
    return NULL;
}

int py_keys_get(const mmh_key ***keys, size_t *count, PyObject **owner, PyObject *sequence)
{
    *keys = NULL;
    *count = 0;
    *owner = PySequence_Tuple(sequence);
    if (!*owner)
        return 0;
    Py_ssize_t size = PyTuple_Size(*owner);
    *keys = size ? PyMem_Calloc((size_t)size, sizeof **keys) : NULL;
    if (size && !*keys) {
        Py_CLEAR(*owner);
        PyErr_NoMemory();
        return 0;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *item = PyTuple_GetItem(*owner, i);
        if (!PyObject_TypeCheck(item, py_key_type)) {
            PyErr_SetString(PyExc_TypeError, "keys must be mmh.Key");
            PyMem_Free(*keys);
            *keys = NULL;
            Py_CLEAR(*owner);
            return 0;
        }
        (*keys)[i] = ((py_key *)item)->key;
    }
    *count = (size_t)size;
    return 1;
}

static void wipe(void *memory, size_t bytes)
{
    volatile unsigned char *at = memory;
    while (bytes--)
        *at++ = 0;
}

/* A callback may know the container that calls it. */
static int context_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((py_context *)object)->progress);
    return 0;
}

static int context_clear(PyObject *object)
{
    Py_CLEAR(((py_context *)object)->progress);
    return 0;
}

static void context_dealloc(PyObject *object)
{
    py_context *self = (py_context *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->generation == py_fork_generation) {
        mmh_context_destroy(self->context);
        if (self->lock)
            PyThread_free_lock(self->lock);
    }
    if (self->passphrase) {
        wipe(self->passphrase, self->passphrase_bytes);
        PyMem_Free(self->passphrase);
    }
    Py_XDECREF(self->progress);
    Py_XDECREF(self->keys);
    Py_XDECREF(self->trusted);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(self->error[i]);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *context_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = { "threads", "progress", "keys", "passphrase", NULL };
    unsigned threads = 0;
    PyObject *progress_object = Py_None, *keys = NULL, *phrase = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|IOOO:Context", names, &threads,
                                     &progress_object, &keys, &phrase))
        return NULL;
    if (progress_object != Py_None && !PyCallable_Check(progress_object))
        return PyErr_Format(PyExc_TypeError, "progress must be callable");
    if (phrase != Py_None && !PyBytes_Check(phrase))
        return PyErr_Format(PyExc_TypeError, "passphrase must be bytes");
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    py_context *self = (py_context *)allocate(type, 0);
    if (!self)
        return NULL;
    self->generation = py_fork_generation;
    self->lock = PyThread_allocate_lock();
    if (!self->lock) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    if (progress_object != Py_None)
        self->progress = Py_NewRef(progress_object);
    mmh_context_options options = { .struct_size = sizeof options,
                                    .threads = threads,
                                    .progress = progress,
                                    .progress_user = self };
    mmh_error err = { 0 };
    mmh_status status = mmh_context_create(&self->context, &options, &err);
    const mmh_key **list = NULL;
    size_t count = 0;
    if (status == MMH_OK && keys && !py_keys_get(&list, &count, &self->keys, keys)) {
        Py_DECREF(self);
        return NULL;
    }
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        status = mmh_context_add_key(self->context, list[i], &err);
    PyMem_Free(list);
    if (status == MMH_OK && phrase != Py_None) {
        Py_ssize_t bytes = PyBytes_Size(phrase);
        self->passphrase = PyMem_Malloc((size_t)bytes + 1);
        if (!self->passphrase) {
            Py_DECREF(self);
            return PyErr_NoMemory();
        }
        memcpy(self->passphrase, PyBytes_AsString(phrase), (size_t)bytes);
        self->passphrase_bytes = (size_t)bytes;
        mmh_context_set_passphrase(self->context, passphrase, self);
    }
    if (status != MMH_OK) {
        py_raise(&err);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *context_require(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = { "signers",      "all",         "hybrid",         "post_quantum",
                             "min_category", "min_counter", "signature_file", NULL };
    py_context *self = (py_context *)object;
    PyObject *signers, *owner, *path = NULL;
    int all = 0, hybrid = 0, post_quantum = 0;
    unsigned category = 0;
    unsigned long long counter = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|pppIKO&:require", names, &signers, &all,
                                     &hybrid, &post_quantum, &category, &counter,
                                     PyUnicode_FSConverter, &path))
        return NULL;
    mmh_trust trust = { .struct_size = sizeof trust,
                        .all = all,
                        .hybrid = hybrid,
                        .post_quantum = post_quantum,
                        .min_category = category,
                        .min_counter = counter,
                        .signature_file = path ? PyBytes_AsString(path) : NULL };
    const mmh_key **list;
    mmh_error err = { 0 };
    if (!py_keys_get(&list, &trust.signer_count, &owner, signers)) {
        Py_XDECREF(path);
        return NULL;
    }
    trust.signers = list;
    mmh_status status = mmh_context_require(self->context, &trust, &err);
    PyMem_Free(list);
    Py_XDECREF(path);
    if (status != MMH_OK) {
        Py_DECREF(owner);
        return py_raise(&err);
    }
    Py_XDECREF(self->trusted);
    self->trusted = owner;
    Py_RETURN_NONE;
}

static PyMethodDef context_methods[] = {
    { "require", (PyCFunction)(void (*)(void))context_require, METH_VARARGS | METH_KEYWORDS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot context_slots[] = {
    { Py_tp_new, context_new },
    { Py_tp_dealloc, context_dealloc },
    { Py_tp_traverse, context_traverse },
    { Py_tp_clear, context_clear },
    { Py_tp_methods, context_methods },
    { Py_tp_doc, "What calls share: threads, progress, keys, required signatures." },
    { 0, NULL },
};

static PyType_Spec context_spec = { .name = "mmh._mmh.Context",
                                    .basicsize = sizeof(py_context),
                                    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
                                             Py_TPFLAGS_HAVE_GC,
                                    .slots = context_slots };

int py_context_add(PyObject *module)
{
    py_context_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &context_spec, NULL);
    return py_context_type && PyModule_AddType(module, py_context_type) == 0;
}
