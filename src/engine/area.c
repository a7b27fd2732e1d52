/*
 * Recovery areas in outputs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/area.h"

#include "integrity/recovery.h"

mmh_status mmh_area_read_back(void *output, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err)
{
    return mmh_output_read_at(output, dst, offset, bytes, err);
}

static mmh_status write_at(void *output, uint64_t offset, const void *data, size_t bytes,
                           mmh_error *err)
{
    return mmh_output_write_at(output, offset, data, bytes, err);
}

static mmh_status geometry_of(struct mmh_geometry *geometry, const struct mmh_area_maker *maker,
                              const struct mmh_recovery_request *request, mmh_error *err)
{
    if (!request->geometry)
        return mmh_geometry_choose(geometry, request->end, request->tail_bytes, request->root,
                                   maker->parity, err);
    if (!mmh_geometry_read(geometry, request->geometry))
        return mmh_fail(err, MMH_E_CORRUPT, "the container's parity is of no known geometry");
    return MMH_OK;
}

static mmh_status plan(void *context, const struct mmh_recovery_request *request,
                       uint64_t *area_bytes, uint8_t geometry_bytes[MMH_GEOMETRY_BYTES],
                       mmh_error *err)
{
    struct mmh_area_maker *maker = context;
    struct mmh_recovery_layout layout;
    struct mmh_geometry geometry;
    mmh_status status = geometry_of(&geometry, maker, request, err);
    if (status != MMH_OK)
        return status;
    if (request->geometry) {
        *area_bytes = mmh_tail_area_bytes(&geometry, request->tail_bytes);
        return MMH_OK;
    }
    mmh_recovery_layout_make(&layout, &geometry, request->end);
    *area_bytes = layout.area_bytes;
    mmh_geometry_write(geometry_bytes, &geometry);
    return MMH_OK;
}

static mmh_status write_area(void *context, const struct mmh_recovery_request *request,
                             uint64_t area_offset, uint64_t area_bytes, const uint8_t *tail,
                             mmh_container_read_at *read, void *read_context, mmh_error *err)
{
    struct mmh_area_maker *maker = context;
    struct mmh_recovery_layout layout;
    struct mmh_geometry geometry;
    struct mmh_recovery_job job = { .hash_suite = request->hash_suite,
                                    .pool = maker->context->pool,
                                    .allocator = maker->context->allocator,
                                    .read = read,
                                    .read_context = read_context,
                                    .write = write_at,
                                    .write_context = maker->output };
    uint64_t clock = mmh_clock_ns();
    (void)area_bytes;
    mmh_status status = geometry_of(&geometry, maker, request, err);
    if (status == MMH_OK && request->geometry) {
        status = mmh_tail_area_write(&job, &geometry, area_offset, tail, request->tail_bytes,
                                     maker->generation, err);
    } else if (status == MMH_OK) {
        mmh_recovery_layout_make(&layout, &geometry, area_offset);
        status = mmh_recovery_area_write(&job, &layout, tail, err);
    }
    if (status == MMH_OK)
        status = mmh_output_seek_end(maker->output, err);
    maker->wall_ns += mmh_clock_ns() - clock;
    return status;
}

void mmh_area_maker_init(struct mmh_area_maker *maker, mmh_context *context, mmh_output *output,
                         unsigned parity)
{
    *maker = (struct mmh_area_maker){ .context = context,
                                      .output = output,
                                      .parity = parity,
                                      .recovery = {
                                          .context = maker, .plan = plan, .write = write_area } };
}
