/*
 * Devices by way of OpenCL 1.2.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The library is opened when a device is asked for. $MMH_OPENCL names another one than the
 * system's loader (a single driver, a simulator).
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/io.h"
#include "base/library.h"
#include "device/device_opencl_api.h"
#include "device/device_plan.h"

enum {
    LOCAL_DEFAULT = 32 << 10, /* bytes of local memory that every GPU has */
    PLATFORMS_MAX = 16,
    DEVICES_MAX = 64,  /* of one platform */
    LOCAL_STRIPES = 4, /* that share a group and its tables */
    GLOBAL_STRIPES = 1,
    ARGUMENT_WORK = 6,
    ARGUMENT_TABLES = 7,
};

/* What a style runs for each kind of work: kernel and items in a group. No name: no such work. */
struct kernel {
    const char *name;
    size_t items;
};

static const struct kernel group_kernels[MMH_DEVICE_KERNELS] = {
    [MMH_DEVICE_FILL] = { "mmh_fill_group", MMH_DEVICE_ITEMS },
    [MMH_DEVICE_TIER] = { "mmh_tiers_group", MMH_DEVICE_ITEMS },
    [MMH_DEVICE_RANS_LOCAL] = { "mmh_rans_group_local", LOCAL_STRIPES *MMH_DEVICE_LANES },
    [MMH_DEVICE_RANS_GLOBAL] = { "mmh_rans_group_global", GLOBAL_STRIPES *MMH_DEVICE_LANES },
    [MMH_DEVICE_PATCH] = { "mmh_patch", MMH_DEVICE_PATCH_ITEMS },
};

static const struct kernel item_kernels[MMH_DEVICE_KERNELS] = {
    [MMH_DEVICE_FILL] = { "mmh_fill_item", 1 },
    [MMH_DEVICE_TIER] = { "mmh_tiers_item", 1 },
    [MMH_DEVICE_RANS_GLOBAL] = { "mmh_rans_item", 1 },
    [MMH_DEVICE_PATCH] = { "mmh_patch", MMH_DEVICE_PATCH_ITEMS },
};

struct mmh_device {
    const mmh_allocator *allocator;
    mmh_library *library;
    struct mmh_opencl cl;
    struct mmh_device_info info;
    size_t local_bytes;
    void *id, *context, *queue, *program;
    const struct kernel *kinds;
    void *kernels[MMH_DEVICE_KERNELS];
};

struct mmh_device_buffer {
    mmh_device *device;
    void *memory;
    size_t bytes;
};

struct mmh_device_batch {
    mmh_device *device;
    struct mmh_device_plan plan;
    void *payload, *fields, *side, *models, *flags; /* memory of the device */
    void *events[MMH_DEVICE_KERNELS];
};

static mmh_status opencl_fail(mmh_error *err, const char *what, cl_int code)
{
    const char *reason = code == CL_MEM_OBJECT_ALLOCATION_FAILURE ? ": out of device memory"
                       : code == CL_OUT_OF_RESOURCES              ? ": out of resources"
                       : code == CL_INVALID_BUFFER_SIZE ? ": more than the device can allocate"
                                                        : "";
    return mmh_fail(err, code == CL_OUT_OF_HOST_MEMORY ? MMH_E_MEMORY : MMH_E_DEVICE,
                    "OpenCL failed to %s (%d)%s", what, code, reason);
}

/* ---- finding devices ---- */

