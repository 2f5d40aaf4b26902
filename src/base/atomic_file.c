/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/atomic_file.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int
atomic_file_create(const char *path, const void *data, size_t len, GError **error)
{
        g_autofree char *temp = g_strdup_printf("%s.XXXXXX", path);
        autofd int fd = mkostemp(temp, O_CLOEXEC);
        if (fd < 0) {
                error_set_errno(error, errno, "Failed to create a temporary file next to %s", path);
                return -1;
        }

        /* mkostemp creates the file with mode 0600. A file system without modes may refuse this; that is not
         * a failure. */
        (void)fchmod(fd, 0644);
        int r = fd_write_all(fd, data, len);
        if (r == 0 && rename(temp, path) < 0)
                r = -errno;
        if (r == 0)
                return fd_steal(&fd);
        (void)unlink(temp);
        error_set_errno(error, r, "Failed to write %s", path);
        return -1;
}

gboolean
atomic_file_write(const char *path, const void *data, size_t len, GError **error)
{
        autofd int fd = atomic_file_create(path, data, len, error);
        return fd >= 0;
}
