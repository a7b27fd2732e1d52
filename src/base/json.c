/*
 * JSON pull parser: a state and one bit for each open container, no recursion.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/json.h"

#include <string.h>

enum state {
    WANT_VALUE,        /* a value must come */
    WANT_VALUE_OR_END, /* after [ */
    WANT_KEY_OR_END,   /* after { */
    WANT_COMMA_OR_END, /* after a value in a container */
    COMPLETE
};

void mmh_json_init(struct mmh_json *json, const void *data, size_t bytes)
{
    *json = (struct mmh_json){ .data = data, .bytes = bytes, .state = WANT_VALUE };
}

static void problem_set(struct mmh_json *json, size_t offset, const char *problem)
{
    if (json->problem)
        return;
    json->problem = problem;
    json->problem_offset = offset;
}

static void skip_space(struct mmh_json *json)
{
    while (json->position < json->bytes) {
        uint8_t c = json->data[json->position];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            break;
        json->position++;
    }
}

static bool in_object(const struct mmh_json *json)
{
    return json->depth && json->objects >> (json->depth - 1) & 1;
}

/* Bytes of the well-formed UTF-8 character at `at` (Unicode table 3-7); 0 if there is none. */
static size_t utf8_bytes(const uint8_t *at, size_t left)
{
    uint8_t first = at[0], low = 0x80, high = 0xbf;
    size_t more;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        more = 1;
    else if (first >= 0xe0 && first <= 0xef)
        more = 2;
    else if (first >= 0xf0 && first <= 0xf4)
        more = 3;
    else
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f; /* no surrogates */
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (left <= more || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i <= more; i++)
        if (at[i] < 0x80 || at[i] > 0xbf)
            return 0;
    return more + 1;
}

