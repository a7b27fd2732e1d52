/*
 * Long calls: pack, unpack, verify, repair, and what changes a container's guards.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "python/py_private.h"

#include <string.h>

#define OPERATION(name) static PyObject *name(PyObject *module, PyObject *args, PyObject *keywords)

/* A list of paths as char pointers, for PyMem_Free; *owner is a list of bytes that has them. */
static const char **get_paths(PyObject *sequence, size_t *count, PyObject **owner)
{
    PyObject *tuple = PySequence_Tuple(sequence);
    *owner = tuple ? PyList_New(0) : NULL;
    const char **paths = NULL;
    if (*owner) {
        *count = (size_t)PyTuple_Size(tuple);
        paths = PyMem_Calloc(*count + 1, sizeof *paths);
        if (!paths)
            PyErr_NoMemory();
    }
    for (size_t i = 0; paths && i < *count; i++) {
        PyObject *path = NULL;
        if (!PyUnicode_FSConverter(PyTuple_GetItem(tuple, (Py_ssize_t)i), &path) ||
            PyList_Append(*owner, path)) {
            PyMem_Free(paths);
            paths = NULL;
        } else {
            paths[i] = PyBytes_AsString(path);
        }
        Py_XDECREF(path);
    }
    Py_XDECREF(tuple);
    if (!paths)
        Py_CLEAR(*owner);
    return paths;
}

/* NULL of None; 0 after a failure. *owner: bytes. */
static int get_path(PyObject *object, const char **path, PyObject **owner)
{
    *path = NULL;
    *owner = NULL;
    if (!object || object == Py_None)
        return 1;
    if (!PyUnicode_FSConverter(object, owner))
        return 0;
    *path = PyBytes_AsString(*owner);
    return 1;
}

static PyObject *number(uint64_t value)
{
    return PyLong_FromUnsignedLongLong(value);
}

struct entry {
    const char *name;
    PyObject *value; /* is taken */
};

static PyObject *dictionary(const struct entry *entries, size_t count)
{
    PyObject *all = PyDict_New();
    for (size_t i = 0; i < count; i++) {
        if (!all)
            Py_XDECREF(entries[i].value);
        else if (!py_put(all, entries[i].name, entries[i].value))
            Py_CLEAR(all);
    }
    return all;
}

/* ---- pack ---- */

static PyObject *pack_report(const mmh_pack_report *report)
{
    const struct entry entries[] = {
        { "original_bytes", number(report->original_bytes) },
        { "stored_bytes", number(report->stored_bytes) },
        { "floor_bytes", number(report->floor_bytes) },
        { "file_count", number(report->file_count) },
        { "tensor_count", number(report->tensor_count) },
        { "chunk_count", number(report->chunk_count) },
        { "shared_chunks", number(report->shared_chunks) },
        { "shared_bytes", number(report->shared_bytes) },
        { "parity_bytes", number(report->parity_bytes) },
        { "remark_count", number(report->remark_count) },
        { "wall_ns", number(report->wall_ns) },
        { "root", py_hex(report->root, report->root_bytes) },
    };
    return dictionary(entries, sizeof entries / sizeof *entries);
}

