/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/container_process.h"

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static int fd = -1;
        if (fd < 0)
                fd = memfd_create("pidfile", MFD_CLOEXEC);
        g_assert_cmpint(ftruncate(fd, 0), ==, 0);
        g_assert_cmpint(pwrite(fd, data, size, 0), ==, (ssize_t)size);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
        g_autoptr(GError) error = NULL;
        pid_t pid = pid_file_read(path, &error);
        g_assert_cmpint(pid, >=, 0);
        g_assert_cmpint(pid == 0, ==, error != NULL);
        /* atoi would accept trailing garbage. */
        if (pid > 0) {
                g_autofree char *text = g_strndup((const char *)data, size);
                g_autofree char *number = g_strdup_printf("%d", pid);
                g_assert_nonnull(strstr(text, number));
                g_assert_true(strspn(text, "+0123456789 \t\r\n\f\v") == strlen(text));
        }
        return 0;
}
