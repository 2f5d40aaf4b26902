/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"

#include "base/dlopen_note.h"
#include "base/error.h"
#include "base/json_walk.h"

#include <dlfcn.h>
#include <errno.h>
#include <json.h>
#include <limits.h>
#include <string.h>

#define JSON_C "libjson-c.so.5"
DLOPEN_NOTE(json_c_note, "json", "Labels, environment and annotations of containers", "recommended", JSON_C);

/* The functions of the library, which is loaded only while a document is parsed: most monitors parse none. */
typedef struct {
        void *library;
        __typeof__(json_tokener_new_ex) *tokener_new_ex;
        __typeof__(json_tokener_set_flags) *set_flags;
        __typeof__(json_tokener_parse_ex) *parse_ex;
        __typeof__(json_tokener_get_error) *get_error;
        __typeof__(json_tokener_get_parse_end) *get_parse_end;
        __typeof__(json_tokener_free) *tokener_free;
        __typeof__(json_object_get_type) *get_type;
        __typeof__(json_object_get_boolean) *get_boolean;
        __typeof__(json_object_get_string) *get_string;
        __typeof__(json_object_get_string_len) *get_string_len;
        __typeof__(json_object_array_length) *array_length;
        __typeof__(json_object_array_get_idx) *array_get_idx;
        __typeof__(json_object_iter_begin) *iter_begin;
        __typeof__(json_object_iter_end) *iter_end;
        __typeof__(json_object_iter_equal) *iter_equal;
        __typeof__(json_object_iter_next) *iter_next;
        __typeof__(json_object_iter_peek_name) *iter_peek_name;
        __typeof__(json_object_iter_peek_value) *iter_peek_value;
        __typeof__(json_object_put) *put;
} JsonC;

static gboolean
load(JsonC *j, GError **error)
{
        const struct {
                void *function;
                const char *name;
        } functions[] = {
                {&j->tokener_new_ex, "json_tokener_new_ex"},
                {&j->set_flags, "json_tokener_set_flags"},
                {&j->parse_ex, "json_tokener_parse_ex"},
                {&j->get_error, "json_tokener_get_error"},
                {&j->get_parse_end, "json_tokener_get_parse_end"},
                {&j->tokener_free, "json_tokener_free"},
                {&j->get_type, "json_object_get_type"},
                {&j->get_boolean, "json_object_get_boolean"},
                {&j->get_string, "json_object_get_string"},
                {&j->get_string_len, "json_object_get_string_len"},
                {&j->array_length, "json_object_array_length"},
                {&j->array_get_idx, "json_object_array_get_idx"},
                {&j->iter_begin, "json_object_iter_begin"},
                {&j->iter_end, "json_object_iter_end"},
                {&j->iter_equal, "json_object_iter_equal"},
                {&j->iter_next, "json_object_iter_next"},
                {&j->iter_peek_name, "json_object_iter_peek_name"},
                {&j->iter_peek_value, "json_object_iter_peek_value"},
                {&j->put, "json_object_put"},
        };
        j->library = dlopen(JSON_C, RTLD_NOW | RTLD_LOCAL);
        if (!j->library)
                return error_set(error, CONMON_ERROR_NO_LIBRARY,
                                 "the library that reads JSON can't be loaded (%s); install the package "
                                 "libjson-c5 or json-c", dlerror());
        for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
                *(void **)functions[i].function = dlsym(j->library, functions[i].name);
                if (*(void **)functions[i].function)
                        continue;
                (void)dlclose(j->library);
                return error_set(error, CONMON_ERROR_NO_LIBRARY,
                                 "the library that reads JSON, %s, lacks %s", JSON_C, functions[i].name);
        }
        return TRUE;
}

/* Like the library, and yajl; JSON itself has neither \v nor \f. */
static bool
is_space(unsigned char c)
{
        return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What json-c does not check. */
typedef struct {
        /* The offset of the first invalid control character; the length of the text if there is none. json-c
         * accepts them in strings, and takes a NUL for the end. */
        size_t control;
        size_t members; /* of all objects in a valid text; json-c drops all duplicates but the last */
} Scan;

/* Makes an integer beyond 64 bits a double, which keeps its text: json-c 0.18 refuses it, and older
 * versions report the nearest integer of 64 bits. Returns the length of the number. */
static size_t
pass_number(char *number)
{
        size_t len = strspn(number, "-+.eE0123456789");
        size_t sign = *number == '-';
        if (sign + strspn(number + sign, "0123456789") < len || number[sign] == '0')
                return len;
        errno = 0;
        if (sign)
                (void)g_ascii_strtoll(number, NULL, 10);
        else
                (void)g_ascii_strtoull(number, NULL, 10);
        if (errno == ERANGE)
                memcpy(number + len - 2, "e2", 2);
        return len;
}

static Scan
scan(char *text, size_t len)
{
        Scan s = {.control = len};
        bool in_string = false;
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)text[i];
                if (c < 0x20 && (in_string || !is_space(c))) {
                        s.control = i;
                        break;
                }
                if (c == '"')
                        in_string = !in_string;
                else if (in_string)
                        i += c == '\\';
                else if (c == '-' || g_ascii_isdigit(c))
                        i += pass_number(text + i) - 1;
                else
                        s.members += c == ':';
        }
        return s;
}