OPERATION(pack)
{
    static char *names[] = { "context",   "inputs", "sources", "output", "sink",       "level",
                             "overwrite", "alone",  "check",   "hash",   "recipients", "passphrase",
                             "sign_with", "parity", "counter", "time",   "aead",       "keep_times",
                             "dtype",     "shape",  "layout",  NULL };
    PyObject *context_object, *inputs, *sources, *output, *write, *recipients, *signers;
    PyObject *shape = Py_None, *layout = Py_None;
    int level, overwrite, alone, check, keep_times = 0;
    const char *hash, *phrase, *aead, *dtype = NULL;
    Py_ssize_t phrase_bytes;
    unsigned parity;
    unsigned long long counter, seconds;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!OOOOipppzOz#OIKKz|pzOO:pack", names,
                                     py_context_type, &context_object, &inputs, &sources, &output,
                                     &write, &level, &overwrite, &alone, &check, &hash, &recipients,
                                     &phrase, &phrase_bytes, &signers, &parity, &counter, &seconds,
                                     &aead, &keep_times, &dtype, &shape, &layout))
        return NULL;
    py_context *context = (py_context *)context_object;
    PyObject *done = NULL, *paths_owner = NULL, *output_owner = NULL, *recipient_owner = NULL,
             *signer_owner = NULL, *layout_owner = NULL;
    const char **paths = NULL, *path = NULL, *layout_path = NULL;
    size_t path_count = 0, source_count = 0;
    const mmh_key **recipient_list = NULL, **signer_list = NULL;
    struct py_source *source_list = NULL;
    mmh_source *plain = NULL;
    uint64_t *dimensions = NULL;
    mmh_error err = { 0 };
    mmh_pack_options options = { .struct_size = sizeof options,
                                 .level = level,
                                 .overwrite = overwrite,
                                 .alone = alone,
                                 .skip_check = !check,
                                 .keep_times = keep_times,
                                 .sha256 = hash && !strcmp(hash, "sha256"),
                                 .sha384 = hash && !strcmp(hash, "sha384"),
                                 .blake3 = hash && !strcmp(hash, "blake3"),
                                 .passphrase = phrase,
                                 .passphrase_bytes = (size_t)phrase_bytes,
                                 .parity = parity,
                                 .counter = counter,
                                 .time_seconds = seconds,
                                 .aead = aead };
    mmh_pack_report report = { .struct_size = sizeof report };
    struct py_sink sink = { .context = context, .write = write };
    sink.sink = (mmh_sink){
        .struct_size = sizeof sink.sink, .name = "the output", .write = py_sink_write, .user = &sink
    };
    if (dtype) {
        options.raw_dtype = mmh_dtype_parse(dtype);
        if (options.raw_dtype == MMH_DTYPE_COUNT) {
            PyErr_Format(PyExc_ValueError, "there is no element type \"%s\"", dtype);
            return NULL;
        }
    }
    if (shape != Py_None) {
        PyObject *tuple = PySequence_Tuple(shape);
        if (!tuple)
            return NULL;
        options.raw_dimensions = (size_t)PyTuple_Size(tuple);
        dimensions = PyMem_Calloc(options.raw_dimensions + 1, sizeof *dimensions);
        for (size_t i = 0; dimensions && i < options.raw_dimensions; i++)
            dimensions[i] = PyLong_AsUnsignedLongLong(PyTuple_GetItem(tuple, (Py_ssize_t)i));
        Py_DECREF(tuple);
        options.raw_shape = dimensions;
        if (!dimensions || PyErr_Occurred())
            goto done;
    }
    if (!get_path(output, &path, &output_owner) || !get_path(layout, &layout_path, &layout_owner) ||
        !py_keys_get(&recipient_list, &options.recipient_count, &recipient_owner, recipients) ||
        !py_keys_get(&signer_list, &options.signer_count, &signer_owner, signers))
        goto done;
    options.layout = layout_path;
    options.recipients = recipient_list;
    options.signers = signer_list;
    if (sources == Py_None) {
        if (!path) {
            PyErr_SetString(PyExc_TypeError, "paths are packed to a path");
            goto done;
        }
        paths = get_paths(inputs, &path_count, &paths_owner);
        if (!paths)
            goto done;
    } else {
        Py_ssize_t count = PySequence_Size(sources);
        if (count < 0)
            goto done;
        source_list = PyMem_Calloc((size_t)count + 1, sizeof *source_list);
        plain = PyMem_Calloc((size_t)count + 1, sizeof *plain);
        if (!source_list || !plain) {
            PyErr_NoMemory();
            goto done;
        }
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *item = PySequence_GetItem(sources, i);
            int got = item && py_source_get(&source_list[i], context, item);
            Py_XDECREF(item);
            if (!got)
                goto done;
            plain[i] = source_list[i].source;
            source_count++;
        }
    }
    PyThreadState *thread;
    if (!py_context_enter(context, &thread))
        goto done;
    mmh_status status;
    if (sources != Py_None)
        status = mmh_pack_sources(context->context, plain, source_count, path,
                                  path ? NULL : &sink.sink, &options, &report, &err);
    else
        status = mmh_pack(context->context, paths, path_count, path, &options, &report, &err);
    py_context_leave(context, thread);
    done = status != MMH_OK || context->error[0] ? py_context_raise(context, &err)
                                                 : pack_report(&report);
