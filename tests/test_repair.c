/*
 * Repair: whatever damage parity promises to make good is made good, to the byte; what is beyond is
 * told, and nobody gets wrong bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * What was lost is counted here from the bytes themselves, apart from the code that repairs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/io.h"
#include "counting.h"
#include "engine/engine.h"
#include "mmh.h"
#include "scratch.h"

static uint64_t random_state = 1;

static uint32_t random32(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static uint64_t random_below(uint64_t limit)
{
    return limit ? ((uint64_t)random32() << 32 | random32()) % limit : 0;
}

/* ---- a container, and where everything is in it ---- */

enum { PACKETS_MAX = 4096, PACKET_HEAD = 104 };

struct packet {
    unsigned kind;
    uint32_t number;
    size_t at, bytes;
};

struct subject {
    uint8_t *data; /* [bytes] the container */
    size_t bytes;
    uint8_t *original; /* [original_bytes] what was packed */
    size_t original_bytes;
    size_t end, block_bytes, stripes; /* E, B, S */
    unsigned k, m;
    size_t packet_count;
    struct packet packets[PACKETS_MAX];
    unsigned table_parity, tail_parity; /* mt, mq */
    size_t trailer, trailer_end;
};

static mmh_context *context;

/* A safetensors file of some tensors of weights, of about so many bytes. */
static uint8_t *make_original(size_t bytes, size_t *original_bytes)
{
    char header[400];
    size_t elements = bytes / 4;
    int length = snprintf(header + 8, sizeof header - 8,
                          "{\"a\":{\"dtype\":\"BF16\",\"shape\":[%zu],\"data_offsets\":[0,%zu]},"
                          "\"b\":{\"dtype\":\"BF16\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}}",
                          elements, 2 * elements, elements, 2 * elements, 4 * elements);
    assert_true(length > 0 && length < (int)sizeof header - 8);
    mmh_store64(header, (uint64_t)length);
    *original_bytes = 8 + (size_t)length + 4 * elements;
    uint8_t *data = malloc(*original_bytes);
    assert_non_null(data);
    memcpy(data, header, 8 + (size_t)length);
    for (size_t i = 0; i < 2 * elements; i++) {
        uint16_t value = (uint16_t)(0x3c00 + random32() % 0x300 + ((random32() & 1) << 15));
        mmh_store16(data + 8 + (size_t)length + 2 * i, value);
    }
    return data;
}

static void subject_parse(struct subject *subject)
{
    const uint8_t *data = subject->data, *footer = data + subject->bytes - 256;
    subject->trailer = (size_t)mmh_load64(footer + 48);
    subject->trailer_end = subject->trailer + (size_t)mmh_load64(footer + 56);
    const uint8_t *section = data + subject->trailer;
    while (mmh_load32(section) != 3)
        section += 16 + (mmh_load64(section + 8) + 7) / 8 * 8;
    subject->end = (size_t)mmh_load64(section + 16);
    subject->block_bytes = mmh_load32(section + 24);
    subject->k = mmh_load16(section + 28);
    subject->m = mmh_load16(section + 30);
    subject->stripes = mmh_load32(section + 32);
    subject->packet_count = 0;
    unsigned pieces[4] = { 0 };
    for (size_t at = (subject->end + 7) / 8 * 8; at + PACKET_HEAD < subject->trailer;) {
        assert_memory_equal(data + at, "MMHPAR1\n", 8);
        struct packet *packet = &subject->packets[subject->packet_count++];
        assert_true(subject->packet_count < PACKETS_MAX);
        *packet = (struct packet){ .kind = data[at + 8],
                                   .number = mmh_load32(data + at + 12),
                                   .at = at,
                                   .bytes = PACKET_HEAD + mmh_load32(data + at + 16) };
        pieces[packet->kind]++;
        at += packet->bytes;
    }
    size_t blocks = (subject->end + subject->block_bytes - 1) / subject->block_bytes;
    size_t kt = MMH_MIN(MMH_MAX((8 * blocks + 4095) / 4096, 1), 64);
    size_t tail_bytes = 256 + subject->trailer_end - subject->trailer;
    size_t kq = MMH_MIN(MMH_MAX((tail_bytes + 1023) / 1024, 1), 32);
    assert_int_equal(pieces[1], subject->m * subject->stripes);
    subject->table_parity = pieces[2] - (unsigned)kt;
    subject->tail_parity = pieces[3] - (unsigned)kq;
    assert_int_equal(subject->table_parity, MMH_MAX(kt, subject->m));
    assert_int_equal(subject->tail_parity, MMH_MAX(kq, subject->m));
}

static void subject_make(struct subject *subject, size_t bytes, unsigned parity, bool sha256)
{
    memset(subject, 0, sizeof *subject);
    subject->original = make_original(bytes, &subject->original_bytes);
    write_file(at("model.safetensors"), subject->original, subject->original_bytes);
    const char *inputs[] = { at("model.safetensors") };
    mmh_pack_options options = { .struct_size = sizeof options,
                                 .overwrite = true,
                                 .sha256 = sha256,
                                 .level = 1,
                                 .parity = parity };
    mmh_error err = { 0 };
    if (mmh_pack(context, inputs, 1, at("pristine.mmh"), &options, NULL, &err) != MMH_OK)
        fail_msg("%s", err.message);
    subject->data = read_file(at("pristine.mmh"), &subject->bytes);
    assert_non_null(subject->data);
    if (parity)
        subject_parse(subject);
}