static mmh_status load(mmh_library **library, struct mmh_opencl *cl, const mmh_allocator *allocator,
                       mmh_error *err)
{
    const char *names[] = { mmh_environment("MMH_OPENCL"), "libOpenCL.so.1", "libOpenCL.so",
                            "/System/Library/Frameworks/OpenCL.framework/OpenCL" };
    size_t skip = names[0] ? 0 : 1, count = names[0] ? 1 : MMH_COUNT_OF(names) - 1;
    mmh_error why = { 0 };
    mmh_status status = mmh_library_open(library, names + skip, count, allocator, &why);
    if (status == MMH_E_UNSUPPORTED)
        return mmh_fail(err, MMH_E_DEVICE, "no OpenCL here: %s", why.message);
    if (status)
        return mmh_fail(err, status, "%s", why.message);
    const char *missing = NULL;
#define MMH_OPENCL_LOAD(result, name, parameters)          \
    if (!mmh_library_function(*library, #name, &cl->name)) \
        missing = #name;
    MMH_OPENCL_FUNCTIONS(MMH_OPENCL_LOAD)
    if (!missing)
        return MMH_OK;
    mmh_library_close(*library);
    *library = NULL;
    return mmh_fail(err, MMH_E_DEVICE, "no OpenCL 1.2 here: the library has no %s", missing);
}

static uint64_t number_of(const struct mmh_opencl *cl, void *device, cl_uint what)
{
    uint64_t value = 0; /* little endian: shorter ones fill the beginning */
    size_t bytes = 0;
    if (cl->clGetDeviceInfo(device, what, sizeof value, &value, &bytes) || bytes > sizeof value)
        return 0;
    return value;
}

static void text_of(char text[128], const struct mmh_opencl *cl, void *device, cl_uint what)
{
    char value[1024] = "";
    if (cl->clGetDeviceInfo(device, what, sizeof value - 1, value, NULL))
        value[0] = 0;
    (void)snprintf(text, 128, "%.127s", value);
}

/* Walk the usable devices of all platforms: *count, and number `index` if there is such. */
static mmh_status find(void **found, size_t *count, const struct mmh_opencl *cl, size_t index,
                       mmh_error *err)
{
    void *platforms[PLATFORMS_MAX], *devices[DEVICES_MAX];
    cl_uint platform_count = 0, device_count;
    *found = NULL;
    *count = 0;
    cl_int code = cl->clGetPlatformIDs(PLATFORMS_MAX, platforms, &platform_count);
    if (code == CL_PLATFORM_NOT_FOUND_KHR)
        return MMH_OK;
    if (code)
        return opencl_fail(err, "list its platforms", code);
    for (cl_uint p = 0; p < MMH_MIN(platform_count, PLATFORMS_MAX); p++) {
        device_count = 0;
        if (cl->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, DEVICES_MAX, devices,
                               &device_count))
            continue; /* a driver without hardware */
        for (cl_uint d = 0; d < MMH_MIN(device_count, DEVICES_MAX); d++) {
            if (!number_of(cl, devices[d], CL_DEVICE_AVAILABLE) ||
                !number_of(cl, devices[d], CL_DEVICE_COMPILER_AVAILABLE) ||
                !number_of(cl, devices[d], CL_DEVICE_ENDIAN_LITTLE) ||
                number_of(cl, devices[d], CL_DEVICE_MAX_WORK_GROUP_SIZE) < MMH_DEVICE_ITEMS)
                continue;
            if (*count == index)
                *found = devices[d];
            ++*count;
        }
    }
    return MMH_OK;
}

static void describe(struct mmh_device_info *info, const struct mmh_opencl *cl, void *device)
{
    *info = (struct mmh_device_info){
        .is_processor = number_of(cl, device, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU,
        .compute_units = (unsigned)number_of(cl, device, CL_DEVICE_MAX_COMPUTE_UNITS),
        .memory_bytes = number_of(cl, device, CL_DEVICE_GLOBAL_MEM_SIZE),
        .allocation_bytes = number_of(cl, device, CL_DEVICE_MAX_MEM_ALLOC_SIZE),
    };
    text_of(info->name, cl, device, CL_DEVICE_NAME);
    text_of(info->driver, cl, device, CL_DRIVER_VERSION);
}

mmh_status mmh_device_count(size_t *count, mmh_error *err)
{
    mmh_library *library;
    struct mmh_opencl cl;
    void *none;
    *count = 0;
    mmh_status status = load(&library, &cl, NULL, err);
    if (status)
        return status;
    status = find(&none, count, &cl, SIZE_MAX, err);
    mmh_library_close(library);
    return status;
}

mmh_status mmh_device_describe(struct mmh_device_info *info, size_t index, mmh_error *err)
{
    mmh_library *library;
    struct mmh_opencl cl;
    void *device;
    size_t count;
    mmh_status status = load(&library, &cl, NULL, err);
    if (status)
        return status;
    status = find(&device, &count, &cl, index, err);
    if (!status && !device)
        status = mmh_fail(err, MMH_E_USAGE, "there are %zu OpenCL devices, no number %zu", count,
                          index);
    if (!status)
        describe(info, &cl, device);
    mmh_library_close(library);
    return status;
}

/* ---- opening ---- */

static mmh_status build(mmh_device *device, mmh_error *err)
{
    cl_int code;
    char options[256];
    (void)snprintf(options, sizeof options,
                   "-cl-std=CL1.2 -DMMH_LOCAL_STRIPES=%d -DMMH_GLOBAL_STRIPES=%d%s", LOCAL_STRIPES,
                   GLOBAL_STRIPES, device->kinds == item_kernels ? " -DMMH_ITEM_STYLE" : "");
    const char *text = mmh_device_source;
    size_t bytes = mmh_device_source_bytes;
    device->program = device->cl.clCreateProgramWithSource(device->context, 1, &text, &bytes,
                                                           &code);
    if (!device->program)
        return opencl_fail(err, "take the kernels", code);
    code = device->cl.clBuildProgram(device->program, 1, &device->id, options, NULL, NULL);
    if (code) {
        /* The end of the log is where the reason is. */
        char log[4096] = "";
        size_t log_bytes = 0;
        if (device->cl.clGetProgramBuildInfo(device->program, device->id, CL_PROGRAM_BUILD_LOG,
                                             sizeof log - 1, log, &log_bytes))
            log[0] = 0;
        size_t shown = strlen(log);
        return mmh_fail(err, MMH_E_DEVICE, "OpenCL failed to compile the kernels (%d): %s", code,
                        log + (shown > 400 ? shown - 400 : 0));
    }
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS; k++) {
        if (!device->kinds[k].name)
            continue;
        device->kernels[k] = device->cl.clCreateKernel(device->program, device->kinds[k].name,
                                                       &code);
        if (!device->kernels[k])
            return opencl_fail(err, "find a kernel", code);
    }
    return MMH_OK;
}

static mmh_status open_device(mmh_device *device, size_t index,
                              const struct mmh_device_options *options, mmh_error *err)
{
    size_t count;
    mmh_status status = load(&device->library, &device->cl, device->allocator, err);
    if (!status)
        status = find(&device->id, &count, &device->cl, index, err);
    if (status)
        return status;
    if (!device->id)
        return mmh_fail(err, MMH_E_DEVICE, "there are %zu OpenCL devices, no number %zu", count,
                        index);
    describe(&device->info, &device->cl, device->id);
    device->info.style = options->style;
    if (options->style == MMH_DEVICE_STYLE_AUTO)
        device->info.style = device->info.is_processor ? MMH_DEVICE_STYLE_ITEMS
                                                       : MMH_DEVICE_STYLE_GROUPS;
    device->kinds = device->info.style == MMH_DEVICE_STYLE_ITEMS ? item_kernels : group_kernels;
    size_t has = (size_t)number_of(&device->cl, device->id, CL_DEVICE_LOCAL_MEM_SIZE);
    device->local_bytes = MMH_MIN(has, options->local_bytes ? options->local_bytes
                                                            : (size_t)LOCAL_DEFAULT);
    cl_int code;
    device->context = device->cl.clCreateContext(NULL, 1, &device->id, NULL, NULL, &code);
    if (!device->context)
        return opencl_fail(err, "open a device", code);
    device->queue = device->cl.clCreateCommandQueue(device->context, device->id,
                                                    CL_QUEUE_PROFILING_ENABLE, &code);
    if (!device->queue)
        return opencl_fail(err, "make a queue", code);
    return build(device, err);
}

mmh_status mmh_device_open(mmh_device **device, size_t index,
                           const struct mmh_device_options *options, const mmh_allocator *allocator,
                           mmh_error *err)
{
    static const struct mmh_device_options defaults;
    *device = NULL;
    if (MMH_BIG_ENDIAN)
        return mmh_fail(err, MMH_E_DEVICE, "devices need a little-endian machine");
    mmh_device *made = mmh_alloc_array(allocator, 1, sizeof *made);
    if (!made)
        return mmh_fail(err, MMH_E_MEMORY, "device");
    made->allocator = allocator;
    mmh_status status = open_device(made, index, options ? options : &defaults, err);
    if (status) {
        mmh_device_close(made);
        return status;
    }
    *device = made;
    return MMH_OK;
}

void mmh_device_close(mmh_device *device)
{
    if (!device)
        return;
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS; k++)
        if (device->kernels[k])
            (void)device->cl.clReleaseKernel(device->kernels[k]);
    if (device->program)
        (void)device->cl.clReleaseProgram(device->program);
    if (device->queue)
        (void)device->cl.clReleaseCommandQueue(device->queue);
    if (device->context)
        (void)device->cl.clReleaseContext(device->context);
    mmh_library_close(device->library);
    mmh_free(device->allocator, device);
}