done:
    for (size_t i = 0; i < source_count; i++)
        py_source_release(&source_list[i]);
    PyMem_Free(source_list);
    PyMem_Free(plain);
    PyMem_Free(paths);
    PyMem_Free(dimensions);
    PyMem_Free(recipient_list);
    PyMem_Free(signer_list);
    Py_XDECREF(paths_owner);
    Py_XDECREF(output_owner);
    Py_XDECREF(layout_owner);
    Py_XDECREF(recipient_owner);
    Py_XDECREF(signer_owner);
    return done;
}

/* ---- unpack, verify, repair ---- */

/* Damage that a call tells of, collected with the GIL. */
struct telling {
    py_context *context;
    PyObject *damages, *layers;
};

static void tell_damage(void *user, const mmh_damage *damage)
{
    struct telling *telling = user;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *item = Py_BuildValue("(NNKKN)", py_text(damage->name), py_text(damage->tensor),
                                   (unsigned long long)damage->offset,
                                   (unsigned long long)damage->bytes,
                                   PyBool_FromLong(damage->unsearched));
    if (!item || PyList_Append(telling->damages, item))
        py_context_keep_error(telling->context);
    Py_XDECREF(item);
    PyGILState_Release(state);
}

static void tell_layer(void *user, const mmh_layer *layer)
{
    static const char *const results[] = { "right", "wrong", "absent", "skipped" };
    struct telling *telling = user;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *item = Py_BuildValue("(ssKN)", layer->name, results[layer->result],
                                   (unsigned long long)layer->count, py_text(layer->text));
    if (!item || PyList_Append(telling->layers, item))
        py_context_keep_error(telling->context);
    Py_XDECREF(item);
    PyGILState_Release(state);
}

static PyObject *unpack_report(const mmh_unpack_report *report)
{
    const struct entry entries[] = {
        { "original_bytes", number(report->original_bytes) },
        { "stored_bytes", number(report->stored_bytes) },
        { "file_count", number(report->file_count) },
        { "chunk_count", number(report->chunk_count) },
        { "damaged_chunks", number(report->damaged_chunks) },
        { "damaged_bytes", number(report->damaged_bytes) },
        { "mended_chunks", number(report->mended_chunks) },
        { "mended", number(report->mended) },
        { "encrypted", PyBool_FromLong(report->encrypted) },
        { "wall_ns", number(report->wall_ns) },
    };
    return dictionary(entries, sizeof entries / sizeof *entries);
}

/* The report, with what was told, and the failure as (status, message) where it is of a kind that reports
 * tell: else it is raised. Takes the lists. */
static PyObject *told(py_context *context, struct telling *telling, PyObject *report,
                      mmh_status status, const mmh_error *err, bool tells)
{
    if (context->error[0] || (status != MMH_OK && !(tells && status == MMH_E_CORRUPT))) {
        Py_XDECREF(report);
        report = py_context_raise(context, err);
    } else if (report && (!py_put(report, "damage", Py_NewRef(telling->damages)) ||
                          !py_put(report, "layers", Py_NewRef(telling->layers)) ||
                          !py_put(report, "problem",
                                  status == MMH_OK ? Py_NewRef(Py_None) : py_text(err->message)))) {
        Py_CLEAR(report);
    }
    Py_DECREF(telling->damages);
    Py_DECREF(telling->layers);
    return report;
}