static void subject_release(struct subject *subject)
{
    free(subject->data);
    free(subject->original);
}

/* ---- damage, and what it means ---- */

struct damaged {
    uint8_t *data; /* [bytes] */
    size_t bytes, room;
    const struct damaged *other; /* a second copy; NULL: none */
};

static void damaged_begin(struct damaged *damaged, const struct subject *subject)
{
    damaged->room = 2 * subject->bytes + 4096;
    damaged->data = malloc(damaged->room);
    assert_non_null(damaged->data);
    memcpy(damaged->data, subject->data, subject->bytes);
    damaged->bytes = subject->bytes;
    damaged->other = NULL;
}

static bool range_lost(const struct subject *subject, const struct damaged *damaged, size_t at,
                       size_t bytes)
{
    bool lost = at + bytes > damaged->bytes ||
                memcmp(subject->data + at, damaged->data + at, bytes) != 0;
    return lost && (!damaged->other || range_lost(subject, damaged->other, at, bytes));
}

/* Whether the promise of docs/format.md section 17 covers it. */
static bool is_promised(const struct subject *subject, const struct damaged *damaged)
{
    unsigned *lost = calloc(subject->stripes, sizeof *lost), table = 0, tail = 0;
    bool promised = true;
    assert_non_null(lost);
    size_t block = 0;
    for (size_t at = 0; at < subject->end; at += subject->block_bytes, block++)
        lost[block % subject->stripes] +=
            range_lost(subject, damaged, at, MMH_MIN(subject->block_bytes, subject->end - at));
    for (size_t p = 0; p < subject->packet_count; p++) {
        const struct packet *packet = &subject->packets[p];
        bool gone = range_lost(subject, damaged, packet->at, packet->bytes);
        if (packet->kind == 1)
            lost[packet->number % subject->stripes] += gone;
        table += packet->kind == 2 && gone;
        tail += packet->kind == 3 && gone;
    }
    for (size_t s = 0; s < subject->stripes; s++)
        promised = promised && lost[s] <= subject->m;
    bool footer = !range_lost(subject, damaged, subject->trailer_end, 256) ||
                  !range_lost(subject, damaged, subject->bytes - 256, 256);
    bool trailer = !range_lost(subject, damaged, subject->trailer,
                               subject->trailer_end - subject->trailer);
    free(lost);
    return promised && table <= subject->table_parity &&
           (tail <= subject->tail_parity || (footer && trailer));
}

static void flip_bits(struct damaged *damaged, size_t begin, size_t end, unsigned count)
{
    for (; count && end > begin; count--)
        damaged->data[begin + random_below(end - begin)] ^= (uint8_t)(1u << random32() % 8);
}

static void burst(struct damaged *damaged, size_t begin, size_t bytes)
{
    uint32_t how = random32() % 3;
    for (size_t i = begin; i < damaged->bytes && i < begin + bytes; i++)
        damaged->data[i] = how == 0 ? 0
                         : how == 1 ? (uint8_t)~damaged->data[i]
                                    : (uint8_t)random32();
}

/* One of many kinds of damage. */
static void hurt(struct damaged *damaged, const struct subject *subject)
{
    size_t area = subject->bytes - subject->end;
    size_t protected_bytes = subject->m * subject->stripes * subject->block_bytes;
    switch (random32() % 12) {
    case 0: /* bits, anywhere */
        flip_bits(damaged, 0, damaged->bytes, 1 + random32() % 12);
        break;
    case 1: /* one burst, about as long as it may be */
        burst(damaged, random_below(damaged->bytes), random_below(2 * protected_bytes));
        break;
    case 2: /* blocks of one stripe */
        for (unsigned n = random32() % (subject->m + 2); n; n--) {
            size_t block = random_below(subject->k) * subject->stripes;
            burst(damaged, block * subject->block_bytes, subject->block_bytes);
        }
        break;
    case 3: /* the end is cut off */
        damaged->bytes -= random_below(random32() % 4 ? MMH_MIN(area, damaged->bytes)
                                                      : damaged->bytes);
        break;
    case 4: /* something is behind the end */
        for (size_t n = random_below(4096); n && damaged->bytes < damaged->room; n--)
            damaged->data[damaged->bytes++] = (uint8_t)random32();
        break;
    case 5: /* the header, the index */
        flip_bits(damaged, 0, 128, random32() % 2 + 1);
        flip_bits(damaged, subject->end > 300 ? subject->end - 300 : 0, subject->end,
                  random32() % 3);
        break;
    case 6: /* both copies of the index */
        flip_bits(damaged, subject->end > 200 ? subject->end - 200 : 0, subject->end, 1);
        flip_bits(damaged, subject->trailer_end + 256, subject->bytes - 256, 1);
        break;
    case 7: /* both footers */
        flip_bits(damaged, subject->bytes - 256, subject->bytes, 1);
        flip_bits(damaged, subject->trailer_end, subject->trailer_end + 256, 1);
        break;
    case 8: /* the trailer, packets */
        flip_bits(damaged, subject->trailer, subject->trailer_end, random32() % 2);
        for (unsigned n = random32() % 6; n; n--) {
            const struct packet *packet = &subject->packets[random_below(subject->packet_count)];
            flip_bits(damaged, packet->at, packet->at + packet->bytes, 1);
        }
        break;
    case 9: /* the whole recovery area */
        burst(damaged, subject->end, area);
        break;
    case 10: /* from the data into the area */
        burst(damaged, subject->end - random_below(MMH_MIN(protected_bytes, subject->end)),
              random_below(protected_bytes));
        break;
    default: /* many small ones */
        for (unsigned n = random32() % 20; n; n--)
            burst(damaged, random_below(damaged->bytes), random_below(200));
        break;
    }
}