/* The walk through the parsed document. */
typedef struct {
        const JsonC *json_c;
        JsonWalk walk;
        size_t members; /* seen so far */
} Report;

static void report(Report *r, struct json_object *value);

static void
report_object(Report *r, struct json_object *object)
{
        const JsonC *j = r->json_c;
        struct json_object_iterator at = j->iter_begin(object), end = j->iter_end(object);
        for (; !j->iter_equal(&at, &end); j->iter_next(&at)) {
                const char *name = j->iter_peek_name(&at);
                r->members++;
                json_walk_name(&r->walk, name, strlen(name));
                report(r, j->iter_peek_value(&at));
        }
}

/* Reports a value and all that it contains. The parser has limited the depth. */
static void
report(Report *r, struct json_object *value)
{
        const JsonC *j = r->json_c;
        switch (j->get_type(value)) {
        case json_type_null:
                json_walk_report(&r->walk, JSON_NULL, NULL, 0);
                break;
        case json_type_boolean:
                json_walk_report(&r->walk, j->get_boolean(value) ? JSON_TRUE : JSON_FALSE, NULL, 0);
                break;
        case json_type_string:
                json_walk_report(&r->walk, JSON_STRING, j->get_string(value),
                                 (size_t)j->get_string_len(value));
                break;
        case json_type_int:
        case json_type_double:
                json_walk_report(&r->walk, JSON_NUMBER, j->get_string(value), strlen(j->get_string(value)));
                break;
        case json_type_array:
                (void)json_walk_open(&r->walk, JSON_ARRAY);
                for (size_t i = 0; i < j->array_length(value); i++)
                        report(r, j->array_get_idx(value, i));
                json_walk_close(&r->walk);
                break;
        case json_type_object:
                (void)json_walk_open(&r->walk, JSON_OBJECT);
                report_object(r, value);
                json_walk_close(&r->walk);
                break;
        }
}

/* Returns whether the text is one document; *ret_value is NULL for a null, too. A NUL tells the tokener
 * that no more text follows. */
static bool
parse(const JsonC *j, struct json_tokener *tokener, const char *text, size_t len,
      struct json_object **ret_value)
{
        *ret_value = j->parse_ex(tokener, text, (int)len);
        if (j->get_error(tokener) == json_tokener_continue)
                *ret_value = j->parse_ex(tokener, "", 1);
        else if (j->get_parse_end(tokener) < len)
                return false;
        return j->get_error(tokener) == json_tokener_success;
}

static gboolean
read_document(const JsonC *j, JsonWalk walk, const char *text, size_t len, GError **error)
{
        struct json_tokener *tokener = j->tokener_new_ex(JSON_NESTING_MAX);
        struct json_object *value = NULL;
        Report r = {.json_c = j, .walk = walk};
        g_autofree char *copy = g_strndup(text, len);
        Scan s = scan(copy, len);
        j->set_flags(tokener, JSON_TOKENER_STRICT);
        bool ok = s.control == len && len < INT_MAX && parse(j, tokener, copy, len, &value);
        if (ok)
                report(&r, value);
        else
                (void)error_set(error, CONMON_ERROR_FAILED, "it is not valid JSON (byte %zu of %zu)",
                                MIN((s.control < len ? s.control : j->get_parse_end(tokener)) + 1, len), len);
        (void)j->put(value);
        j->tokener_free(tokener);
        if (ok && r.members < s.members)
                return error_set(error, CONMON_ERROR_FAILED, "an object has duplicate names");
        return ok;
}

gboolean
json_read(const char *text, size_t len, JsonFunc func, void *data, GError **error)
{
        JsonC j = {0};
        JsonWalk walk;
        if (!load(&j, error))
                return FALSE;
        json_walk_init(&walk, func, data);
        gboolean ok = read_document(&j, walk, text, len, error);
        json_walk_done(&walk);
        (void)dlclose(j.library);
        return ok;
}