static int telling_begin(struct telling *telling, py_context *context)
{
    *telling = (struct telling){ context, PyList_New(0), PyList_New(0) };
    if (telling->damages && telling->layers)
        return 1;
    Py_XDECREF(telling->damages);
    Py_XDECREF(telling->layers);
    return 0;
}

OPERATION(unpack)
{
    static char *names[] = { "context", "container",    "destination", "as_file", "overwrite",
                             "sync",    "skip_damaged", "any_names",   NULL };
    PyObject *context_object, *path, *destination;
    int as_file, overwrite, sync, skip_damaged, any_names;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O&O&ppppp:unpack", names, py_context_type,
                                     &context_object, PyUnicode_FSConverter, &path,
                                     PyUnicode_FSConverter, &destination, &as_file, &overwrite,
                                     &sync, &skip_damaged, &any_names))
        return NULL;
    py_context *context = (py_context *)context_object;
    struct telling telling;
    mmh_error err = { 0 };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_unpack_options options = { .struct_size = sizeof options,
                                   .overwrite = overwrite,
                                   .as_file = as_file,
                                   .sync = sync,
                                   .any_names = any_names,
                                   .skip_damaged = skip_damaged,
                                   .damage = tell_damage,
                                   .damage_user = &telling };
    PyObject *done = NULL;
    PyThreadState *thread;
    if (telling_begin(&telling, context) && py_context_enter(context, &thread)) {
        mmh_status status = mmh_unpack(context->context, PyBytes_AsString(path),
                                       PyBytes_AsString(destination), &options, &report, &err);
        py_context_leave(context, thread);
        done = told(context, &telling, unpack_report(&report), status, &err, skip_damaged);
    }
    Py_DECREF(path);
    Py_DECREF(destination);
    return done;
}

OPERATION(verify)
{
    static char *names[] = { "context", "container", "quick", NULL };
    PyObject *context_object, *path;
    int quick;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O&p:verify", names, py_context_type,
                                     &context_object, PyUnicode_FSConverter, &path, &quick))
        return NULL;
    py_context *context = (py_context *)context_object;
    struct telling telling;
    mmh_error err = { 0 };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_verify_options options = { .struct_size = sizeof options,
                                   .quick = quick,
                                   .damage = tell_damage,
                                   .damage_user = &telling,
                                   .layer = tell_layer,
                                   .layer_user = &telling };
    PyObject *done = NULL;
    PyThreadState *thread;
    if (telling_begin(&telling, context) && py_context_enter(context, &thread)) {
        mmh_status status = mmh_verify(context->context, PyBytes_AsString(path), &options, &report,
                                       &err);
        py_context_leave(context, thread);
        done = told(context, &telling, unpack_report(&report), status, &err, true);
    }
    Py_DECREF(path);
    return done;
}

OPERATION(repair)
{
    static char *names[] = { "context", "container", "output", "overwrite",
                             "sources", "parity",    NULL };
    PyObject *context_object, *path, *output, *sources, *output_owner = NULL, *source_owner = NULL;
    int overwrite;
    unsigned parity;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O&OpOI:repair", names, py_context_type,
                                     &context_object, PyUnicode_FSConverter, &path, &output,
                                     &overwrite, &sources, &parity))
        return NULL;
    py_context *context = (py_context *)context_object;
    struct telling telling;
    mmh_error err = { 0 };
    mmh_repair_report report = { .struct_size = sizeof report };
    mmh_repair_options options = { .struct_size = sizeof options,
                                   .overwrite = overwrite,
                                   .damage = tell_damage,
                                   .damage_user = &telling,
                                   .add_parity = parity };
    const char **source_paths = NULL;
    PyObject *done = NULL;
    PyThreadState *thread;
    if (get_path(output, &options.output, &output_owner) &&
        (source_paths = get_paths(sources, &options.source_count, &source_owner)) != NULL &&
        telling_begin(&telling, context) && py_context_enter(context, &thread)) {
        options.sources = source_paths;
        mmh_status status = mmh_repair(context->context, PyBytes_AsString(path), &options, &report,
                                       &err);
        py_context_leave(context, thread);
        PyObject *all = Py_BuildValue(
            "{sKsKsKsKsKsKsKsIsNsK}", "damaged_blocks", (unsigned long long)report.damaged_blocks,
            "restored_blocks", (unsigned long long)report.restored_blocks, "damaged_chunks",
            (unsigned long long)report.damaged_chunks, "restored_chunks",
            (unsigned long long)report.restored_chunks, "bytes_written",
            (unsigned long long)report.bytes_written, "from_parity",
            (unsigned long long)report.from_parity, "from_sources",
            (unsigned long long)report.from_sources, "mended", report.mended, "replayed",
            PyBool_FromLong(report.replayed), "wall_ns", (unsigned long long)report.wall_ns);
        done = told(context, &telling, all, status, &err, true);
    }
    PyMem_Free(source_paths);
    Py_XDECREF(source_owner);
    Py_XDECREF(output_owner);
    Py_DECREF(path);
    return done;
}