/* ---- what comes of it ---- */

static bool restored_exactly(const struct subject *subject)
{
    mmh_unpack_options options = { .struct_size = sizeof options,
                                   .overwrite = true,
                                   .as_file = true };
    if (mmh_unpack(context, at("hurt.mmh"), at("restored"), &options, NULL, NULL) != MMH_OK)
        return false;
    size_t bytes;
    uint8_t *data = read_file(at("restored"), &bytes);
    assert_non_null(data);
    assert_int_equal(bytes, subject->original_bytes);
    assert_memory_equal(data, subject->original, bytes);
    free(data);
    remove(at("restored"));
    return true;
}

static void explain(const struct subject *subject, const struct damaged *damaged, const char *path)
{
    size_t bytes = 0, ranges = 0;
    uint8_t *data = read_file(path, &bytes);
    printf("E %zu B %zu k %u m %u S %zu, trailer %zu..%zu, bytes %zu (damaged %zu, repaired %zu)\n",
           subject->end, subject->block_bytes, subject->k, subject->m, subject->stripes,
           subject->trailer, subject->trailer_end, subject->bytes, damaged->bytes, bytes);
    for (size_t p = 0; p < subject->packet_count; p++)
        printf("  packet %zu kind %u number %u at %zu\n", p, subject->packets[p].kind,
               subject->packets[p].number, subject->packets[p].at);
    for (size_t i = 0; i < subject->bytes && ranges < 30; i++) {
        bool hurt_here = i >= damaged->bytes || damaged->data[i] != subject->data[i];
        bool wrong = i >= bytes || data[i] != subject->data[i];
        if (!hurt_here && !wrong)
            continue;
        size_t begin = i;
        while (i < subject->bytes &&
               hurt_here == (i >= damaged->bytes || damaged->data[i] != subject->data[i]) &&
               wrong == (i >= bytes || data[i] != subject->data[i]))
            i++;
        printf("  %zu..%zu%s%s\n", begin, i, hurt_here ? " hurt" : "", wrong ? " wrong" : "");
        ranges++;
    }
    free(data);
}

static uint64_t promised_count, beyond_count, beyond_restored;
static unsigned both_count, both_promised, both_restored, opened_count;

static void assert_repaired(const struct subject *subject, const struct damaged *damaged)
{
    mmh_repair_report report = { .struct_size = sizeof report };
    mmh_repair_options options = { .struct_size = sizeof options };
    mmh_error err = { 0 };
    bool promised = is_promised(subject, damaged), to_new = random32() % 4 == 0;
    bool same = damaged->bytes == subject->bytes &&
                memcmp(damaged->data, subject->data, subject->bytes) == 0;
    mmh_unpack_report seen = { .struct_size = sizeof seen };
    mmh_status verified = MMH_OK;
    bool look = random32() % 3 == 0;
    write_file(at("hurt.mmh"), damaged->data, damaged->bytes);
    if (look)
        verified = mmh_verify(context, at("hurt.mmh"), NULL, &seen, NULL);
    if (to_new) {
        options.output = at("new.mmh");
        options.overwrite = true;
        remove(at("new.mmh"));
    }
    mmh_status status = mmh_repair(context, at("hurt.mmh"), &options, &report, &err);
    const char *result = to_new ? at("new.mmh") : at("hurt.mmh");
    bool pristine = file_is(result, subject->data, subject->bytes);
    if ((promised && (status != MMH_OK || !pristine)) || (status == MMH_OK) != pristine ||
        (status != MMH_OK && status != MMH_E_CORRUPT)) {
        explain(subject, damaged, result);
        fail_msg("promised %d, status %d, pristine %d: %s", promised, (int)status, pristine,
                 err.message);
    }
    /* Verify has said so before: right, to be restored, or lost. */
    if (look && (verified == MMH_OK) != same)
        fail_msg("verify gave %d: the same %d", (int)verified, same);
    /* The trailer may be lost while all content is there. */
    bool content = seen.mended & MMH_TRAILER_DAMAGED && restored_exactly(subject);
    if (look && !same && (seen.mended != 0) != pristine && !content) {
        explain(subject, damaged, result);
        fail_msg("verify says mended %u, repair gave %d: %s", seen.mended, pristine, err.message);
    }
    promised_count += promised;
    beyond_count += !promised;
    beyond_restored += !promised && pristine;
    if (to_new) /* the damaged one is as it was */
        assert_true(file_is(at("hurt.mmh"), damaged->data, damaged->bytes));
    else if (!promised && random32() % 4 == 0)
        (void)restored_exactly(subject);
}