const struct mmh_device_info *mmh_device_info(const mmh_device *device)
{
    return &device->info;
}

/* ---- memory ---- */

static mmh_status allocate(void **memory, mmh_device *device, uint64_t bytes, const char *what,
                           mmh_error *err)
{
    cl_int code = CL_INVALID_BUFFER_SIZE;
    *memory = NULL;
    if (bytes <= device->info.allocation_bytes && bytes <= SIZE_MAX)
        *memory = device->cl.clCreateBuffer(device->context, CL_MEM_READ_WRITE,
                                            MMH_MAX((size_t)bytes, MMH_DEVICE_UNIT), NULL, &code);
    if (*memory)
        return MMH_OK;
    mmh_error why = { 0 };
    (void)opencl_fail(&why, "allocate", code);
    return mmh_fail(err, why.status, "%llu bytes of %s: %s", (unsigned long long)bytes, what,
                    why.message);
}

static void release(const mmh_device *device, void *memory)
{
    if (memory)
        (void)device->cl.clReleaseMemObject(memory);
}

mmh_status mmh_device_buffer_create(mmh_device_buffer **buffer, mmh_device *device, size_t bytes,
                                    mmh_error *err)
{
    *buffer = NULL;
    mmh_device_buffer *made = mmh_alloc_array(device->allocator, 1, sizeof *made);
    if (!made)
        return mmh_fail(err, MMH_E_MEMORY, "device buffer");
    *made = (mmh_device_buffer){ .device = device, .bytes = bytes };
    mmh_status status = allocate(&made->memory, device, bytes, "a device buffer", err);
    if (status)
        mmh_free(device->allocator, made);
    else
        *buffer = made;
    return status;
}