/* ---- what guards a container ---- */

enum change { CHANGE_SIGN, CHANGE_ENCRYPT, CHANGE_ADD, CHANGE_DECRYPT };

OPERATION(change)
{
    static char *names[] = { "context",  "what",      "container", "keys",    "passphrase",
                             "output",   "overwrite", "aead",      "counter", "time",
                             "detached", "parity",    "remove",    NULL };
    PyObject *context_object, *path, *keys, *output, *detached;
    int what, overwrite, remove;
    const char *phrase, *aead;
    Py_ssize_t phrase_bytes;
    unsigned long long counter, seconds;
    unsigned parity;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!iO&Oz#OpzKKOIp:change", names,
                                     py_context_type, &context_object, &what, PyUnicode_FSConverter,
                                     &path, &keys, &phrase, &phrase_bytes, &output, &overwrite,
                                     &aead, &counter, &seconds, &detached, &parity, &remove))
        return NULL;
    py_context *context = (py_context *)context_object;
    mmh_error err = { 0 };
    mmh_change_options options = { .struct_size = sizeof options,
                                   .overwrite = overwrite,
                                   .aead = aead,
                                   .counter = counter,
                                   .time_seconds = seconds,
                                   .parity = parity,
                                   .remove = remove };
    PyObject *output_owner = NULL, *detached_owner = NULL, *key_owner = NULL, *done = NULL;
    const mmh_key **list = NULL;
    size_t count = 0;
    PyThreadState *thread;
    if (get_path(output, &options.output, &output_owner) &&
        get_path(detached, &options.detached, &detached_owner) &&
        py_keys_get(&list, &count, &key_owner, keys) && py_context_enter(context, &thread)) {
        const char *container = PyBytes_AsString(path);
        mmh_context *plain = context->context;
        mmh_status status;
        switch ((enum change)what) {
        case CHANGE_SIGN:
            status = mmh_sign(plain, container, list, count, &options, &err);
            break;
        case CHANGE_ENCRYPT:
            status = mmh_encrypt(plain, container, list, count, phrase, (size_t)phrase_bytes,
                                 &options, &err);
            break;
        case CHANGE_ADD:
            status = mmh_add_recipients(plain, container, list, count, phrase, (size_t)phrase_bytes,
                                        &options, &err);
            break;
        default:
            status = mmh_decrypt(plain, container, &options, &err);
        }
        py_context_leave(context, thread);
        done = status != MMH_OK || context->error[0] ? py_context_raise(context, &err)
                                                     : Py_NewRef(Py_None);
    }
    PyMem_Free(list);
    Py_XDECREF(key_owner);
    Py_XDECREF(output_owner);
    Py_XDECREF(detached_owner);
    Py_DECREF(path);
    return done;
}