static void test_repair_keeps_its_promise(void **state)
{
    static const struct {
        size_t bytes;
        unsigned patterns;
    } sizes[] = { { 4, 3000 },     { 300, 2500 },   { 2000, 2000 },  { 20000, 1500 },
                  { 100000, 700 }, { 600000, 200 }, { 2000000, 100 } };
    static const unsigned parities[] = { 100, 500, 1000, 2500, 5000 };
    const char *more = getenv("MMH_REPAIR_PATTERNS"); /* times as many */
    unsigned factor = more ? (unsigned)atoi(more) : 1;
    (void)state;
    for (size_t s = 0; s < MMH_COUNT_OF(sizes); s++)
        for (size_t p = 0; p < MMH_COUNT_OF(parities); p++) {
            struct subject *subject = malloc(sizeof *subject);
            assert_non_null(subject);
            subject_make(subject, sizes[s].bytes, parities[p], p % 2);
            for (unsigned i = 0; i < sizes[s].patterns / MMH_COUNT_OF(parities) * factor; i++) {
                struct damaged damaged;
                damaged_begin(&damaged, subject);
                for (unsigned n = 1 + random32() % 3 / 2; n; n--)
                    hurt(&damaged, subject);
                assert_repaired(subject, &damaged);
                free(damaged.data);
            }
            subject_release(subject);
            free(subject);
        }
    printf("%llu patterns within the promise, %llu beyond, of which %llu were restored\n",
           (unsigned long long)promised_count, (unsigned long long)beyond_count,
           (unsigned long long)beyond_restored);
    assert_true(promised_count > 5000 * factor && beyond_count > 1000 * factor);
}

/* Any one burst of m * S - 2 blocks. */
static void test_any_one_burst_of_the_promised_length_is_made_good(void **state)
{
    static const size_t sizes[] = { 300, 30000, 700000 };
    (void)state;
    for (size_t s = 0; s < MMH_COUNT_OF(sizes); s++) {
        struct subject *subject = malloc(sizeof *subject);
        assert_non_null(subject);
        subject_make(subject, sizes[s], 1000, false);
        size_t length = (subject->m * subject->stripes - 2) * subject->block_bytes;
        for (unsigned i = 0; i < 60 && length; i++) {
            struct damaged damaged;
            damaged_begin(&damaged, subject);
            size_t begin = i == 0 ? 0
                         : i == 1 ? subject->bytes - MMH_MIN(length, subject->bytes)
                                  : random_below(subject->bytes);
            burst(&damaged, begin, length);
            assert_true(is_promised(subject, &damaged));
            assert_repaired(subject, &damaged);
            if (i % 3 == 0) { /* the same cut off */
                damaged.bytes = subject->bytes - MMH_MIN(length, subject->bytes);
                memcpy(damaged.data, subject->data, damaged.bytes);
                assert_true(is_promised(subject, &damaged));
                assert_repaired(subject, &damaged);
            }
            free(damaged.data);
        }
        subject_release(subject);
        free(subject);
    }
}

/* ---- interruptions ---- */

/* A container with damage that is made good by parity, in data, area and tail. */
static void hurt_everywhere(struct damaged *damaged, const struct subject *subject)
{
    damaged_begin(damaged, subject);
    burst(damaged, subject->block_bytes + 8, subject->block_bytes / 2);
    flip_bits(damaged, subject->trailer, subject->trailer_end, 1);
    flip_bits(damaged, subject->bytes - 256, subject->bytes, 1);
    flip_bits(damaged, subject->packets[subject->packet_count / 2].at,
              subject->packets[subject->packet_count / 2].at + 200, 1);
    damaged->bytes -= 100;
    assert_true(is_promised(subject, damaged));
}

/* Whatever write of a repair in place is the last, the next repair completes it. */
static void test_a_repair_that_was_interrupted_is_completed(void **state)
{
    (void)state;
    struct subject *subject = malloc(sizeof *subject);
    struct damaged damaged;
    assert_non_null(subject);
    subject_make(subject, 20000, 1000, false);
    hurt_everywhere(&damaged, subject);
    unsigned completed = 0, replayed = 0;
    for (uint64_t nth = 1; !completed; nth++) {
        mmh_repair_report report = { .struct_size = sizeof report };
        mmh_error err = { 0 };
        write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
        mmh_io_fail_after(nth);
        mmh_status status = mmh_repair(context, at("hurt.mmh"), NULL, &report, &err);
        bool reached = mmh_io_fail_after(0) < 2;
        completed = status == MMH_OK;
        assert_true(completed || reached);
        assert_int_equal(status, err.status);
        bool journal = access(at("hurt.mmh-journal"), F_OK) == 0;
        /* Nothing was written before the journal was complete. */
        if (!journal && !completed && !file_is(at("hurt.mmh"), subject->data, subject->bytes))
            assert_true(file_is(at("hurt.mmh"), damaged.data, damaged.bytes));
        bool whole = file_is(at("hurt.mmh"), subject->data, subject->bytes);
        report = (mmh_repair_report){ .struct_size = sizeof report };
        memset(&err, 0, sizeof err);
        status = mmh_repair(context, at("hurt.mmh"), NULL, &report, &err);
        if (status != MMH_OK)
            fail_msg("after failure %llu: %s", (unsigned long long)nth, err.message);
        assert_int_equal(report.replayed, journal && !whole);
        assert_true(file_is(at("hurt.mmh"), subject->data, subject->bytes));
        assert_int_not_equal(access(at("hurt.mmh-journal"), F_OK), 0);
        replayed += report.replayed;
    }
    assert_true(replayed > 3);
    free(damaged.data);
    subject_release(subject);
    free(subject);
}

