/*
 * mmh: AI model files made small, verifiable and quick to load, bit-exact.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * One header, one library (-lmmh). Every fallible function returns mmh_status and takes a last
 * `mmh_error *err` (may be NULL). Strings are UTF-8 (paths: bytes as the system has them).
 * Structs of options and reports begin with struct_size: set it to sizeof the struct (0 is
 * MMH_E_USAGE), zero the rest, and fill in what you need; a library newer than the header keeps its
 * defaults for what the struct lacks.
 * A context or reader is used by one thread at a time; several may live side by side.
 */
#ifndef MMH_H
#define MMH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MMH_VERSION_MAJOR 3
#define MMH_VERSION_MINOR 0
#define MMH_VERSION_PATCH 0
#define MMH_VERSION_STRING "3.0.0-draft"

#if defined(__GNUC__)
#define MMH_API __attribute__((visibility("default")))
#else
#define MMH_API
#endif

/* What the caller can do about it. */
typedef enum mmh_status {
    MMH_OK = 0,
    MMH_E_USAGE,       /* call it differently: an argument is wrong, the output exists */
    MMH_E_IO,          /* the system refused: message has path and reason */
    MMH_E_MEMORY,      /* out of memory */
    MMH_E_UNSUPPORTED, /* a newer version, an unknown codec, a part this build lacks */
    MMH_E_CORRUPT,     /* damaged: a check failed */
    MMH_E_UNTRUSTED,   /* a signature is missing, wrong or not trusted */
    MMH_E_KEY,         /* a key or passphrase is missing or wrong */
    MMH_E_LIMIT,       /* over a limit of the caller's (mmh_limits) */
    MMH_E_DEVICE,      /* a GPU or its driver */
    MMH_E_CANCELLED    /* the progress callback said stop */
} mmh_status;

/* Caller-owned; zero it before each call: what it says stays. Reporting never allocates. */
typedef struct mmh_error {
    mmh_status status;
    char message[512];
} mmh_error;

/* Memory from the caller. allocate: `alignment` is a power of two; NULL on failure. */
typedef struct mmh_allocator {
    void *(*allocate)(void *user, size_t alignment, size_t bytes);
    void (*release)(void *user, void *memory);
    void *user;
} mmh_allocator;

/* Element types. The numbers are on disk: never reused. */
typedef enum mmh_dtype {
    MMH_DTYPE_OPAQUE = 0, /* bytes of no known type */
    MMH_DTYPE_BOOL = 1,
    MMH_DTYPE_U8 = 2,
    MMH_DTYPE_I8 = 3,
    MMH_DTYPE_U16 = 4,
    MMH_DTYPE_I16 = 5,
    MMH_DTYPE_U32 = 6,
    MMH_DTYPE_I32 = 7,
    MMH_DTYPE_U64 = 8,
    MMH_DTYPE_I64 = 9,
    MMH_DTYPE_F16 = 10,
    MMH_DTYPE_BF16 = 11,
    MMH_DTYPE_F32 = 12,
    MMH_DTYPE_F64 = 13,
    MMH_DTYPE_F8_E4M3 = 14,
    MMH_DTYPE_F8_E5M2 = 15,
    MMH_DTYPE_F8_E8M0 = 16,
    MMH_DTYPE_F4 = 17,      /* two in a byte (e2m1) */
    MMH_DTYPE_F6_E2M3 = 18, /* four in three bytes */
    MMH_DTYPE_F6_E3M2 = 19,
    MMH_DTYPE_C64 = 20,  /* two F32 */
    MMH_DTYPE_C128 = 21, /* two F64 */
    MMH_DTYPE_F8_E4M3FNUZ = 22,
    MMH_DTYPE_F8_E5M2FNUZ = 23,
    MMH_DTYPE_I4 = 24, /* two in a byte */
    MMH_DTYPE_U4 = 25,
    MMH_DTYPE_I2 = 26, /* four in a byte */
    MMH_DTYPE_U2 = 27,
    /* Block types of ggml: a block of elements with its scales, mmh_dtype_block says how many. */
    MMH_DTYPE_Q4_0 = 28,
    MMH_DTYPE_Q4_1 = 29,
    MMH_DTYPE_Q5_0 = 30,
    MMH_DTYPE_Q5_1 = 31,
    MMH_DTYPE_Q8_0 = 32,
    MMH_DTYPE_Q8_1 = 33,
    MMH_DTYPE_Q2_K = 34,
    MMH_DTYPE_Q3_K = 35,
    MMH_DTYPE_Q4_K = 36,
    MMH_DTYPE_Q5_K = 37,
    MMH_DTYPE_Q6_K = 38,
    MMH_DTYPE_Q8_K = 39,
    MMH_DTYPE_IQ2_XXS = 40,
    MMH_DTYPE_IQ2_XS = 41,
    MMH_DTYPE_IQ2_S = 42,
    MMH_DTYPE_IQ3_XXS = 43,
    MMH_DTYPE_IQ3_S = 44,
    MMH_DTYPE_IQ1_S = 45,
    MMH_DTYPE_IQ1_M = 46,
    MMH_DTYPE_IQ4_NL = 47,
    MMH_DTYPE_IQ4_XS = 48,
    MMH_DTYPE_TQ1_0 = 49,
    MMH_DTYPE_TQ2_0 = 50,
    MMH_DTYPE_MXFP4 = 51,
    MMH_DTYPE_NVFP4 = 52,
    MMH_DTYPE_Q1_0 = 53,
    MMH_DTYPE_COUNT
} mmh_dtype;