/* What guards a container, as a dictionary with lists of recipients and signatures. */
static PyObject *security_dictionary(const mmh_security *security)
{
    static const char *const results[] = { "unchecked", "right", "wrong" };
    mmh_security_info info = { .struct_size = sizeof info };
    mmh_error err = { 0 };
    if (mmh_security_get(security, &info, &err) != MMH_OK)
        return py_raise(&err);
    PyObject *recipients = PyList_New(0), *signatures = PyList_New(0);
    for (size_t i = 0; recipients && i < info.recipient_count; i++) {
        mmh_recipient_info one = { .struct_size = sizeof one };
        PyObject *item = mmh_security_recipient(security, i, &one, &err) == MMH_OK
                           ? Py_BuildValue("(sNNI)", one.algorithm, PyBool_FromLong(one.classical),
                                           PyBool_FromLong(one.post_quantum), one.nist_category)
                           : py_raise(&err);
        if (!item || PyList_Append(recipients, item))
            Py_CLEAR(recipients);
        Py_XDECREF(item);
    }
    for (size_t i = 0; signatures && i < info.signature_count; i++) {
        mmh_signature_info one = { .struct_size = sizeof one };
        PyObject *item = mmh_security_signature(security, i, &one, &err) == MMH_OK
                           ? Py_BuildValue("(sNNINKKNs)", one.algorithm,
                                           PyBool_FromLong(one.classical),
                                           PyBool_FromLong(one.post_quantum), one.nist_category,
                                           py_hex(one.fingerprint, sizeof one.fingerprint),
                                           (unsigned long long)one.counter,
                                           (unsigned long long)one.time_seconds,
                                           PyBool_FromLong(one.of_this_root), results[one.result])
                           : py_raise(&err);
        if (!item || PyList_Append(signatures, item))
            Py_CLEAR(signatures);
        Py_XDECREF(item);
    }
    if (!recipients || !signatures) {
        Py_XDECREF(recipients);
        Py_XDECREF(signatures);
        return NULL;
    }
    return Py_BuildValue("{sNszszsIsKsNsNsN}", "encrypted", PyBool_FromLong(info.encrypted), "aead",
                         info.aead, "hash_suite", info.hash_suite, "parity", info.parity,
                         "parity_bytes", (unsigned long long)info.parity_bytes, "root",
                         py_hex(info.root, info.root_bytes), "recipients", recipients, "signatures",
                         signatures);
}

OPERATION(security)
{
    static char *names[] = { "context", "container", "signers", "signature_file", NULL };
    PyObject *context_object, *path, *signers, *file, *file_owner = NULL, *signer_owner = NULL;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O&OO:security", names, py_context_type,
                                     &context_object, PyUnicode_FSConverter, &path, &signers,
                                     &file))
        return NULL;
    py_context *context = (py_context *)context_object;
    mmh_security *security = NULL;
    mmh_error err = { 0 };
    const char *signature_file;
    const mmh_key **list = NULL;
    size_t count = 0;
    PyObject *done = NULL;
    PyThreadState *thread;
    if (get_path(file, &signature_file, &file_owner) &&
        py_keys_get(&list, &count, &signer_owner, signers) && py_context_enter(context, &thread)) {
        mmh_status status = mmh_security_open(context->context, PyBytes_AsString(path), list, count,
                                              signature_file, &security, &err);
        py_context_leave(context, thread);
        done = status != MMH_OK ? py_context_raise(context, &err) : security_dictionary(security);
        mmh_security_close(status == MMH_OK ? security : NULL);
    }
    PyMem_Free(list);
    Py_XDECREF(signer_owner);
    Py_XDECREF(file_owner);
    Py_DECREF(path);
    return done;
}

#define ENTRY(name)                                                                  \
    {                                                                                \
#name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, NULL \
    }

PyMethodDef py_operations[] = {
    ENTRY(pack),   ENTRY(unpack),   ENTRY(verify),           ENTRY(repair),
    ENTRY(change), ENTRY(security), { NULL, NULL, 0, NULL },
};