/* A journal that lies beside another container is not written to it. */
static void test_a_journal_of_another_container_is_refused(void **state)
{
    (void)state;
    struct subject *one = malloc(sizeof *one), *other = malloc(sizeof *other);
    struct damaged damaged;
    assert_true(one && other);
    subject_make(one, 3000, 1000, false);
    subject_make(other, 4000, 1000, false);
    hurt_everywhere(&damaged, one);
    bool found = false;
    for (uint64_t nth = 1; !found && nth < 1000; nth++) {
        write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
        mmh_io_fail_after(nth);
        (void)mmh_repair(context, at("hurt.mmh"), NULL, NULL, NULL);
        mmh_io_fail_after(0);
        found = access(at("hurt.mmh-journal"), F_OK) == 0;
    }
    assert_true(found);
    struct damaged elsewhere;
    hurt_everywhere(&elsewhere, other);
    write_file(at("hurt.mmh"), elsewhere.data, elsewhere.bytes);
    assert_int_equal(mmh_repair(context, at("hurt.mmh"), NULL, NULL, NULL), MMH_E_USAGE);
    assert_true(file_is(at("hurt.mmh"), elsewhere.data, elsewhere.bytes));
    free(elsewhere.data);
    /* Nor is a damaged one. */
    write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
    size_t bytes = 0;
    uint8_t *journal = read_file(at("hurt.mmh-journal"), &bytes);
    for (size_t i = 0; i < bytes; i += 1 + bytes / 200) {
        journal[i] ^= 0x40;
        write_file(at("hurt.mmh-journal"), journal, bytes);
        mmh_status status = mmh_repair(context, at("hurt.mmh"), NULL, NULL, NULL);
        if (status == MMH_OK) { /* padding */
            assert_true(file_is(at("hurt.mmh"), one->data, one->bytes));
            write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
        } else {
            assert_true(file_is(at("hurt.mmh"), damaged.data, damaged.bytes));
        }
        journal[i] ^= 0x40;
    }
    remove(at("hurt.mmh-journal"));
    free(journal);
    free(damaged.data);
    subject_release(one);
    subject_release(other);
    free(one);
    free(other);
}

static void test_a_repair_without_memory_says_so_and_leaks_nothing(void **state)
{
    (void)state;
    struct subject *subject = malloc(sizeof *subject);
    struct damaged damaged;
    mmh_context *counted;
    mmh_context_options options = { .struct_size = sizeof options,
                                    .threads = 1,
                                    .allocator = &counting };
    assert_non_null(subject);
    subject_make(subject, 20000, 1000, false);
    hurt_everywhere(&damaged, subject);
    size_t before = allocated;
    for (size_t n = 0, done = 0; !done; n++) {
        mmh_error err = { 0 };
        assert_int_equal(mmh_context_create(&counted, &options, NULL), MMH_OK);
        write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
        allocations_left = n;
        mmh_status status = mmh_repair(counted, at("hurt.mmh"), NULL, NULL, &err);
        done = status == MMH_OK;
        allocations_left = SIZE_MAX;
        assert_int_equal(status, done ? MMH_OK : MMH_E_MEMORY);
        assert_int_equal(status, err.status);
        mmh_context_destroy(counted);
        assert_int_equal(allocated, before);
        if (access(at("hurt.mmh-journal"), F_OK) == 0)
            assert_int_equal(mmh_repair(context, at("hurt.mmh"), NULL, NULL, NULL), MMH_OK);
        if (status == MMH_OK)
            assert_true(file_is(at("hurt.mmh"), subject->data, subject->bytes));
    }
    free(damaged.data);
    subject_release(subject);
    free(subject);
}

/* ---- other sources ---- */

/* Two copies, each damaged beyond its own parity, and never at the same place. */
static void test_two_damaged_copies_make_one_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = { 2000, 60000, 500000 };
    for (size_t s = 0; s < MMH_COUNT_OF(sizes); s++)
        for (unsigned round = 0; round < 40; round++) {
            struct subject *subject = malloc(sizeof *subject);
            struct damaged one, two;
            assert_non_null(subject);
            subject_make(subject, sizes[s], round % 4 ? 500 : 0, false);
            damaged_begin(&one, subject);
            damaged_begin(&two, subject);
            for (size_t at_byte = 0;
                 at_byte < subject->bytes;) { /* stretches of one or the other */
                size_t bytes = 1 + random_below(subject->bytes / 2);
                burst(random32() & 1 ? &one : &two, at_byte, bytes);
                at_byte += bytes;
            }
            /* Their footers: someone must know what it was. */
            memcpy(one.data + subject->bytes - 256, subject->data + subject->bytes - 256, 256);
            if (round % 4)
                memcpy(one.data + subject->trailer, subject->data + subject->trailer,
                       subject->trailer_end - subject->trailer);
            one.other = &two;
            bool promised = round % 4 && is_promised(subject, &one);
            write_file(at("hurt.mmh"), one.data, one.bytes);
            write_file(at("other.mmh"), two.data, two.bytes);
            const char *sources[] = { at("other.mmh") };
            mmh_repair_options options = { .struct_size = sizeof options,
                                           .sources = sources,
                                           .source_count = 1 };
            mmh_error err = { 0 };
            mmh_status status = mmh_repair(context, at("hurt.mmh"), &options, NULL, &err);
            bool pristine = file_is(at("hurt.mmh"), subject->data, subject->bytes);
            if ((status == MMH_OK) != pristine || (promised && !pristine)) {
                explain(subject, &one, at("hurt.mmh"));
                explain(subject, &two, at("other.mmh"));
                fail_msg("promised %d, status %d, pristine %d: %s", promised, (int)status, pristine,
                         err.message);
            }
            both_count++;
            both_promised += promised;
            both_restored += pristine;
            free(one.data);
            free(two.data);
            subject_release(subject);
            free(subject);
        }
    printf("%u of %u pairs of damaged copies made one that is whole\n", both_restored, both_count);
    assert_true(both_promised > both_count / 4);
}