/* ---- context ---- */

typedef struct mmh_context mmh_context;

/* Where a long call stands. Both byte counts are of original (unpacked) data. */
typedef struct mmh_progress {
    const char *stage; /* "pack", "unpack", "verify", "load": static */
    const char *name;  /* the file being worked on, or NULL */
    uint64_t done_bytes;
    uint64_t total_bytes;  /* 0 if not known */
    uint64_t stored_bytes; /* container bytes written or read so far */
} mmh_progress;

/* Called from the calling thread (some fifty times a second) or, while that one is busy, a worker; never
 * from two at once. Return false to stop: the call ends with MMH_E_CANCELLED and leaves no output. */
typedef bool (*mmh_progress_fn)(void *user, const mmh_progress *progress);

/* Refuse work beyond these; 0: the default. */
typedef struct mmh_limits {
    uint64_t index_bytes;  /* decoded index of a container; default 1 GiB */
    uint64_t output_bytes; /* all that one unpack or verify may decode; default: no limit */
} mmh_limits;

typedef struct mmh_context_options {
    size_t struct_size;
    unsigned threads;               /* 0: all processors */
    const mmh_allocator *allocator; /* NULL: the system's; must outlive the context */
    mmh_progress_fn progress;       /* NULL: none */
    void *progress_user;
    mmh_limits limits;
} mmh_context_options;

/* options NULL: all defaults. */
MMH_API mmh_status mmh_context_create(mmh_context **context, const mmh_context_options *options,
                                      mmh_error *err);
MMH_API void mmh_context_destroy(mmh_context *context);

MMH_API const char *mmh_version(void);
MMH_API const char *mmh_status_name(mmh_status status); /* "corrupt", ... */
MMH_API const char *mmh_dtype_text(mmh_dtype dtype);    /* "BF16", ...; "?" for none */
MMH_API unsigned mmh_dtype_bit_count(mmh_dtype dtype);  /* 16, ...; 0 for none and block types */
/* Elements in a block of a block type (GGUF's Q4_K: 256) and its bytes (144). 1 and the bytes of an
 * element for other types of whole bytes; 0 and 0 for the rest. */
MMH_API unsigned mmh_dtype_block(mmh_dtype dtype, unsigned *bytes);

/* Element type by name ("bf16", "BF16", "float32", ...); MMH_DTYPE_COUNT if there is none. */
MMH_API mmh_dtype mmh_dtype_parse(const char *name);

/*
 * Load a format plug-in (mmh_format.h): it is asked what a file is before any other format, in the
 * order of loading, by mmh_pack and mmh_open_original. It is code that runs in this process: load what
 * you trust. A path without '/' is a file of the current folder.
 *
 * Fails with MMH_E_UNSUPPORTED (the system cannot load it, or it is for another version of the
 * interface), MMH_E_USAGE (it is no plug-in), MMH_E_MEMORY.
 */
MMH_API mmh_status mmh_format_plugin_load(mmh_context *context, const char *path, mmh_error *err);

/*
 * Load all plug-ins of a folder, those of a name that ends in .so or .dylib: they are asked about files
 * that no other format takes. A folder that is not there has none. Those that fail are passed over,
 * err has the first. A folder or file that every user may write to is MMH_E_USAGE, and so is a folder
 * whose path is not absolute.
 */
MMH_API mmh_status mmh_format_plugin_load_folder(mmh_context *context, const char *folder,
                                                 mmh_error *err);

/* ---- inputs and outputs that are no files ---- */

/*
 * Bytes that the caller reads for the library: of memory, of a file object, of a server.
 *
 * The struct and its name are copied. What `user` points to must outlive the call that takes it, or the
 * reader that it opens. A callback must not call the library with the same context or reader.
 */
typedef struct mmh_source {
    size_t struct_size;
    const char *name; /* for messages; of what is packed: its name in the container, relative, '/'
                       * between parts */
    uint64_t bytes;   /* as long as it is open */
    /*
     * Read exactly destination[bytes] from `offset`; the range lies within the source. By several
     * threads at once, the calling one and those of the context. Any other status than MMH_OK ends the
     * call with that status and with the message in err (never NULL; empty: the library says what could
     * not be read). MMH_E_CANCELLED will do for an interrupt.
     */
    mmh_status (*read)(void *user, uint64_t offset, void *destination, size_t bytes,
                       mmh_error *err);
    void *user;
} mmh_source;

/* Bytes that the caller writes for the library. What `user` points to must outlive the call. */
typedef struct mmh_sink {
    size_t struct_size;
    const char *name; /* for messages */
    /* Append all of data[bytes]: in order, from one thread at a time, which need not be the same one.
     * Failures as with mmh_source: what was written until then is the caller's to drop. */
    mmh_status (*write)(void *user, const void *data, size_t bytes, mmh_error *err);
    void *user;
} mmh_sink;

/* ---- keys ---- */

/*
 * An identity: a key to sign with, one to decrypt with, or both; public or private. docs/security.md
 * says what is in its files.
 */
typedef struct mmh_key mmh_key;