void mmh_device_buffer_destroy(mmh_device_buffer *buffer)
{
    if (!buffer)
        return;
    release(buffer->device, buffer->memory);
    mmh_free(buffer->device->allocator, buffer);
}

static mmh_status check_range(const mmh_device_buffer *buffer, size_t offset, size_t bytes,
                              mmh_error *err)
{
    if (offset <= buffer->bytes && bytes <= buffer->bytes - offset)
        return MMH_OK;
    return mmh_fail(err, MMH_E_USAGE, "a device buffer of %zu bytes ends before %zu + %zu",
                    buffer->bytes, offset, bytes);
}

mmh_status mmh_device_buffer_write(mmh_device_buffer *buffer, const void *src, size_t offset,
                                   size_t bytes, mmh_error *err)
{
    mmh_status status = check_range(buffer, offset, bytes, err);
    if (status || !bytes)
        return status;
    mmh_device *device = buffer->device;
    cl_int code = device->cl.clEnqueueWriteBuffer(device->queue, buffer->memory, 1, offset, bytes,
                                                  src, 0, NULL, NULL);
    return code ? opencl_fail(err, "write to the device", code) : MMH_OK;
}

mmh_status mmh_device_buffer_read(const mmh_device_buffer *buffer, void *dst, size_t offset,
                                  size_t bytes, mmh_error *err)
{
    mmh_status status = check_range(buffer, offset, bytes, err);
    if (status || !bytes)
        return status;
    mmh_device *device = buffer->device;
    cl_int code = device->cl.clEnqueueReadBuffer(device->queue, buffer->memory, 1, offset, bytes,
                                                 dst, 0, NULL, NULL);
    return code ? opencl_fail(err, "read from the device", code) : MMH_OK;
}

/* Time from the beginning of one command to the end of another. */
static uint64_t time_between(const mmh_device *device, void *first, void *last)
{
    uint64_t begin = 0, end = 0;
    if (device->cl.clGetEventProfilingInfo(first, CL_PROFILING_COMMAND_START, sizeof begin, &begin,
                                           NULL) ||
        device->cl.clGetEventProfilingInfo(last, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL))
        return 0;
    return end - begin;
}

mmh_status mmh_device_buffer_copy(mmh_device_buffer *dst, const mmh_device_buffer *src,
                                  size_t bytes, uint64_t *ns, mmh_error *err)
{
    mmh_device *device = dst->device;
    mmh_status status = check_range(dst, 0, bytes, err);
    if (!status)
        status = check_range(src, 0, bytes, err);
    if (status)
        return status;
    void *event = NULL;
    cl_int code = device->cl.clEnqueueCopyBuffer(device->queue, src->memory, dst->memory, 0, 0,
                                                 bytes, 0, NULL, &event);
    if (!code)
        code = device->cl.clFinish(device->queue);
    if (!code)
        *ns = time_between(device, event, event);
    if (event)
        (void)device->cl.clReleaseEvent(event);
    return code ? opencl_fail(err, "copy on the device", code) : MMH_OK;
}

