/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/redact.h"

#include "base/error.h"
#include "base/page_buffer.h"
#include "log/api/secret.h"

#include <errno.h>
#include <string.h>

#define FILE_MAX 65536

static const char mask[] = "***";
#define MASK_LEN (sizeof mask - 1)

/* One secret, and its next occurrence. */
typedef struct {
        const char *text;
        size_t len;
        const char *found; /* NULL: none left */
} Secret;

struct LogRedactor {
        char *file;
        size_t len;
        GArray *secrets; /* of Secret, pointing into the text of the file */
        size_t longest;
        size_t covered[N_STREAMS]; /* bytes at the start of the next record that belong to the last mask */
        PageBuffer copy;
};

/* Every problem is an error: a secret that was not read would not be hidden. */
static gboolean
read_secrets(LogRedactor *r, const char *path, Errands *errands, GError **error)
{
        int failure = errands_read_file(errands, path, FILE_MAX, &r->file, &r->len);
        if (failure < 0 && failure != -EFBIG)
                return error_set_errno(error, failure, "Failed to read the secrets of redact-file=%s", path);
        if (failure == -EFBIG)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "The secrets of redact-file=%s are longer than %d bytes", path, FILE_MAX);
        if (memchr(r->file, '\0', r->len))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "The secrets of redact-file=%s contain a NUL byte", path);
        return TRUE;
}

/* With a CR at the end, as some editors write lines, no secret would be found. */
static void
add_secrets(LogRedactor *r)
{
        for (char *line = r->file, *next; line; line = next) {
                next = strchr(line, '\n');
                if (next)
                        *next++ = '\0';
                if (g_str_has_suffix(line, "\r"))
                        line[strlen(line) - 1] = '\0';
                Secret secret = {.text = line, .len = strlen(line)};
                if (secret.len > 0)
                        g_array_append_val(r->secrets, secret);
                r->longest = MAX(r->longest, secret.len);
        }
}

LogRedactor *
log_redactor_new(const char *path, Errands *errands, GError **error)
{
        LogRedactor *r = g_new0(LogRedactor, 1);
        r->secrets = g_array_new(FALSE, FALSE, sizeof(Secret));
        secret_protect();
        if (!read_secrets(r, path, errands, error)) {
                log_redactor_free(r);
                return NULL;
        }
        add_secrets(r);
        return r;
}

/* In memory every secret ends with a NUL. */
void
log_redactor_save(const LogRedactor *r, StateWriter *w)
{
        state_begin(w, "redactor");
        state_put_bytes(w, "secrets", r->file, r->len);
        for (int i = 0; i < N_STREAMS; i++)
                state_put_uint(w, stream_name((StreamId)i), r->covered[i]);
        state_end(w);
}

LogRedactor *
log_redactor_restore(StateReader *state)
{
        LogRedactor *r = g_new0(LogRedactor, 1);
        r->secrets = g_array_new(FALSE, FALSE, sizeof(Secret));
        secret_protect();
        state_enter(state, "redactor");
        const char *secrets = state_get_bytes(state, "secrets", &r->len);
        if (r->len > FILE_MAX)
                state_fail(state, "The secrets are longer than %d bytes", FILE_MAX);
        r->file = g_malloc(r->len + 1);
        memcpy(r->file, secrets, r->len);
        r->file[r->len] = '\0';
        for (size_t i = 0; i < r->len; i++)
                if (r->file[i] == '\0')
                        r->file[i] = '\n';
        add_secrets(r);
        for (int i = 0; i < N_STREAMS; i++)
                r->covered[i] = state_get_uint(state, stream_name((StreamId)i), FILE_MAX);
        state_leave(state);
        return r;
}

void
log_redactor_take_over(LogRedactor *r, const LogRedactor *old)
{
        memcpy(r->covered, old->covered, sizeof r->covered);
}

void
log_redactor_release(LogRedactor *r)
{
        page_buffer_release(&r->copy);
}

void
log_redactor_free(LogRedactor *r)
{
        if (!r)
                return;
        log_redactor_release(r);
        if (r->file)
                explicit_bzero(r->file, r->len);
        g_free(r->file);
        g_array_unref(r->secrets);
        g_free(r);
}

/* The first secret at or after `at`; of several at the same place the longest. */
static const Secret *
find_first(LogRedactor *r, const char *at, const char *end)
{
        const Secret *first = NULL;
        for (guint i = 0; i < r->secrets->len; i++) {
                Secret *s = &g_array_index(r->secrets, Secret, i);
                if (s->found && s->found < at)
                        s->found = memmem(at, (size_t)(end - at), s->text, s->len);
                if (s->found &&
                    (!first || s->found < first->found || (s->found == first->found && s->len > first->len)))
                        first = s;
        }
        return first;
}

static void
start_search(LogRedactor *r, const char *at, const char *end)
{
        for (guint i = 0; i < r->secrets->len; i++) {
                Secret *s = &g_array_index(r->secrets, Secret, i);
                s->found = memmem(at, (size_t)(end - at), s->text, s->len);
        }
}

static void
need_copy(LogRedactor *r, size_t size)
{
        if (r->copy.size < size)
                page_buffer_release(&r->copy);
        page_buffer_take(&r->copy, size);
}

/* The end of a mask from `at`, of a secret that ends at `stop`, including all secrets that overlap. */
static const char *
find_end(LogRedactor *r, const char *at, const char *stop, const char *end)
{
        while (at < stop) {
                const Secret *secret = find_first(r, at, end);
                if (!secret || secret->found >= stop)
                        break;
                stop = MAX(stop, secret->found + secret->len);
                at = secret->found + 1;
        }
        return stop;
}

size_t
log_redactor_look_ahead(const LogRedactor *r)
{
        return r->longest > 0 ? r->longest - 1 : 0;
}

LogRecord
log_redactor_apply(LogRedactor *r, const LogRecord *record, size_t ahead)
{
        LogRecord result = *record;
        const char *at = record->bytes, *end = at + record->len, *known = end + ahead;
        size_t *covered = &r->covered[record->stream];
        start_search(r, at, known);
        if (record->flags & LOG_RECORD_CONTINUES)
                at = find_end(r, at, at + MIN(*covered, record->len + ahead), known);
        *covered = 0;
        const Secret *secret = find_first(r, at, known);
        if (at == record->bytes && (!secret || secret->found >= end))
                return result;
        /* A secret of one byte makes a record three times as long. */
        need_copy(r, (size_t)record->len * MASK_LEN + 1);
        char *out = r->copy.data;
        for (; secret && secret->found < end; secret = find_first(r, at, known)) {
                out = mempcpy(out, at, (size_t)(secret->found - at));
                out = mempcpy(out, mask, MASK_LEN);
                at = find_end(r, secret->found + 1, secret->found + secret->len, known);
        }
        if (at < end)
                out = mempcpy(out, at, (size_t)(end - at));
        else
                *covered = (size_t)(at - end);
        *out = '\n';
        result.bytes = r->copy.data;
        result.len = (uint32_t)(out - r->copy.data);
        return result;
}