static mmh_status give_passphrase(void *user, const char *why, char *passphrase, size_t room,
                                  size_t *bytes, mmh_error *err)
{
    (void)user;
    (void)why;
    (void)err;
    assert_true(room >= 6);
    memcpy(passphrase, "secret", 6);
    *bytes = 6;
    return MMH_OK;
}

/* Lost chunks, models too, are made of the original file at every level, of encrypted containers too. */
static void test_lost_chunks_are_made_of_the_original(void **state)
{
    (void)state;
    for (int level = 1; level <= 9; level += 2)
        for (unsigned kind = 0; kind < 4; kind++) {
            size_t bytes = 0, original_bytes = 0;
            bool encrypted = kind & 1, parity = kind & 2;
            uint8_t *original = make_original(900000, &original_bytes);
            write_file(at("model.safetensors"), original, original_bytes);
            const char *inputs[] = { at("model.safetensors") };
            mmh_pack_options options = { .struct_size = sizeof options,
                                         .overwrite = true,
                                         .level = level,
                                         .parity = parity ? 200 : 0,
                                         .passphrase = encrypted ? "secret" : NULL,
                                         .passphrase_bytes = encrypted ? 6 : 0 };
            mmh_error err = { 0 };
            if (mmh_pack(context, inputs, 1, at("pristine.mmh"), &options, NULL, &err) != MMH_OK)
                fail_msg("%s", err.message);
            uint8_t *data = read_file(at("pristine.mmh"), &bytes);
            uint8_t *hurt_data = malloc(bytes);
            assert_true(data && hurt_data);
            memcpy(hurt_data, data, bytes);
            size_t end = (size_t)mmh_load64(data + bytes - 256 + 16); /* index A */
            for (size_t i = 128; i < end; i += 40000 + random32() % 90000)
                hurt_data[i] ^= 0x10;
            write_file(at("hurt.mmh"), hurt_data, bytes);
            mmh_repair_options repair = { .struct_size = sizeof repair,
                                          .sources = inputs,
                                          .source_count = 1 };
            mmh_repair_report report = { .struct_size = sizeof report };
            if (encrypted) { /* without the key nothing is made, and that is said */
                assert_int_equal(mmh_repair(context, at("hurt.mmh"), &repair, NULL, NULL),
                                 MMH_E_CORRUPT);
                mmh_context_set_passphrase(context, give_passphrase, NULL);
            }
            mmh_status status = mmh_repair(context, at("hurt.mmh"), &repair, &report, &err);
            mmh_context_set_passphrase(context, NULL, NULL);
            if (status != MMH_OK)
                fail_msg("level %d, kind %u: %s", level, kind, err.message);
            assert_true(file_is(at("hurt.mmh"), data, bytes));
            assert_true(report.from_sources > 0);
            /* Another model is no source. */
            write_file(at("hurt.mmh"), hurt_data, bytes);
            for (size_t i = 0; i < original_bytes - 400; i += 1000)
                original[400 + i] ^= 1;
            write_file(at("model.safetensors"), original, original_bytes);
            assert_int_equal(mmh_repair(context, at("hurt.mmh"), &repair, &report, NULL),
                             MMH_E_CORRUPT);
            free(hurt_data);
            free(data);
            free(original);
        }
}

/* ---- what cannot be had ---- */

struct told {
    uint64_t begin, end; /* of the file, all ranges together */
    unsigned ranges, tensors;
};

static void note_damage(void *user, const mmh_damage *damage)
{
    struct told *told = user;
    assert_string_equal(damage->name, "model.safetensors");
    if (damage->tensor) {
        told->tensors++;
        return;
    }
    told->begin = MMH_MIN(told->begin, damage->offset);
    told->end = MMH_MAX(told->end, damage->offset + damage->bytes);
    told->ranges++;
}