/* ---- batches ---- */

static mmh_status upload(void **memory, mmh_device *device, const void *data, size_t bytes,
                         const char *what, mmh_error *err)
{
    mmh_status status = allocate(memory, device, bytes, what, err);
    if (status || !bytes)
        return status;
    cl_int code = device->cl.clEnqueueWriteBuffer(device->queue, *memory, 0, 0, bytes, data, 0,
                                                  NULL, NULL);
    return code ? opencl_fail(err, "write to the device", code) : MMH_OK;
}

static mmh_status upload_payloads(mmh_device_batch *batch, mmh_error *err)
{
    mmh_device *device = batch->device;
    const struct mmh_device_plan *plan = &batch->plan;
    mmh_status status = allocate(&batch->payload, device, plan->payload_bytes, "payloads", err);
    for (size_t c = 0; c < plan->chunk_count && !status; c++) {
        const struct mmh_device_chunk *chunk = &plan->chunks[c];
        cl_int code = device->cl.clEnqueueWriteBuffer(
            device->queue, batch->payload, 0, (size_t)plan->fields[c].payload * MMH_DEVICE_UNIT,
            chunk->payload_bytes, chunk->payload, 0, NULL, NULL);
        if (code)
            status = opencl_fail(err, "write to the device", code);
    }
    return status;
}

static mmh_status upload_plan(mmh_device_batch *batch, mmh_error *err)
{
    mmh_device *device = batch->device;
    const struct mmh_device_plan *plan = &batch->plan;
    size_t fields_bytes = plan->chunk_count * sizeof *plan->fields;
    mmh_status status = upload_payloads(batch, err);
    if (!status)
        status = upload(&batch->fields, device, plan->fields, fields_bytes, "chunk fields", err);
    if (!status)
        status = upload(&batch->side, device, plan->side.data, plan->side.bytes, "work lists", err);
    if (!status)
        status = upload(&batch->models, device, plan->models.data, plan->models.bytes, "models",
                        err);
    if (!status)
        status = allocate(&batch->flags, device, 4 * (uint64_t)plan->chunk_count, "flags", err);
    /* The sources are the caller's, or go below: whatever happened, nothing may read them later. */
    cl_int code = device->cl.clFinish(device->queue);
    return status || !code ? status : opencl_fail(err, "write to the device", code);
}

mmh_status mmh_device_batch_create(mmh_device_batch **batch, mmh_device *device,
                                   const struct mmh_device_set *set, mmh_error *err)
{
    *batch = NULL;
    mmh_device_batch *made = mmh_alloc_array(device->allocator, 1, sizeof *made);
    if (!made)
        return mmh_fail(err, MMH_E_MEMORY, "device batch");
    made->device = device;
    const struct mmh_device_plan_options options = {
        .items = device->kinds == item_kernels,
        .local_bytes = device->local_bytes,
        .local_stripes = LOCAL_STRIPES,
        .global_stripes = GLOBAL_STRIPES,
    };
    mmh_status status = mmh_device_plan_init(&made->plan, set, &options, device->allocator, err);
    if (!status) {
        status = upload_plan(made, err);
        mmh_device_plan_trim(&made->plan);
    }
    if (status) {
        mmh_device_batch_destroy(made);
        return status;
    }
    *batch = made;
    return MMH_OK;
}

static void forget_events(mmh_device_batch *batch)
{
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS; k++) {
        if (batch->events[k])
            (void)batch->device->cl.clReleaseEvent(batch->events[k]);
        batch->events[k] = NULL;
    }
}

void mmh_device_batch_destroy(mmh_device_batch *batch)
{
    if (!batch)
        return;
    (void)batch->device->cl.clFinish(batch->device->queue);
    forget_events(batch);
    release(batch->device, batch->payload);
    release(batch->device, batch->fields);
    release(batch->device, batch->side);
    release(batch->device, batch->models);
    release(batch->device, batch->flags);
    mmh_device_plan_release(&batch->plan);
    mmh_free(batch->device->allocator, batch);
}

uint64_t mmh_device_batch_output_bytes(const mmh_device_batch *batch)
{
    return batch->plan.output_bytes;
}

