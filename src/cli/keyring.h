/*
 * The keys of one call: read before its verb begins, and kept until its context is gone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KEYRING_H
#define MMH_KEYRING_H

#include "cli/cli.h"

struct mmh_key_list {
    const mmh_key **keys; /* [count] */
    size_t count;
};

struct mmh_keyring {
    struct mmh_key_list recipients; /* of -r or --add-recipient */
    struct mmh_key_list signers;    /* private: of --sign-with; of sign's --key */
    struct mmh_key_list trusted;    /* public: of --signer, and with --trusted of the trust store */
    size_t opener_count;            /* private keys that the context may open containers with */
    uint64_t *expires;              /* [trusted.count] seconds since 1970; 0: never */
    const char *passphrase;         /* [passphrase_bytes] a new one; NULL: none */
    size_t passphrase_bytes;
    mmh_key **owned; /* [owned_count] all but those of the store */
    size_t owned_count;
    mmh_store *store; /* NULL: it was not needed */
};

/*
 * Read what the options name, and tell the context: what it may open containers with, and whose
 * signatures it is to ask for. Returns MMH_EXIT_OK, or the exit code after telling what is wrong; the
 * keyring is to be closed either way, after the context.
 */
int mmh_keyring_open(struct mmh_keyring *keyring, struct mmh_cli_options *options,
                     mmh_context *context);
void mmh_keyring_close(struct mmh_keyring *keyring);

/* What the options require of signatures. */
mmh_trust mmh_keyring_trust(const struct mmh_cli_options *options);

/*
 * --require=newest: refuse a container that is an older version than one that was seen under this name,
 * by the counters of its signatures; remember the one that it has. MMH_EXIT_OK, also without that option.
 */
int mmh_keyring_check_newest(const struct mmh_cli_options *options, mmh_context *context,
                             const char *path, const char *shown);

/* The folder of the trust store, to be freed: $MMH_TRUST, or mmh/trust in the user's configuration.
 * NULL: there is no such place. */
char *mmh_cli_store_folder(void);

/* Read one key: a file, "age1...", or a name of the trust store (*expires_seconds, otherwise 0; NULL: none
 * of those are meant). The keyring keeps it. NULL after telling why not (*exit_code). */
const mmh_key *mmh_keyring_read(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                                const char *text, uint64_t *expires_seconds, int *exit_code);

/* Parts of a key that sign (or decrypt), private ones (or any). */
size_t mmh_cli_key_parts(const mmh_key *key, bool signs, bool secret);

/* With --profile: refuse what it does not allow of the keys, the hash and the AEAD that are named. */
int mmh_keyring_check_profile(const struct mmh_cli_options *options);

/* How many recipients and signatures a container written with it has. */
size_t mmh_keyring_recipients(const struct mmh_keyring *keyring);
size_t mmh_keyring_signatures(const struct mmh_keyring *keyring);

/* What signatures are to say of time: now, or 0 with --no-time. */
uint64_t mmh_keyring_time(const struct mmh_cli_options *options);

/* "hybrid, NIST category 3", for people. */
struct mmh_human mmh_cli_strength_text(bool classical, bool post_quantum, unsigned nist_category);

/* "algorithm", "classical", "post_quantum", "nist_category" of what an object is about. */
void mmh_cli_strength_json(struct mmh_json_out *out, const char *algorithm, bool classical,
                           bool post_quantum, unsigned nist_category);

/* The parts of a key: lines on standard output, or "keys": [...]. */
void mmh_cli_key_print(const mmh_key *key);
void mmh_cli_key_json(struct mmh_json_out *out, const mmh_key *key);

#endif