/*
 * Asked when a passphrase is wanted. Write at most `room` bytes, *bytes says how many; they are wiped
 * after use. Return MMH_E_KEY if there is none to be had.
 *
 *   why  for people: "passphrase of alice.key"
 */
typedef mmh_status (*mmh_passphrase_fn)(void *user, const char *why, char *passphrase, size_t room,
                                        size_t *bytes, mmh_error *err);

/*
 * Make a private key. Names are those of mmh_algorithm; several, at most one that signs and one that
 * encrypts, are divided by ','. NULL: "ml-dsa-65-ed25519,x-wing".
 *
 *   rsa_bits  for rsa-pss and rsa-oaep; 0: 3072
 */
MMH_API mmh_status mmh_key_generate(mmh_key **key, const char *algorithms, unsigned rsa_bits,
                                    mmh_error *err);

/* Read a file of keys: PEM of our own, of OpenSSL's and others', or age's strings. passphrase may be
 * NULL. Fails with MMH_E_KEY, MMH_E_IO. */
MMH_API mmh_status mmh_key_read(mmh_key **key, const char *path, mmh_passphrase_fn passphrase,
                                void *user, mmh_error *err);

/* The same from memory: a file's content, or "age1...". `name`: for messages. */
MMH_API mmh_status mmh_key_parse(mmh_key **key, const void *text, size_t bytes, const char *name,
                                 mmh_passphrase_fn passphrase, void *user, mmh_error *err);

/*
 * Write it to a file of mode 0600 (secret) or 0644.
 *
 *   passphrase  [passphrase_bytes] for secret ones; NULL: in the clear
 *
 * MMH_E_USAGE if `path` exists, without overwrite, or if a secret key is wanted of a public one.
 */
MMH_API mmh_status mmh_key_write(const mmh_key *key, const char *path, bool secret,
                                 const char *passphrase, size_t passphrase_bytes, bool overwrite,
                                 mmh_error *err);
MMH_API void mmh_key_destroy(mmh_key *key); /* wipes; may be NULL */

/* One algorithm of a key. Pointers live as long as the key. */
typedef struct mmh_key_info {
    size_t struct_size;
    const char *algorithm; /* "ml-dsa-65-ed25519" */
    bool signs;            /* else it decrypts */
    bool secret;
    bool classical, post_quantum; /* what it rests on; both: a hybrid */
    unsigned nist_category;       /* 1..5; 0: falls to a quantum computer */
    unsigned bits;                /* of RSA; else 0 */
    uint8_t fingerprint[32];
} mmh_key_info;

/* Part number `number` of a key, or MMH_E_USAGE past the last. */
MMH_API mmh_status mmh_key_part(const mmh_key *key, size_t number, mmh_key_info *info,
                                mmh_error *err);

/* Algorithms that this build knows, number 0 and on; MMH_E_USAGE past the last. Of `info` algorithm,
 * signs, classical, post_quantum and nist_category are set. */
MMH_API mmh_status mmh_algorithm(size_t number, mmh_key_info *info, mmh_error *err);

/*
 * Keys that the context's calls may decrypt with; the context keeps them, they are not to be destroyed
 * before it. The passphrase is asked for containers with such a recipient that no key opens.
 */
MMH_API mmh_status mmh_context_add_key(mmh_context *context, const mmh_key *key, mmh_error *err);
MMH_API void mmh_context_set_passphrase(mmh_context *context, mmh_passphrase_fn passphrase,
                                        void *user);

/* ---- signatures that are required ---- */

typedef struct mmh_trust {
    size_t struct_size;
    const mmh_key *const *signers; /* [signer_count] public keys that are believed */
    size_t signer_count;
    bool all;                   /* each of them must have signed; else one will do */
    bool hybrid;                /* a signature counts only if classical and post-quantum */
    bool post_quantum;          /* ... if post-quantum */
    unsigned min_category;      /* ... if of this NIST category at least; 0: any */
    uint64_t min_counter;       /* ... if its counter is this or higher: no older version */
    const char *signature_file; /* detached signatures beside those in the trailer; NULL: none */
    /* Signers to believe until a time: [signer_count] seconds since 1970, 0: always. NULL: always. */
    const uint64_t *expires;
} mmh_trust;

/*
 * From now on every container that the context opens must be signed so: unpack, verify, open and all
 * that is loaded. MMH_E_UNTRUSTED otherwise, before anything of it is used. What is read later is checked against
 * the signed root chunk by chunk. NULL: no longer. The keys must outlive the context.
 */
MMH_API mmh_status mmh_context_require(mmh_context *context, const mmh_trust *trust,
                                       mmh_error *err);

/* ---- pack ---- */

/* What was odd about an original file or was left out of its tensors, for people: its bytes are
 * packed all the same. Strings live as long as the call that tells. */
typedef struct mmh_remarks {
    const char *name; /* of the file, as the container has it */
    const char *const *texts;
    size_t text_count; /* at most 16 */
    uint64_t count;    /* all of them: those beyond are only counted */
} mmh_remarks;

/* Called for each file that has remarks, in the order of names, from the calling thread. */
typedef void (*mmh_remarks_fn)(void *user, const mmh_remarks *remarks);

