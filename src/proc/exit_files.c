/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/exit_files.h"

#include "base/atomic_file.h"
#include "base/diag.h"

#include <stdio.h>
#include <string.h>

/* The record can't be requested later. The cause of a failure may be temporary. */
#define TRIES          3
#define TRY_AGAIN_USEC (20 * 1000)

typedef struct {
        char *path;
        char text[16];
} Record;

static void
write_record(void *data)
{
        Record *r = data;
        g_autoptr(GError) error = NULL;
        for (int i = 0; i < TRIES; i++) {
                if (i > 0)
                        g_usleep(TRY_AGAIN_USEC);
                g_clear_error(&error);
                if (atomic_file_write(r->path, r->text, strlen(r->text), &error))
                        break;
        }
        if (error)
                diag_error("%s", error->message);
        g_free(r->path);
        g_free(r);
}

static void
add_record(Errands *e, const char *dir, const char *name, const char *text)
{
        if (!dir)
                return;
        Record *r = g_new0(Record, 1);
        r->path = g_build_filename(dir, name, NULL);
        g_strlcpy(r->text, text, sizeof r->text);
        errands_add(e, write_record, r, r->path);
}

void
exit_files_add(Errands *e, const char *persist_dir, const char *exit_dir, const char *cid, int code)
{
        char text[16];
        (void)snprintf(text, sizeof text, "%d", code);
        add_record(e, persist_dir, "exit", text);
        add_record(e, exit_dir, cid, text);
}

void
oom_files_add(Errands *e, const char *persist_dir, const char *bundle)
{
        add_record(e, persist_dir, "oom", "");
        add_record(e, bundle, "oom", "");
}
