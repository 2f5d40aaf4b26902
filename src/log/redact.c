#include "log/redact.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/page_buffer.h"
#include "log/secret.h"

#include <string.h>

#define FILE_MAX 65536

static const char mask[] = "***";
#define MASK_LEN (sizeof mask - 1)

/* One secret, and where it is found next. */
typedef struct {
        const char *text;
        size_t len;
        const char *found; /* NULL: no more */
} Secret;

struct LogRedactor {
        char *file;
        size_t len;
        GArray *secrets; /* of Secret, which point into the file's text */
        PageBuffer copy;
};

/* A secret that is not seen would not be hidden. */
static gboolean
read_secrets(LogRedactor *r, const char *path, GError **error)
{
        int failure = fd_read_file(path, FILE_MAX + 1, &r->file, &r->len);
        if (failure < 0)
                return error_set_errno(error, failure, "Failed to read the secrets of redact-file=%s", path);
        if (r->len > FILE_MAX)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "The secrets of redact-file=%s are longer than %d bytes", path, FILE_MAX);
        if (memchr(r->file, '\0', r->len))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "The secrets of redact-file=%s are no text: there is a NUL byte", path);
        return TRUE;
}

static void
add_secrets(LogRedactor *r)
{
        for (char *line = r->file, *next; line; line = next) {
                next = strchr(line, '\n');
                if (next)
                        *next++ = '\0';
                Secret secret = {.text = line, .len = strlen(line)};
                if (secret.len > 0)
                        g_array_append_val(r->secrets, secret);
        }
}

LogRedactor *
log_redactor_new(const char *path, GError **error)
{
        LogRedactor *r = g_new0(LogRedactor, 1);
        r->secrets = g_array_new(FALSE, FALSE, sizeof(Secret));
        secret_protect();
        if (!read_secrets(r, path, error)) {
                log_redactor_free(r);
                return NULL;
        }
        add_secrets(r);
        return r;
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

/* The secret that comes first at or behind `at`; of several at the same place the longest. */
static const Secret *
find_first(LogRedactor *r, const char *at, const char *end)
{
        const Secret *first = NULL;
        for (guint i = 0; i < r->secrets->len; i++) {
                Secret *s = &g_array_index(r->secrets, Secret, i);
                if (s->found && s->found < at)
                        s->found = memmem(at, (size_t)(end - at), s->text, s->len);
                if (s->found && (!first || s->found < first->found ||
                                 (s->found == first->found && s->len > first->len)))
                        first = s;
        }
        return first;
}

static const Secret *
start_search(LogRedactor *r, const LogRecord *record)
{
        for (guint i = 0; i < r->secrets->len; i++) {
                Secret *s = &g_array_index(r->secrets, Secret, i);
                s->found = memmem(record->bytes, record->len, s->text, s->len);
        }
        return find_first(r, record->bytes, record->bytes + record->len);
}

static void
need_copy(LogRedactor *r, size_t size)
{
        if (r->copy.size < size)
                page_buffer_release(&r->copy);
        page_buffer_take(&r->copy, size);
}

LogRecord
log_redactor_apply(LogRedactor *r, const LogRecord *record)
{
        LogRecord result = *record;
        const char *at = record->bytes, *end = at + record->len;
        const Secret *secret = start_search(r, record);
        if (!secret)
                return result;
        /* A secret of one byte makes a record three times as long. */
        need_copy(r, (size_t)record->len * MASK_LEN + 1);
        char *out = r->copy.data;
        for (; secret; secret = find_first(r, at, end)) {
                out = mempcpy(out, at, (size_t)(secret->found - at));
                out = mempcpy(out, mask, MASK_LEN);
                at = secret->found + secret->len;
        }
        out = mempcpy(out, at, (size_t)(end - at));
        *out = '\n';
        result.bytes = r->copy.data;
        result.len = (uint32_t)(out - r->copy.data);
        return result;
}
