#include "log/redact.h"

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
        return log_redactor_new(path, NULL);
}

/* No secret is in what comes out, but for one that the stars themselves make. */
static void
check_gone(char **secrets, const LogRecord *r)
{
        for (char **s = secrets; *s; s++)
                if (**s && !strchr(*s, '*'))
                        g_assert_null(memmem(r->bytes, r->len, *s, strlen(*s)));
}

/* The secrets are in front of the first empty line, the record behind it. */
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
        size_t len = size - (size_t)(gap + 2 - data);
        LogRecord r = {.bytes = (const char *)gap + 2, .len = (uint32_t)len, .payload = (uint32_t)len,
                       .flags = LOG_RECORD_PARTIAL};
        LogRecord clean = log_redactor_apply(redactor, &r);
        g_assert_cmpuint(clean.payload, ==, r.payload);
        g_assert_cmpuint(clean.flags, ==, r.flags);
        check_gone(secrets, &clean);
        log_redactor_free(redactor);
        return 0;
}