/* The four hexadecimal digits at `at`; -1 if they are not. */
static int32_t hex4(const uint8_t *at, size_t left)
{
    int32_t value = 0;
    if (left < 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        uint8_t c = at[i];
        int32_t digit = c >= '0' && c <= '9' ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/*
 * One character of a string: UTF-8 into out[4] unless NULL, *out_bytes its length. Returns the
 * bytes that it takes in the input; 0 if it is malformed.
 */
static size_t character(uint8_t *out, size_t *out_bytes, const uint8_t *at, size_t left)
{
    uint32_t code;
    size_t taken = 2;
    if (at[0] != '\\') {
        size_t bytes = at[0] < 0x20 ? 0 : utf8_bytes(at, left);
        *out_bytes = bytes;
        if (out)
            memcpy(out, at, bytes);
        return bytes;
    }
    if (left < 2)
        return 0;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
        code = at[1];
        break;
    case 'b':
        code = '\b';
        break;
    case 'f':
        code = '\f';
        break;
    case 'n':
        code = '\n';
        break;
    case 'r':
        code = '\r';
        break;
    case 't':
        code = '\t';
        break;
    case 'u': {
        int32_t unit = hex4(at + 2, left - 2);
        if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff))
            return 0;
        code = (uint32_t)unit;
        taken = 6;
        if (unit >= 0xd800 && unit <= 0xdbff) {
            int32_t second = left >= 12 && at[6] == '\\' && at[7] == 'u' ? hex4(at + 8, left - 8)
                                                                         : -1;
            if (second < 0xdc00 || second > 0xdfff)
                return 0;
            code = 0x10000 + ((code & 0x3ff) << 10 | ((uint32_t)second & 0x3ff));
            taken = 12;
        }
        break;
    }
    default:
        return 0;
    }
    uint8_t text[4];
    if (code < 0x80) {
        text[0] = (uint8_t)code;
        *out_bytes = 1;
    } else if (code < 0x800) {
        text[0] = (uint8_t)(0xc0 | code >> 6);
        text[1] = (uint8_t)(0x80 | (code & 0x3f));
        *out_bytes = 2;
    } else if (code < 0x10000) {
        text[0] = (uint8_t)(0xe0 | code >> 12);
        text[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        text[2] = (uint8_t)(0x80 | (code & 0x3f));
        *out_bytes = 3;
    } else {
        text[0] = (uint8_t)(0xf0 | code >> 18);
        text[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        text[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        text[3] = (uint8_t)(0x80 | (code & 0x3f));
        *out_bytes = 4;
    }
    if (out)
        memcpy(out, text, *out_bytes);
    return taken;
}

/* The string at the quote where the position is. */
static bool read_string(struct mmh_json *json, struct mmh_json_token *token)
{
    size_t at = json->position + 1;
    token->text = (const char *)json->data + at;
    token->escaped = false;
    while (at < json->bytes) {
        uint8_t c = json->data[at];
        if (c == '"') {
            token->bytes = at - json->position - 1;
            json->position = at + 1;
            return true;
        }
        if (c >= 0x20 && c < 0x80 && c != '\\') {
            at++;
            continue;
        }
        size_t ignored;
        size_t taken = character(NULL, &ignored, json->data + at, json->bytes - at);
        if (!taken) {
            problem_set(json, at,
                        c < 0x20    ? "a control character in a string"
                        : c == '\\' ? "a malformed escape in a string"
                                    : "a string is not UTF-8");
            return false;
        }
        token->escaped |= c == '\\';
        at += taken;
    }
    problem_set(json, json->position, "a string has no end");
    return false;
}

static bool is_digit(const struct mmh_json *json, size_t at)
{
    return at < json->bytes && json->data[at] >= '0' && json->data[at] <= '9';
}

static bool read_number(struct mmh_json *json, struct mmh_json_token *token)
{
    size_t start = json->position, at = start;
    bool negative = json->data[at] == '-', fits = true;
    at += negative;
    if (!is_digit(json, at)) {
        problem_set(json, start, "a malformed number");
        return false;
    }
    if (json->data[at] == '0' && is_digit(json, at + 1)) {
        problem_set(json, start, "a number begins with 0");
        return false;
    }
    token->u64 = 0;
    for (; is_digit(json, at); at++) {
        uint64_t digit = (uint64_t)(json->data[at] - '0');
        if (token->u64 > (UINT64_MAX - digit) / 10)
            fits = false;
        else
            token->u64 = token->u64 * 10 + digit;
    }
    token->is_u64 = !negative && fits;
    if (at < json->bytes && json->data[at] == '.') {
        token->is_u64 = false;
        if (!is_digit(json, ++at)) {
            problem_set(json, start, "a malformed number");
            return false;
        }
        while (is_digit(json, at))
            at++;
    }
    if (at < json->bytes && (json->data[at] == 'e' || json->data[at] == 'E')) {
        token->is_u64 = false;
        at++;
        if (at < json->bytes && (json->data[at] == '+' || json->data[at] == '-'))
            at++;
        if (!is_digit(json, at)) {
            problem_set(json, start, "a malformed number");
            return false;
        }
        while (is_digit(json, at))
            at++;
    }
    if (!token->is_u64)
        token->u64 = 0;
    token->bytes = at - start;
    json->position = at;
    return true;
}

static bool read_word(struct mmh_json *json, struct mmh_json_token *token, const char *word)
{
    size_t bytes = strlen(word);
    if (json->bytes - json->position < bytes ||
        memcmp(json->data + json->position, word, bytes) != 0) {
        problem_set(json, json->position, "not a value");
        return false;
    }
    token->bytes = bytes;
    json->position += bytes;
    return true;
}

static enum mmh_json_kind end_token(struct mmh_json_token *token)
{
    token->kind = MMH_JSON_END;
    token->bytes = 0;
    return MMH_JSON_END;
}

static enum mmh_json_kind close_container(struct mmh_json *json, struct mmh_json_token *token)
{
    token->kind = in_object(json) ? MMH_JSON_OBJECT_END : MMH_JSON_ARRAY_END;
    token->bytes = 1;
    json->position++;
    json->depth--;
    json->state = json->depth ? WANT_COMMA_OR_END : COMPLETE;
    return token->kind;
}

static enum mmh_json_kind open_container(struct mmh_json *json, struct mmh_json_token *token,
                                         bool object)
{
    if (json->depth == MMH_JSON_DEPTH_MAX) {
        problem_set(json, json->position, "nested too deeply");
        return end_token(token);
    }
    json->objects &= ~((uint64_t)1 << json->depth);
    json->objects |= (uint64_t)object << json->depth;
    json->depth++;
    json->position++;
    json->state = object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    token->kind = object ? MMH_JSON_OBJECT : MMH_JSON_ARRAY;
    token->bytes = 1;
    return token->kind;
}

static enum mmh_json_kind read_key(struct mmh_json *json, struct mmh_json_token *token)
{
    if (json->position >= json->bytes || json->data[json->position] != '"') {
        problem_set(json, json->position, "a key is missing");
        return end_token(token);
    }
    if (!read_string(json, token))
        return end_token(token);
    skip_space(json);
    if (json->position >= json->bytes || json->data[json->position] != ':') {
        problem_set(json, json->position, "a colon is missing");
        return end_token(token);
    }
    json->position++;
    json->state = WANT_VALUE;
    return token->kind = MMH_JSON_KEY;
}

enum mmh_json_kind mmh_json_next(struct mmh_json *json, struct mmh_json_token *token)
{
    skip_space(json);
    *token = (struct mmh_json_token){ .kind = MMH_JSON_END, .offset = json->position };
    token->text = json->data ? (const char *)json->data + json->position : "";
    if (json->problem || json->state == COMPLETE)
        return end_token(token);
    if (json->position >= json->bytes) {
        problem_set(json, json->position, "it ends early");
        return end_token(token);
    }
    uint8_t c = json->data[json->position];
    if (json->state == WANT_COMMA_OR_END) {
        if (c == (in_object(json) ? '}' : ']'))
            return close_container(json, token);
        if (c != ',') {
            problem_set(json, json->position, "a comma is missing");
            return end_token(token);
        }
        json->position++;
        skip_space(json);
        token->offset = json->position;
        token->text = (const char *)json->data + json->position;
        if (in_object(json))
            return read_key(json, token);
        json->state = WANT_VALUE;
        if (json->position >= json->bytes) {
            problem_set(json, json->position, "it ends early");
            return end_token(token);
        }
        c = json->data[json->position];
    }
    if (json->state == WANT_KEY_OR_END)
        return c == '}' ? close_container(json, token) : read_key(json, token);
    if (json->state == WANT_VALUE_OR_END && c == ']')
        return close_container(json, token);

    bool good;
    switch (c) {
    case '{':
    case '[':
        return open_container(json, token, c == '{');
    case '"':
        token->kind = MMH_JSON_STRING;
        good = read_string(json, token);
        break;
    case 't':
        token->kind = MMH_JSON_TRUE;
        good = read_word(json, token, "true");
        break;
    case 'f':
        token->kind = MMH_JSON_FALSE;
        good = read_word(json, token, "false");
        break;
    case 'n':
        token->kind = MMH_JSON_NULL;
        good = read_word(json, token, "null");
        break;
    default:
        token->kind = MMH_JSON_NUMBER;
        good = (c == '-' || (c >= '0' && c <= '9'));
        if (good)
            good = read_number(json, token);
        else
            problem_set(json, json->position, "not a value");
    }
    if (!good)
        return end_token(token);
    json->state = json->depth ? WANT_COMMA_OR_END : COMPLETE;
    return token->kind;
}

void mmh_json_skip_rest(struct mmh_json *json, const struct mmh_json_token *token)
{
    if (token->kind != MMH_JSON_OBJECT && token->kind != MMH_JSON_ARRAY)
        return;
    struct mmh_json_token inner;
    for (unsigned depth = json->depth; json->depth >= depth;)
        if (mmh_json_next(json, &inner) == MMH_JSON_END)
            return;
}

void mmh_json_skip_value(struct mmh_json *json)
{
    struct mmh_json_token token;
    mmh_json_next(json, &token);
    mmh_json_skip_rest(json, &token);
}

void mmh_json_reject(struct mmh_json *json, const struct mmh_json_token *token, const char *problem)
{
    problem_set(json, token->offset, problem);
}

bool mmh_json_is(const struct mmh_json_token *token, const char *text)
{
    if (token->kind != MMH_JSON_STRING && token->kind != MMH_JSON_KEY)
        return false;
    size_t text_bytes = strlen(text), at = 0, done = 0;
    if (!token->escaped)
        return token->bytes == text_bytes && memcmp(token->text, text, text_bytes) == 0;
    while (at < token->bytes) {
        uint8_t out[4];
        size_t out_bytes = 0;
        at += character(out, &out_bytes, (const uint8_t *)token->text + at, token->bytes - at);
        if (out_bytes > text_bytes - done || memcmp(text + done, out, out_bytes) != 0)
            return false;
        done += out_bytes;
    }
    return done == text_bytes;
}

char *mmh_json_string(const struct mmh_json_token *token, struct mmh_arena *arena, size_t *bytes)
{
    if (token->kind != MMH_JSON_STRING && token->kind != MMH_JSON_KEY)
        return NULL;
    char *text = mmh_arena_string(arena, token->text, token->bytes);
    size_t done = token->bytes;
    if (text && token->escaped) {
        done = 0;
        for (size_t at = 0; at < token->bytes;) { /* an escape is longer than what it stands for */
            uint8_t out[4];
            size_t out_bytes = 0;
            at += character(out, &out_bytes, (const uint8_t *)token->text + at, token->bytes - at);
            memcpy(text + done, out, out_bytes);
            done += out_bytes;
        }
        text[done] = '\0';
    }
    if (bytes)
        *bytes = done;
    return text;
}

mmh_status mmh_json_finish(struct mmh_json *json, const char *what, mmh_error *err)
{
    if (!json->problem && json->state != COMPLETE)
        problem_set(json, json->position,
                    json->position < json->bytes ? "not read to its end" : "it ends early");
    skip_space(json);
    if (!json->problem && json->position < json->bytes)
        problem_set(json, json->position, "something follows the value");
    if (json->problem)
        return mmh_fail(err, MMH_E_CORRUPT, "%s is not the JSON that it should be: %s (byte %zu)",
                        what, json->problem, json->problem_offset);
    return MMH_OK;
}