typedef struct mmh_pack_options {
    size_t struct_size;
    int level;                 /* 1..9; 0: the default, 5 */
    bool overwrite;            /* replace an existing output */
    bool alone;                /* a shard index by itself, without the files it refers to */
    bool skip_check;           /* do not decode each chunk after encoding it */
    bool keep_times;           /* store modification times */
    bool sha256;               /* hash suite: SHA-256; else BLAKE3, or what the build has */
    mmh_dtype raw_dtype;       /* not MMH_DTYPE_OPAQUE: inputs are raw arrays of this type */
    const uint64_t *raw_shape; /* with raw_dtype; NULL: one dimension, all that fits */
    size_t raw_dimensions;
    bool blake3; /* BLAKE3, and no other: MMH_E_UNSUPPORTED if the build has none */
    /* Path of a layout file (docs/formats-custom.md) that says where the tensors of the inputs are, or
     * of the one that it names; NULL: none. What is wrong with it is MMH_E_USAGE. */
    const char *layout;
    mmh_remarks_fn remarks; /* called by mmh_pack when all is written; NULL: the report counts */
    void *remarks_user;
    bool sha384; /* hash suite: SHA-384 */
    /* Encryption, to each of these; with none and no passphrase there is none. */
    const mmh_key *const *recipients;
    size_t recipient_count;
    const char *passphrase; /* [passphrase_bytes] a recipient of its own; NULL: none */
    size_t passphrase_bytes;
    const char
        *aead; /* "aes-256-gcm", "chacha20-poly1305"; NULL: what this processor does faster */
    const mmh_key *const *signers; /* private keys: each part of each that signs, does */
    size_t signer_count;
    uint64_t counter;      /* of the signatures; 0: none */
    uint64_t time_seconds; /* that they state; 0: none */
    /* Parity, in hundredths of a percent of what it protects: 500 is 5 %. 0: none. The output must be
     * seekable (else MMH_E_USAGE). */
    unsigned parity;
} mmh_pack_options;

/* What pack did. Times are CPU time summed over the threads. */
typedef struct mmh_pack_report {
    size_t struct_size;
    uint64_t original_bytes;
    uint64_t stored_bytes; /* size of the container */
    uint64_t floor_bytes;  /* order-0 entropy of exponents and integers, rest as is */
    uint64_t file_count;
    uint64_t tensor_count;
    uint64_t chunk_count;   /* chunks stored */
    uint64_t shared_chunks; /* chunks that were equal to a stored one */
    uint64_t shared_bytes;  /* their original bytes */
    uint64_t read_ns, plan_ns, encode_ns, check_ns, hash_ns, write_ns, sync_ns;
    uint64_t wall_ns;
    uint64_t followed_links; /* symlinks out of a folder: packed as the files they point to */
    uint64_t odd_names;      /* that unpack refuses without any_names */
    char odd_name[256];      /* one of them, and why: text for people; empty: none */
    uint64_t remark_count;   /* of all files */
    uint64_t seal_ns, sign_ns, parity_ns;
    uint64_t parity_bytes; /* of the recovery area */
    uint8_t root[48];      /* Merkle root: the container's identity, [root_bytes] */
    size_t root_bytes;
} mmh_pack_report;

/*
 * Pack files and folders into one container.
 *
 *   inputs   [input_count] paths; a shard index brings its shards; a folder all that is in it
 *   output   path; written under a temporary name in the same folder, synced, then renamed
 *
 * Fails with MMH_E_USAGE if output exists (without overwrite), MMH_E_IO, MMH_E_MEMORY,
 * MMH_E_CANCELLED; nothing is left behind then.
 */
MMH_API mmh_status mmh_pack(mmh_context *context, const char *const *inputs, size_t input_count,
                            const char *output, const mmh_pack_options *options,
                            mmh_pack_report *report, mmh_error *err);

/* The same, as a stream, to an open descriptor (a pipe will do). */
MMH_API mmh_status mmh_pack_to_descriptor(mmh_context *context, const char *const *inputs,
                                          size_t input_count, int descriptor,
                                          const mmh_pack_options *options, mmh_pack_report *report,
                                          mmh_error *err);

/*
 * The same of files that are sources: the container is the one that mmh_pack makes of regular files of
 * these names and of mode 0644. They are packed as they are given: a shard index brings nothing with it,
 * and formats find files beside a file (a config.json) among the sources alone.
 *
 *   sources  [source_count] in any order; bytes of them are read more than once
 *   output   path, as for mmh_pack; or NULL, and the container is appended to
 *   sink     as a stream: there can be no parity then
 *
 * Fails as mmh_pack does and with what sources and the sink fail with; with MMH_E_USAGE unless there is
 * one of output and sink, and if a name is absolute, has empty parts, "." or "..", comes twice, or names
 * a folder of another one.
 */
MMH_API mmh_status mmh_pack_sources(mmh_context *context, const mmh_source *sources,
                                    size_t source_count, const char *output, const mmh_sink *sink,
                                    const mmh_pack_options *options, mmh_pack_report *report,
                                    mmh_error *err);

/* ---- unpack and verify ---- */

