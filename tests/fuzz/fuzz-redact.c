/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/joiner.h"
#include "log/intake/redact.h"

#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

static LogRedactor *
make_redactor(const uint8_t *data, size_t size)
{
        static int fd = -1;
        if (fd < 0)
                fd = memfd_create("secrets", MFD_CLOEXEC);
        g_assert_cmpint(ftruncate(fd, 0), ==, 0);
        g_assert_cmpint(pwrite(fd, data, size, 0), ==, (ssize_t)size);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
        return log_redactor_new(path, NULL, NULL);
}

/* The output contains no secret, except one formed by the stars themselves. */
static void
check_gone(char **secrets, const LogRecord *r)
{
        for (char **s = secrets; *s; s++)
                if (**s && !strchr(*s, '*'))
                        g_assert_null(memmem(r->bytes, r->len, *s, strlen(*s)));
}

/* Byte by byte: secrets are hidden, the rest is unchanged. */
static void
check_model(char **secrets, const LogRecord *in, const LogRecord *out)
{
        g_autofree char *hidden = g_malloc0((size_t)in->len + 1);
        for (char **s = secrets; *s; s++)
                for (size_t n = strlen(*s), at = 0; n > 0 && at + n <= in->len; at++)
                        if (memcmp(in->bytes + at, *s, n) == 0)
                                memset(hidden + at, 1, n);
        size_t k = 0;
        for (size_t i = 0; i < in->len;) {
                if (!hidden[i]) {
                        g_assert_cmpuint(k, <, out->len);
                        g_assert_cmpint(out->bytes[k++], ==, in->bytes[i++]);
                        continue;
                }
                /* Adjacent secrets have separate masks. */
                size_t masks = 0, start = i;
                while (i < in->len && hidden[i])
                        i++;
                for (; masks < i - start && k + 3 <= out->len && memcmp(out->bytes + k, "***", 3) == 0;
                     k += 3)
                        masks++;
                g_assert_cmpuint(masks, >, 0);
        }
        g_assert_cmpuint(k, ==, out->len);
}

typedef struct {
        LogRedactor *redactor;
        GString *text;
        size_t payload;
} Pieces;

static void
take_piece(const LogRecord *r, size_t ahead, void *data)
{
        Pieces *p = data;
        LogRecord clean = log_redactor_apply(p->redactor, r, ahead);
        g_string_append_len(p->text, clean.bytes, clean.len);
        p->payload += clean.payload;
}

/* The result does not depend on the chunks and records of a line. */
static void
check_pieces(LogRedactor *redactor, const LogRecord *line, const LogRecord *clean, size_t max_record,
             size_t chunk)
{
        Pieces pieces = {redactor, g_string_new(NULL), 0};
        LogJoinerConfig config = {
                .max_record = max_record,
                .look_ahead = log_redactor_look_ahead(redactor),
                .hold = true,
                .characters = chunk % 2 == 0,
                .emit = take_piece,
                .data = &pieces,
        };
        LogJoiner *joiner = log_joiner_new(&config);
        for (size_t at = 0; at < line->len; at += chunk) {
                LogRecord part = {
                        .bytes = line->bytes + at,
                        .len = (uint32_t)MIN(chunk, line->len - at),
                        .flags = LOG_RECORD_PARTIAL | (at > 0 ? LOG_RECORD_CONTINUES : 0),
                };
                log_joiner_push(joiner, &part);
        }
        log_joiner_flush(joiner);
        g_assert_cmpmem(pieces.text->str, pieces.text->len, clean->bytes, clean->len);
        g_assert_cmpuint(pieces.payload, ==, line->payload);
        g_string_free(pieces.text, TRUE);
        log_joiner_free(joiner);
}

/* The secrets are before the first empty line, the record after it. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *gap = memmem(data, size, "\n\n", 2);
        if (!gap)
                return 0;
        LogRedactor *redactor = make_redactor(data, (size_t)(gap - data));
        if (!redactor)
                return 0;
        g_autofree char *text = g_strndup((const char *)data, (size_t)(gap - data));
        g_auto(GStrv) secrets = g_strsplit(text, "\n", -1);
        for (char **s = secrets; *s; s++)
                if (g_str_has_suffix(*s, "\r"))
                        (*s)[strlen(*s) - 1] = '\0';
        size_t len = size - (size_t)(gap + 2 - data);
        LogRecord r = {.bytes = (const char *)gap + 2,
                       .len = (uint32_t)len,
                       .payload = (uint32_t)len,
                       .flags = LOG_RECORD_PARTIAL};
        LogRecord clean = log_redactor_apply(redactor, &r, 0);
        g_assert_cmpuint(clean.payload, ==, r.payload);
        g_assert_cmpuint(clean.flags, ==, r.flags);
        check_gone(secrets, &clean);
        if (!memchr(r.bytes, '*', r.len))
                check_model(secrets, &r, &clean);
        /* It is valid until the next call. */
        g_autofree char *whole = memcpy(g_malloc(clean.len + 1), clean.bytes, clean.len);
        clean.bytes = whole;
        for (size_t i = 0; i < 4; i++)
                check_pieces(redactor, &r, &clean, 4 + i * 7, 1 + (size + i) % 11);
        log_redactor_free(redactor);
        return 0;
}