static cl_int launch(mmh_device_batch *batch, unsigned kind, void *output)
{
    mmh_device *device = batch->device;
    const struct mmh_device_work *work = &batch->plan.work[kind];
    void *const memory[] = { batch->payload, batch->fields, batch->side,
                             batch->models,  output,        batch->flags };
    cl_int code = CL_SUCCESS;
    for (cl_uint a = 0; a < MMH_COUNT_OF(memory) && !code; a++)
        code = device->cl.clSetKernelArg(device->kernels[kind], a, sizeof memory[a], &memory[a]);
    if (!code)
        code = device->cl.clSetKernelArg(device->kernels[kind], ARGUMENT_WORK, sizeof work->first,
                                         &work->first);
    if (!code && kind == MMH_DEVICE_RANS_LOCAL)
        code = device->cl.clSetKernelArg(device->kernels[kind], ARGUMENT_TABLES,
                                         batch->plan.table_bytes, NULL);
    size_t local = device->kinds[kind].items, global = local * work->count;
    if (!code)
        code = device->cl.clEnqueueNDRangeKernel(device->queue, device->kernels[kind], 1, NULL,
                                                 &global, &local, 0, NULL, &batch->events[kind]);
    return code;
}

mmh_status mmh_device_batch_start(mmh_device_batch *batch, mmh_device_buffer *output,
                                  mmh_error *err)
{
    mmh_device *device = batch->device;
    const struct mmh_device_plan *plan = &batch->plan;
    if (output->device != device || output->bytes < plan->output_bytes)
        return mmh_fail(err, MMH_E_USAGE, "a device batch needs %llu bytes of output on its device",
                        (unsigned long long)plan->output_bytes);
    forget_events(batch);
    if (!plan->chunk_count)
        return MMH_OK;
    const uint32_t zero = 0;
    cl_int code = device->cl.clEnqueueFillBuffer(device->queue, batch->flags, &zero, sizeof zero, 0,
                                                 4 * plan->chunk_count, 0, NULL, NULL);
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS && !code; k++) /* patches come last */
        if (plan->work[k].count)
            code = launch(batch, k, output->memory);
    if (!code)
        code = device->cl.clFlush(device->queue);
    return code ? opencl_fail(err, "start its kernels", code) : MMH_OK;
}

mmh_status mmh_device_batch_wait(mmh_device_batch *batch, uint64_t *ns, mmh_error *err)
{
    mmh_device *device = batch->device;
    size_t chunks = batch->plan.chunk_count;
    if (ns)
        *ns = 0;
    if (!chunks)
        return MMH_OK;
    uint32_t *flags = mmh_alloc_array(device->allocator, chunks, sizeof *flags);
    if (!flags)
        return mmh_fail(err, MMH_E_MEMORY, "flags of %zu chunks", chunks);
    cl_int code = device->cl.clEnqueueReadBuffer(device->queue, batch->flags, 1, 0, 4 * chunks,
                                                 flags, 0, NULL, NULL);
    mmh_status status = code ? opencl_fail(err, "decode", code) : MMH_OK;
    for (size_t c = 0; c < chunks && !status; c++)
        if (flags[c])
            status = mmh_fail(err, MMH_E_CORRUPT,
                              "the symbols of chunk %zu of a device set are "
                              "damaged",
                              c);
    mmh_free(device->allocator, flags);
    void *first = NULL, *last = NULL;
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS; k++)
        if (batch->events[k]) {
            first = first ? first : batch->events[k];
            last = batch->events[k];
        }
    if (!code && ns && first)
        *ns = time_between(device, first, last);
    return status;
}

mmh_status mmh_device_decode(mmh_device *device, uint8_t *dst, size_t dst_bytes,
                             const struct mmh_device_set *set, mmh_error *err)
{
    mmh_device_batch *batch;
    mmh_device_buffer *output = NULL;
    mmh_status status = mmh_device_batch_create(&batch, device, set, err);
    if (status)
        return status;
    uint64_t bytes = batch->plan.output_bytes;
    if (bytes > dst_bytes)
        status = mmh_fail(err, MMH_E_USAGE, "a device set of %llu bytes does not fit in %zu",
                          (unsigned long long)bytes, dst_bytes);
    if (!status)
        status = mmh_device_buffer_create(&output, device, (size_t)bytes, err);
    if (!status)
        status = mmh_device_batch_start(batch, output, err);
    if (!status)
        status = mmh_device_batch_wait(batch, NULL, err);
    if (!status)
        status = mmh_device_buffer_read(output, dst, 0, (size_t)bytes, err);
    mmh_device_batch_destroy(batch);
    mmh_device_buffer_destroy(output);
    return status;
}