/* What was wrong with a container that could be read all the same. */
enum {
    MMH_MENDED_HEADER = 1,    /* the header was restored from its copy */
    MMH_MENDED_INDEX = 2,     /* pages of the index were restored from the second index */
    MMH_MENDED_FOOTER = 4,    /* the last footer was lost; the spare one was found */
    MMH_MENDED_CHUNKS = 8,    /* chunks were restored from parity */
    MMH_SPARE_DAMAGED = 16,   /* only a spare copy is damaged: nothing had to be mended */
    MMH_PADDING_DAMAGED = 32, /* only bytes between chunks, which mean nothing; verify looks */
    MMH_TRAILER_DAMAGED =
        64 /* recipients, signatures or parity, which content does not need; verify looks */
};

/* Bytes of an original file that cannot be had. Strings live as long as the call that tells. */
typedef struct mmh_damage {
    uint64_t file;      /* its number; UINT64_MAX: no file needs the damaged chunk */
    const char *name;   /* its name, or NULL */
    const char *tensor; /* NULL: a range of the file; else the part of that range in this tensor */
    uint64_t offset, bytes;
    bool unsearched; /* of a range: which tensors it hits was too much to look for */
} mmh_damage;

typedef struct mmh_unpack_options {
    size_t struct_size;
    bool overwrite;
    bool as_file;      /* destination names the file itself (one file in the container) */
    bool sync;         /* fsync what was written (pack always does) */
    bool skip_digests; /* do not compare each file's content digest before it is named */
    bool any_names;    /* names too that some systems take for devices, or for each other */
    /* Restore what can be had: bytes of damaged chunks become zeros, `damage` is told of them, and the
     * call ends with MMH_E_CORRUPT all the same, its files in place. */
    bool skip_damaged;
    void (*damage)(void *user, const mmh_damage *damage);
    void *damage_user;
} mmh_unpack_options;

typedef struct mmh_unpack_report {
    size_t struct_size;
    uint64_t original_bytes, stored_bytes;
    uint64_t file_count, chunk_count;
    unsigned mended; /* MMH_MENDED_... */
    uint64_t read_ns, hash_ns, decode_ns, write_ns, sync_ns;
    uint64_t wall_ns;
    uint64_t damaged_chunks; /* verify: places in files whose chunk cannot be had */
    uint64_t damaged_bytes;  /* of the original files */
    uint64_t open_ns, unseal_ns;
    uint64_t mended_chunks; /* restored from parity in memory */
    bool encrypted;         /* the container is */
} mmh_unpack_report;

/*
 * Restore everything. destination: a folder (made if missing), or with as_file the new file's
 * path. Files get their names when all are complete and checked; what a failed call has made is
 * gone then, and what it has replaced is back. Fails with MMH_E_LIMIT over limits.output_bytes, and
 * with MMH_E_IO before anything is written if the file system has less room than that takes.
 */
MMH_API mmh_status mmh_unpack(mmh_context *context, const char *container, const char *destination,
                              const mmh_unpack_options *options, mmh_unpack_report *report,
                              mmh_error *err);

/* Restore the only file of a container to a descriptor (a pipe will do). */
MMH_API mmh_status mmh_unpack_to_descriptor(mmh_context *context, const char *container,
                                            int descriptor, const mmh_unpack_options *options,
                                            mmh_unpack_report *report, mmh_error *err);

/* The same to a sink. */
MMH_API mmh_status mmh_unpack_to_sink(mmh_context *context, const char *container,
                                      const mmh_sink *sink, const mmh_unpack_options *options,
                                      mmh_unpack_report *report, mmh_error *err);

/* Called for each damaged range, in file order, and after it for each tensor that it hits; from the
 * calling thread or a worker, never from two at once. */
typedef void (*mmh_damage_fn)(void *user, const mmh_damage *damage);

/* What verify checks, from the outside in. */
typedef enum mmh_layer_id {
    MMH_LAYER_STRUCTURE, /* header, footers, sections */
    MMH_LAYER_CHUNKS,    /* each stored chunk by its hash */
    MMH_LAYER_MERKLE,    /* chunk list and pages up to the root */
    MMH_LAYER_AEAD,      /* tags of chunks and pages, MAC of the recipients */
    MMH_LAYER_SIGNATURE, /* as mmh_context_require has it */
    MMH_LAYER_DECODE,    /* every chunk decodes */
    MMH_LAYER_DIGEST,    /* of every file */
    MMH_LAYER_PARITY,    /* blocks and parity of the recovery area */
    MMH_LAYER_COUNT
} mmh_layer_id;

typedef struct mmh_layer {
    mmh_layer_id id;
    const char *name; /* "structure", ... */
    enum {
        MMH_LAYER_RIGHT,
        MMH_LAYER_WRONG,
        MMH_LAYER_ABSENT, /* the container has no such thing */
        MMH_LAYER_SKIPPED /* not looked at: no key, or --quick */
    } result;
    uint64_t count;   /* of what was checked: chunks, pages, signatures, files */
    const char *text; /* more, for people; "" if there is nothing to say */
} mmh_layer;

typedef void (*mmh_layer_fn)(void *user, const mmh_layer *layer);

typedef struct mmh_verify_options {
    size_t struct_size;
    bool quick;           /* stored bytes only: structure and hashes, nothing is decoded */
    mmh_damage_fn damage; /* NULL: the report counts */
    void *damage_user;
    mmh_layer_fn layer; /* told of each layer when it is done; NULL: nobody */
    void *layer_user;
} mmh_verify_options;

