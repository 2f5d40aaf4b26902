/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Reads a log back and compares every byte with what was written.
 *
 *     bench-check k8s-file|json-file lf|crlf LINE TOTAL FILE
 *
 * TOTAL is the number of bytes that the container wrote. With a leading `~` the log has only the end of the
 * stream (because of a size limit). Prints the number of records and of partial ones, or an error. */

#include "pattern.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Record {
        const char *data;
        size_t len;
        bool ends_line;
} Record;

typedef struct Log {
        const char *at;
        const char *end;
        bool (*next)(struct Log *log, Record *ret);
} Log;

static void __attribute__((noreturn, format(printf, 1, 2)))
wrong(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        (void) vprintf(format, args);
        va_end(args);
        (void) printf("\n");
        exit(1);
}

/* "TIME(35) stdout F CONTENT\n" */
static bool
next_cri(Log *log, Record *ret)
{
        const char *at = log->at;
        const char *newline;

        if (at == log->end)
                return false;
        newline = memchr(at, '\n', (size_t) (log->end - at));
        if (newline == NULL || newline - at < 45 || memcmp(at + 35, " stdout ", 8) != 0 ||
            (at[43] != 'F' && at[43] != 'P') || at[44] != ' ')
                wrong("not a CRI record: %.60s", at);
        *ret = (Record){ .data = at + 45, .len = (size_t) (newline - at - 45), .ends_line = at[43] == 'F' };
        log->at = newline + 1;
        return true;
}

/* {"log":"CONTENT","stream":"stdout","time":"…"}\n; the content needs no escapes except at its end. */
static bool
next_json(Log *log, Record *ret)
{
        static const char head[] = "{\"log\":\"";
        static const char tail[] = "\",\"stream\":\"stdout\",\"time\":\"";
        const char *data = log->at + sizeof head - 1;
        const char *quote;
        const char *newline;

        if (log->at == log->end)
                return false;
        newline = memchr(log->at, '\n', (size_t) (log->end - log->at));
        quote = newline == NULL || newline < data ? NULL : memchr(data, '"', (size_t) (newline - data));
        if (quote == NULL || memcmp(log->at, head, sizeof head - 1) != 0 ||
            (size_t) (newline - quote) < sizeof tail || memcmp(quote, tail, sizeof tail - 1) != 0)
                wrong("not a json-file record: %.60s", log->at);
        *ret = (Record){ .data = data, .len = (size_t) (quote - data) };
        ret->ends_line = ret->len >= 2 && memcmp(quote - 2, "\\n", 2) == 0;
        ret->len -= ret->ends_line ? 2 : 0;
        log->at = newline + 1;
        return true;
}

static uint64_t
count_bytes(Log log)
{
        Record record;
        uint64_t bytes = 0;

        while (log.next(&log, &record))
                bytes += record.len + record.ends_line;
        return bytes;
}

static void
compare(Log log, const Pattern *pattern, uint64_t offset)
{
        Record record;
        size_t records = 0;
        size_t partial = 0;

        while (log.next(&log, &record)) {
                if (!pattern_matches(pattern, offset, record.data, record.len))
                        wrong("record %zu (offset %llu) has wrong bytes", records,
                              (unsigned long long)offset);
                offset += record.len;
                if (record.ends_line && !pattern_matches(pattern, offset, "\n", 1))
                        wrong("record %zu (offset %llu): extra newline", records,
                              (unsigned long long)offset);
                offset += record.ends_line;
                records++;
                partial += !record.ends_line;
        }
        (void) printf("%zu %zu\n", records, partial);
}

static void
map_log(Log *log, const char *path)
{
        struct stat st;
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &st) < 0)
                wrong("cannot open %s", path);
        log->at = "";
        if (st.st_size > 0)
                log->at = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (log->at == MAP_FAILED)
                wrong("cannot map %s", path);
        log->end = log->at + st.st_size;
        if (st.st_size > 0 && log->end[-1] != '\n')
                wrong("the log ends within a record");
}

int
main(int argc, char **argv)
{
        Log log = { 0 };
        Pattern pattern;
        uint64_t total;
        uint64_t found;
        size_t line;
        bool tail_only;
        bool crlf;

        if (argc != 6)
                return 2;
        log.next = strcmp(argv[1], "json-file") == 0 ? next_json : next_cri;
        crlf = strcmp(argv[2], "crlf") == 0;
        line = strtoul(argv[3], NULL, 10);
        tail_only = argv[4][0] == '~';
        total = strtoull(argv[4] + tail_only, NULL, 10);
        if (crlf)
                total += total / line;
        map_log(&log, argv[5]);
        pattern_init(&pattern, line, crlf);
        found = count_bytes(log);
        if (found > total || (found < total && !tail_only))
                wrong("%llu bytes written, %llu in the log", (unsigned long long)total,
                      (unsigned long long)found);
        compare(log, &pattern, total - found);
        return 0;
}