/* With skip_damaged what is lost is zeros, the rest is exact, and the call says that it is not all. */
static void test_skipped_damage_becomes_zeros_and_is_told(void **state)
{
    (void)state;
    for (unsigned parity = 0; parity <= 500; parity += 500) {
        struct subject *subject = malloc(sizeof *subject);
        struct damaged damaged;
        struct told told = { .begin = UINT64_MAX };
        mmh_unpack_options options = { .struct_size = sizeof options,
                                       .overwrite = true,
                                       .as_file = true,
                                       .skip_damaged = true,
                                       .damage = note_damage,
                                       .damage_user = &told };
        mmh_unpack_report report = { .struct_size = sizeof report };
        mmh_error err = { 0 };
        assert_non_null(subject);
        subject_make(subject, 3000000, parity, false);
        damaged_begin(&damaged, subject);
        burst(&damaged, 700000, 400000);
        write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
        assert_int_equal(
            mmh_unpack(context, at("hurt.mmh"), at("restored"), &options, &report, &err),
            MMH_E_CORRUPT);
        assert_int_equal(err.status, MMH_E_CORRUPT);
        size_t bytes = 0;
        uint8_t *data = read_file(at("restored"), &bytes);
        assert_non_null(data);
        assert_int_equal(bytes, subject->original_bytes);
        assert_true(told.ranges && told.tensors && told.begin < told.end && told.end <= bytes);
        assert_true(told.end - told.begin < 2000000 && report.damaged_chunks);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(data[i], i >= told.begin && i < told.end ? 0 : subject->original[i]);
        /* Repair tells the same. */
        struct told again = { .begin = UINT64_MAX };
        mmh_repair_options repair = { .struct_size = sizeof repair,
                                      .damage = note_damage,
                                      .damage_user = &again };
        assert_int_equal(mmh_repair(context, at("hurt.mmh"), &repair, NULL, NULL), MMH_E_CORRUPT);
        assert_int_equal(again.begin, told.begin);
        assert_int_equal(again.end, told.end);
        free(data);
        free(damaged.data);
        subject_release(subject);
        free(subject);
    }
}

/* Chunks that parity gives back are mended while they are loaded, by several threads too. */
static void test_damaged_chunks_are_mended_in_memory(void **state)
{
    (void)state;
    mmh_context *threads;
    mmh_context_options options = { .struct_size = sizeof options, .threads = 4 };
    assert_int_equal(mmh_context_create(&threads, &options, NULL), MMH_OK);
    struct subject *subject = malloc(sizeof *subject);
    assert_non_null(subject);
    subject_make(subject, 3000000, 1000, false);
    for (unsigned round = 0; round < 20; round++) {
        struct damaged damaged;
        mmh_unpack_options unpack = { .struct_size = sizeof unpack,
                                      .overwrite = true,
                                      .as_file = true };
        mmh_unpack_report report = { .struct_size = sizeof report };
        mmh_error err = { 0 };
        damaged_begin(&damaged, subject);
        size_t most = (subject->m * subject->stripes - 2) * subject->block_bytes;
        burst(&damaged, 128 + random_below(subject->end - 2000 - most), 1 + random_below(most));
        write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
        assert_true(is_promised(subject, &damaged));
        if (mmh_unpack(threads, at("hurt.mmh"), at("restored"), &unpack, &report, &err) != MMH_OK)
            fail_msg("%s", err.message);
        assert_true(file_is(at("restored"), subject->original, subject->original_bytes));
        assert_true(report.mended_chunks > 0 && report.mended == MMH_MENDED_CHUNKS);

        mmh_reader *reader;
        mmh_container_info info = { .struct_size = sizeof info };
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        assert_int_equal(mmh_open(threads, at("hurt.mmh"), &reader, NULL), MMH_OK);
        for (uint64_t t = 0; t < 2; t++) {
            assert_int_equal(mmh_tensor(reader, t, &tensor, NULL), MMH_OK);
            uint8_t *loaded = malloc(tensor.bytes);
            assert_non_null(loaded);
            assert_int_equal(mmh_load(reader, t, loaded, tensor.bytes, NULL), MMH_OK);
            assert_loaded(loaded, subject->original + tensor.file_offset, tensor.bytes,
                          tensor.dtype);
            free(loaded);
        }
        assert_int_equal(mmh_container(reader, &info, NULL), MMH_OK);
        assert_int_equal(info.mended, MMH_MENDED_CHUNKS);
        mmh_close(reader);
        free(damaged.data);
    }
    subject_release(subject);
    free(subject);
    mmh_context_destroy(threads);
}

/* What is needed to open a container is had from parity, too: by those who load and unpack. */
static void test_containers_open_without_footers_and_indexes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct subject *subject = malloc(sizeof *subject);
        struct damaged damaged;
        assert_non_null(subject);
        subject_make(subject, 200 + random_below(60000), 2500, round % 2);
        damaged_begin(&damaged, subject);
        if (round % 3 == 0) {
            damaged.bytes = subject->trailer + random_below(300);
        } else {
            size_t most = MMH_MIN(subject->block_bytes, subject->end);
            flip_bits(&damaged, subject->end - random_below(MMH_MIN(most, 100)) - 1, subject->end,
                      1);
            if (round % 3 == 1)
                burst(&damaged, subject->trailer_end, subject->bytes - subject->trailer_end);
            else
                burst(&damaged, subject->trailer_end + 256,
                      subject->bytes - subject->trailer_end - 512);
        }
        if (is_promised(subject, &damaged)) {
            write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
            assert_true(restored_exactly(subject));
            opened_count++;
        }
        free(damaged.data);
        subject_release(subject);
        free(subject);
    }
    assert_true(opened_count > 150);
}