/*
 * Check every byte: structure, chunk hashes, that every chunk decodes, and every file's content
 * digest. Damaged chunks do not end it: all are found, err has the first, and counts more than a read
 * error that ends it, or chunks of unknown kinds. Never mends: damage that
 * unpack could mend is MMH_E_CORRUPT here, with report->mended saying what would be restored from
 * where.
 */
MMH_API mmh_status mmh_verify(mmh_context *context, const char *container,
                              const mmh_verify_options *options, mmh_unpack_report *report,
                              mmh_error *err);

/* ---- change what guards a container ---- */

/* How a container is changed: in place (appended to, crash-safe) or to a new file. */
typedef struct mmh_change_options {
    size_t struct_size;
    const char *output;             /* NULL: in place */
    bool overwrite;                 /* replace `output` */
    const char *aead;               /* of a new file key; NULL: what this processor does faster */
    uint64_t counter, time_seconds; /* of signatures */
    const char
        *detached;   /* mmh_sign: write the signatures to this file, the container stays as it is */
    unsigned parity; /* as for pack; 0: as the container has it */
    bool remove;     /* mmh_sign: drop the signatures that there are */
} mmh_change_options;

/* Sign with each part that signs of each key; signatures that there are by other keys stay. */
MMH_API mmh_status mmh_sign(mmh_context *context, const char *container,
                            const mmh_key *const *signers, size_t signer_count,
                            const mmh_change_options *options, mmh_error *err);

/* Encrypt a container, or encrypt it anew under another file key (--rekey), without coding its weights
 * again. Its signatures are of another root and go. */
MMH_API mmh_status mmh_encrypt(mmh_context *context, const char *container,
                               const mmh_key *const *recipients, size_t recipient_count,
                               const char *passphrase, size_t passphrase_bytes,
                               const mmh_change_options *options, mmh_error *err);

/* Let more recipients in: the file key is wrapped for them too, nothing else changes, signatures stay.
 * One that is taken out later still knows it: only mmh_encrypt shuts it out of future copies. */
MMH_API mmh_status mmh_add_recipients(mmh_context *context, const char *container,
                                      const mmh_key *const *recipients, size_t recipient_count,
                                      const char *passphrase, size_t passphrase_bytes,
                                      const mmh_change_options *options, mmh_error *err);

/* The container without its encryption. Signatures go. */
MMH_API mmh_status mmh_decrypt(mmh_context *context, const char *container,
                               const mmh_change_options *options, mmh_error *err);

/* What guards a container: for info and audits. Needs no key. Pointers live as long as the security. */
typedef struct mmh_security mmh_security;

typedef struct mmh_security_info {
    size_t struct_size;
    bool encrypted;
    const char *aead, *hash_suite;
    size_t recipient_count, signature_count;
    unsigned parity; /* hundredths of a percent; 0: none */
    uint64_t parity_bytes;
    uint8_t root[48];
    size_t root_bytes;
} mmh_security_info;

typedef struct mmh_recipient_info {
    size_t struct_size;
    const char *algorithm; /* "x-wing", "passphrase", "unknown" */
    bool classical, post_quantum;
    unsigned nist_category;
} mmh_recipient_info;

typedef struct mmh_signature_info {
    size_t struct_size;
    const char *algorithm;
    bool classical, post_quantum;
    unsigned nist_category;
    uint8_t fingerprint[32]; /* of the key, as it says itself */
    uint64_t counter, time_seconds;
    bool of_this_root; /* it is about this container at all */
    enum {
        MMH_SIGNATURE_UNCHECKED,
        MMH_SIGNATURE_RIGHT,
        MMH_SIGNATURE_WRONG
    } result; /* by `signers` */
} mmh_signature_info;

/* signers: keys to check signatures with; may be NULL. signature_file: detached ones too; may be NULL. */
MMH_API mmh_status mmh_security_open(mmh_context *context, const char *container,
                                     const mmh_key *const *signers, size_t signer_count,
                                     const char *signature_file, mmh_security **security,
                                     mmh_error *err);
MMH_API void mmh_security_close(mmh_security *security);
MMH_API mmh_status mmh_security_get(const mmh_security *security, mmh_security_info *info,
                                    mmh_error *err);
MMH_API mmh_status mmh_security_recipient(const mmh_security *security, size_t number,
                                          mmh_recipient_info *info, mmh_error *err);
MMH_API mmh_status mmh_security_signature(const mmh_security *security, size_t number,
                                          mmh_signature_info *info, mmh_error *err);

/* ---- repair ---- */

typedef struct mmh_repair_options {
    size_t struct_size;
    const char *output; /* a new file; NULL: in place, by way of a journal beside it */
    bool overwrite;
    const char *const
        *sources;         /* [source_count] other copies of the container, damaged ones too, or */
    size_t source_count;  /* original model files */
    mmh_damage_fn damage; /* told of what stays lost; NULL: nobody */
    void *damage_user;
    unsigned
        add_parity; /* give the container parity (again); hundredths of a percent; 0: as it is */
} mmh_repair_options;

typedef struct mmh_repair_report {
    size_t struct_size;
    uint64_t damaged_blocks,
        restored_blocks; /* of parity's blocks, or of chunks where there is none */
    uint64_t damaged_chunks, restored_chunks;
    uint64_t bytes_written;
    uint64_t from_parity, from_sources; /* chunks */
    unsigned mended;                    /* MMH_MENDED_... what else was made good */
    bool replayed;                      /* an interrupted repair was completed first */
    uint64_t wall_ns;
} mmh_repair_report;

