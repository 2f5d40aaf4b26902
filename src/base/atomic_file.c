#include "base/atomic_file.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

gboolean
atomic_file_write(const char *path, const void *data, size_t len, GError **error)
{
        g_autofree char *temp = g_strdup_printf("%s.XXXXXX", path);
        autofd int fd = mkostemp(temp, O_CLOEXEC);
        if (fd < 0)
                return error_set_errno(error, errno, "Failed to create a temporary file beside %s", path);

        /* mkostemp makes it 0600. A file system without modes may refuse that; the content is what counts. */
        (void)fchmod(fd, 0644);
        int r = fd_write_all(fd, data, len);
        if (r == 0 && rename(temp, path) < 0)
                r = -errno;
        if (r == 0)
                return TRUE;
        (void)unlink(temp);
        return error_set_errno(error, r, "Failed to write %s", path);
}
