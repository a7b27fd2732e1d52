/* Until mmh.h has them. SPDX-License-Identifier: Apache-2.0 */
typedef struct mmh_source {
    size_t struct_size;
    const char *name;
    uint64_t bytes;
    mmh_status (*read)(void *user, uint64_t offset, void *destination, size_t bytes,
                       mmh_error *err);
    void *user;
} mmh_source;
typedef struct mmh_sink {
    size_t struct_size;
    const char *name;
    mmh_status (*write)(void *user, const void *data, size_t bytes, mmh_error *err);
    void *user;
} mmh_sink;
static inline mmh_status stub(mmh_error *err)
{
    err->status = MMH_E_UNSUPPORTED;
    PyOS_snprintf(err->message, sizeof err->message, "sources are not there yet");
    return err->status;
}
#define mmh_pack_sources(a, b, c, d, e, f, g, err) stub(((void)(d), (void)(e), err))
#define mmh_open_source(a, b, c, err) stub(err)
#define mmh_open_original_source(a, b, c, d, e, err) stub(err)