/*
 * Restore a damaged container to what it was, byte for byte. MMH_OK: nothing is damaged now
 * (report->damaged_... says whether anything was). MMH_E_CORRUPT: something stays lost; what could be
 * restored was (in place, or in `output` if any of its content can be had).
 */
MMH_API mmh_status mmh_repair(mmh_context *context, const char *container,
                              const mmh_repair_options *options, mmh_repair_report *report,
                              mmh_error *err);

/* ---- look inside, load ---- */

typedef struct mmh_reader mmh_reader;

typedef enum mmh_file_kind {
    MMH_FILE_REGULAR = 0,
    MMH_FILE_FOLDER = 1,
    MMH_FILE_SYMLINK = 2
} mmh_file_kind;

/* Pointers in these live as long as the reader. */
typedef struct mmh_file_info {
    size_t struct_size;
    const char *name; /* relative, '/' between parts */
    mmh_file_kind kind;
    uint32_t mode; /* permission bits */
    uint64_t bytes;
    const char *format;      /* "safetensors", "npy", "raw", "opaque" */
    const char *link_target; /* of a symlink */
    const uint8_t *digest;   /* [digest_bytes] content digest, docs/format.md section 3 */
    size_t digest_bytes;
    uint64_t tensor_count;
    uint64_t stored_bytes; /* chunks it refers to, shared ones counted in full */
    uint64_t remark_count; /* of an original file: mmh_remark has at most the first 16 */
} mmh_file_info;

typedef struct mmh_tensor_info {
    size_t struct_size;
    const char *name;
    mmh_dtype dtype;
    bool big_endian;   /* as in the original file; loads give it in host order */
    bool column_major; /* Fortran order */
    uint32_t dimensions;
    const uint64_t *shape;
    uint64_t bytes; /* in the file, from its first to its last element */
    uint64_t file;  /* index of its file */
    uint64_t file_offset;
    uint64_t stored_bytes; /* share of the chunks that hold it */
    /* [dimensions] in elements, where they do not lie one after another (PyTorch's views); else
     * NULL. mmh_load gives such a tensor's bytes as they lie. */
    const uint64_t *strides;
} mmh_tensor_info;

/*
 * Bytes by codec or by element type, for `info`. By element type they are those of the tensors:
 * bytes of several count once, a chunk's stored bytes and floor are shared out by original bytes (it
 * counts as a chunk of each type that it holds), and "OPAQUE" is what no tensor has. The sums are the
 * container's. Without any tensor the types are those that the bytes were coded as.
 */
typedef struct mmh_usage {
    const char *name;
    uint64_t original_bytes, stored_bytes, floor_bytes, chunk_count;
} mmh_usage;

typedef struct mmh_container_info {
    size_t struct_size;
    uint32_t format_major, format_minor;
    const char *hash_suite; /* "blake3", "sha256" */
    const char *writer;     /* library that wrote it */
    int level;
    uint64_t container_bytes, original_bytes, index_bytes, floor_bytes;
    uint64_t file_count, tensor_count, block_count, chunk_count;
    uint8_t root[32]; /* Merkle root, its first 32 bytes: the container's identity */
    unsigned mended;
    const mmh_usage *by_dtype;
    size_t by_dtype_count;
    const mmh_usage *by_codec;
    size_t by_codec_count;
    bool encrypted;
    uint8_t whole_root[48]; /* [root_bytes] */
    size_t root_bytes;
} mmh_container_info;

/* Open a container: the index is read and checked, no chunk is. */
MMH_API mmh_status mmh_open(mmh_context *context, const char *container, mmh_reader **reader,
                            mmh_error *err);
MMH_API void mmh_close(mmh_reader *reader);

/*
 * Open a container that is a source. Opening takes a few reads, whatever there is in it: of its end, its
 * first bytes, and its index. Loads read chunks that follow each other at once, some megabytes at a
 * time, by all threads; a failure of the source is the load's, parity mends only what was read wrong.
 */
MMH_API mmh_status mmh_open_source(mmh_context *context, const mmh_source *source,
                                   mmh_reader **reader, mmh_error *err);

/*
 * Open original files instead: a model file, a shard index with its shards, or a folder, whose
 * tensors are found as mmh_pack would. Everything below works on such a reader too; stored_bytes
 * are then the bytes themselves, there are no digests (digest_bytes 0), and mmh_container knows
 * counts and original_bytes only. A file that changes meanwhile is MMH_E_IO.
 *
 *   options  alone, raw_... and layout are looked at; NULL: none
 */
MMH_API mmh_status mmh_open_original(mmh_context *context, const char *path,
                                     const mmh_pack_options *options, mmh_reader **reader,
                                     mmh_error *err);

/* The same of files that are sources, [source_count] as for mmh_pack_sources. */
MMH_API mmh_status mmh_open_original_source(mmh_context *context, const mmh_source *sources,
                                            size_t source_count, const mmh_pack_options *options,
                                            mmh_reader **reader, mmh_error *err);

