#include "proc/exit_files.h"

#include "base/atomic_file.h"
#include "base/diag.h"

#include <stdio.h>
#include <string.h>

/* Nobody can ask for it later. What keeps a file from being made may pass. */
#define TRIES          3
#define TRY_AGAIN_USEC (20 * 1000)

static void
write_record(const char *dir, const char *name, const char *text)
{
        if (!dir)
                return;
        g_autofree char *path = g_build_filename(dir, name, NULL);
        g_autoptr(GError) error = NULL;
        for (int i = 0; i < TRIES; i++) {
                if (i > 0)
                        g_usleep(TRY_AGAIN_USEC);
                g_clear_error(&error);
                if (atomic_file_write(path, text, strlen(text), &error))
                        return;
        }
        diag_error("%s", error->message);
}

void
exit_files_write(const char *persist_dir, const char *exit_dir, const char *cid, int code)
{
        char text[16];
        (void)snprintf(text, sizeof text, "%d", code);
        write_record(persist_dir, "exit", text);
        write_record(exit_dir, cid, text);
}

void
oom_files_write(const char *persist_dir, const char *bundle)
{
        write_record(persist_dir, "oom", "");
        write_record(bundle, "oom", "");
}