/* Trailers that were put behind others in place: all of them come back, and what lies between. */
static void test_later_trailers_and_what_they_left_come_back(void **state)
{
    (void)state;
    enum { SIGNATURES = 3 };
    mmh_key *key;
    size_t ends[SIGNATURES + 1], bytes = 0;
    struct subject *subject = malloc(sizeof *subject);
    assert_non_null(subject);
    subject_make(subject, 30000, 1000, false);
    ends[0] = subject->bytes;
    assert_int_equal(mmh_key_generate(&key, "ed25519", 0, NULL), MMH_OK);
    const mmh_key *const signers[] = { key };
    mmh_context_options options = { .struct_size = sizeof options, .threads = 1 };
    mmh_context *appending;
    assert_int_equal(mmh_context_create(&appending, &options, NULL), MMH_OK);
    appending->anew_bytes = 0;
    for (unsigned i = 0; i < SIGNATURES; i++) {
        struct stat info;
        mmh_change_options change = { .struct_size = sizeof change };
        mmh_error err = { 0 };
        if (mmh_sign(appending, at("pristine.mmh"), signers, 1, &change, &err) != MMH_OK)
            fail_msg("%s", err.message);
        assert_int_equal(stat(at("pristine.mmh"), &info), 0);
        ends[i + 1] = (size_t)info.st_size;
        assert_true(ends[i + 1] > ends[i]);
    }
    uint8_t *pristine = read_file(at("pristine.mmh"), &bytes), *data = malloc(bytes);
    assert_true(pristine && data && bytes == ends[SIGNATURES]);
    for (unsigned round = 0; round < 300; round++) {
        memcpy(data, pristine, bytes);
        size_t hurt_bytes = bytes;
        /* A byte here and there: at most one of what the last tail needs. */
        for (unsigned i = 0; i < SIGNATURES; i++)
            data[ends[i] - 1 - random_below(1200)] ^= 1;
        data[random_below(subject->end)] ^= 1;
        data[subject->end + random_below(ends[0] - subject->end)] ^= 1;
        size_t last = ends[SIGNATURES - 1];
        if (round % 3 == 0)
            data[last + random_below(bytes - last)] ^= 1;
        else if (round % 3 == 1)
            hurt_bytes -= random_below(256);
        write_file(at("hurt.mmh"), data, hurt_bytes);
        mmh_error err = { 0 };
        mmh_status status = mmh_repair(context, at("hurt.mmh"), NULL, NULL, &err);
        if (status != MMH_OK)
            fail_msg("round %u: %s", round, err.message);
        assert_true(file_is(at("hurt.mmh"), pristine, bytes));
    }
    /* Cut off with all its packets, nothing of the last one is left; the one before it serves. */
    write_file(at("hurt.mmh"), pristine, ends[SIGNATURES - 1] + 300);
    assert_int_equal(mmh_repair(context, at("hurt.mmh"), NULL, NULL, NULL), MMH_OK);
    assert_true(file_is(at("hurt.mmh"), pristine, ends[SIGNATURES - 1]));
    mmh_context_destroy(appending);
    mmh_key_destroy(key);
    free(data);
    free(pristine);
    subject_release(subject);
    free(subject);
}

/* Parity is given to a container that has none, or other, and its signed content stays the same. */
static void test_parity_is_given_to_a_container(void **state)
{
    (void)state;
    static const unsigned before[] = { 0, 300, 1000 };
    for (size_t i = 0; i < MMH_COUNT_OF(before); i++) {
        struct subject *subject = malloc(sizeof *subject), *wanted = malloc(sizeof *wanted);
        struct damaged damaged;
        uint64_t seed = random_state;
        mmh_repair_options options = { .struct_size = sizeof options, .add_parity = 1000 };
        mmh_error err = { 0 };
        assert_true(subject && wanted);
        subject_make(wanted, 60000, 1000, false);
        random_state = seed;
        subject_make(subject, 60000, before[i], false);
        damaged_begin(&damaged, subject);
        if (before[i])
            flip_bits(&damaged, 300, 301, 1);
        write_file(at("hurt.mmh"), damaged.data, damaged.bytes);
        if (mmh_repair(context, at("hurt.mmh"), &options, NULL, &err) != MMH_OK)
            fail_msg("%s", err.message);
        assert_true(file_is(at("hurt.mmh"), wanted->data, wanted->bytes));
        free(damaged.data);
        subject_release(subject);
        subject_release(wanted);
        free(subject);
        free(wanted);
    }
}

static int group_begin(void **state)
{
    mmh_context_options options = { .struct_size = sizeof options, .threads = 1 };
    return scratch_make(state) || mmh_context_create(&context, &options, NULL) != MMH_OK ? -1 : 0;
}

static int group_end(void **state)
{
    mmh_context_destroy(context);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repair_keeps_its_promise),
        cmocka_unit_test(test_any_one_burst_of_the_promised_length_is_made_good),
        cmocka_unit_test(test_a_repair_that_was_interrupted_is_completed),
        cmocka_unit_test(test_a_journal_of_another_container_is_refused),
        cmocka_unit_test(test_a_repair_without_memory_says_so_and_leaks_nothing),
        cmocka_unit_test(test_two_damaged_copies_make_one_whole),
        cmocka_unit_test(test_lost_chunks_are_made_of_the_original),
        cmocka_unit_test(test_skipped_damage_becomes_zeros_and_is_told),
        cmocka_unit_test(test_damaged_chunks_are_mended_in_memory),
        cmocka_unit_test(test_containers_open_without_footers_and_indexes),
        cmocka_unit_test(test_later_trailers_and_what_they_left_come_back),
        cmocka_unit_test(test_parity_is_given_to_a_container),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