MMH_API mmh_status mmh_container(mmh_reader *reader, mmh_container_info *info, mmh_error *err);
MMH_API mmh_status mmh_file(mmh_reader *reader, uint64_t file, mmh_file_info *info, mmh_error *err);
MMH_API mmh_status mmh_tensor(mmh_reader *reader, uint64_t tensor, mmh_tensor_info *info,
                              mmh_error *err);

/* Index of the tensor called `name` (the first, if several files have one; "file:name" to say
 * which). Fails with MMH_E_USAGE if there is none. */
MMH_API mmh_status mmh_find(mmh_reader *reader, const char *name, uint64_t *tensor, mmh_error *err);

/* Metadata entry of a file (safetensors __metadata__): key and value number `entry`, or
 * MMH_E_USAGE past the end. */
MMH_API mmh_status mmh_metadata(mmh_reader *reader, uint64_t file, uint64_t entry, const char **key,
                                const char **value, mmh_error *err);

/* Remark number `number` about an original file, as mmh_remarks has them: a text that lives as long as
 * the reader, or MMH_E_USAGE past the end. Containers keep none. */
MMH_API mmh_status mmh_remark(mmh_reader *reader, uint64_t file, uint64_t number, const char **text,
                              mmh_error *err);

/*
 * Load a tensor, checked and decoded, in host byte order.
 *   destination  [destination_bytes >= info.bytes]
 */
MMH_API mmh_status mmh_load(mmh_reader *reader, uint64_t tensor, void *destination,
                            size_t destination_bytes, mmh_error *err);

/* A tensor and the memory that it is to be loaded into, [destination_bytes >= info.bytes]. */
typedef struct mmh_load_request {
    uint64_t tensor;
    void *destination;
    size_t destination_bytes;
} mmh_load_request;

/*
 * Load several tensors, by all threads: each chunk is read, checked and decoded once, however many
 * tensors share it, in the order in which the container keeps them. Requests may come in any
 * order, but no destinations may overlap (MMH_E_USAGE). What a failed call has written is
 * unspecified.
 */
MMH_API mmh_status mmh_load_many(mmh_reader *reader, const mmh_load_request *requests, size_t count,
                                 mmh_error *err);

/*
 * Load a slice: for each dimension d the elements begin[d] <= i < end[d], packed densely,
 * row-major in the stored order. Only the chunks that hold them are read. Element types of
 * whole bytes only, and of block types whole rows (MMH_E_UNSUPPORTED otherwise).
 */
MMH_API mmh_status mmh_load_slice(mmh_reader *reader, uint64_t tensor, const uint64_t *begin,
                                  const uint64_t *end, void *destination, size_t destination_bytes,
                                  mmh_error *err);

/* Load bytes [offset, offset + bytes) of an original file. */
MMH_API mmh_status mmh_read(mmh_reader *reader, uint64_t file, uint64_t offset, void *destination,
                            size_t bytes, mmh_error *err);

/* ---- values, differences ---- */

/* Numbers in an element: 2 for complex types, 0 for what is no element type, else 1. */
MMH_API unsigned mmh_dtype_values(mmh_dtype dtype);

/*
 * Elements as doubles: exact for all types but 64-bit integers beyond 2^53. Opaque bytes and bools
 * count as U8; of two elements in a byte the first is in the low bits.
 *
 *   destination  [count * mmh_dtype_values(dtype)]
 *   source       [source_bytes] elements as mmh_load gives them; `first` is where to begin
 *
 * Fails with MMH_E_USAGE if source does not hold elements [first, first + count).
 */
MMH_API mmh_status mmh_values(double *destination, const void *source, size_t source_bytes,
                              mmh_dtype dtype, uint64_t first, size_t count, mmh_error *err);

/* How two tensors of one shape differ. Distances are of the numbers in the elements; of block types
 * blocks are counted instead of elements, and have no distance. */
typedef struct mmh_difference {
    size_t struct_size;
    uint64_t element_count;
    uint64_t differing;     /* elements: their bits differ; of different types: their values, as
                                 doubles (mmh_values) */
    uint64_t unmeasured;    /* of these: one of the two is NaN or infinite; in no distance below */
    double max_absolute;    /* largest |second - first| */
    uint64_t max_element;   /* where: index of the element, in the order of the shape as stored */
    double max_relative;    /* largest |second - first| / |first|; infinite where first is 0 */
    double difference_norm; /* Euclidean norm of second - first ... */
    double first_norm;      /* ... and of first, over what is finite */
} mmh_difference;

/*
 * Compare two tensors, each of any reader (both of one context), in bounded memory. Tensors that
 * two containers store as the same chunks are equal without being read.
 *
 * Fails with MMH_E_USAGE if shape or order of dimensions differ, if one is complex and one not, or if
 * one is of a block type and the other of another type.
 */
MMH_API mmh_status mmh_compare(mmh_reader *first, uint64_t first_tensor, mmh_reader *second,
                               uint64_t second_tensor, mmh_difference *difference, mmh_error *err);

/*
 * Compare two files byte by byte. *equal: whether they are the same; if not, *offset (may be
 * NULL) is the first byte that differs, or the shorter one's length. Equal digests and equal
 * chunks are believed unread.
 */
MMH_API mmh_status mmh_compare_files(mmh_reader *first, uint64_t first_file, mmh_reader *second,
                                     uint64_t second_file, bool *equal, uint64_t *offset,
                                     mmh_error *err);

#ifdef __cplusplus
}
#endif
#endif
