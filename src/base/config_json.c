/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/config_json.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct ConfigJson {
        char *path;
        char *text; /* in a mapping of its own, so that the heap does not grow; NULL until it is read */
        size_t mapped;
        size_t len;
};

ConfigJson *
config_json_new(const char *bundle)
{
        ConfigJson *c = g_new0(ConfigJson, 1);
        c->path = g_build_filename(bundle, "config.json", NULL);
        return c;
}

static void
release(ConfigJson *c)
{
        if (c->text)
                (void)munmap(c->text, c->mapped);
        c->text = NULL;
}

void
config_json_free(ConfigJson *c)
{
        if (!c)
                return;
        release(c);
        g_free(c->path);
        g_free(c);
}

const char *
config_json_path(const ConfigJson *c)
{
        return c->path;
}

/* One byte more than the file has, to detect that it has grown. The file is not mapped, because it may
 * change. */
static int
read_text(ConfigJson *c, int fd, size_t size)
{
        c->mapped = size + 1;
        char *text = mmap(NULL, c->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (text == MAP_FAILED)
                return -errno;
        c->text = text;
        c->len = 0;
        ssize_t n = 0;
        while (c->len < c->mapped && (n = fd_read(fd, text + c->len, c->mapped - c->len)) > 0)
                c->len += (size_t)n;
        return n < 0 ? (int)n : c->len > size ? -EBUSY : 0;
}

static int
read_file(ConfigJson *c)
{
        struct stat st;
        autofd int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        if (st.st_size > CONFIG_JSON_MAX)
                return -EFBIG;
        int r = read_text(c, fd, (size_t)st.st_size);
        if (r < 0)
                release(c);
        return r;
}

int
config_json_read(ConfigJson *c, const char **ret_text, size_t *ret_len)
{
        int r = c->text ? 0 : read_file(c);
        if (r < 0)
                return r;
        *ret_text = c->text;
        *ret_len = c->len;
        return 0;
}

gboolean
config_json_fail(const ConfigJson *c, int failure, GError **error)
{
        if (failure == -EFBIG)
                return error_set(error, CONMON_ERROR_FAILED, "%s has more than %d bytes", c->path,
                                 CONFIG_JSON_MAX);
        if (failure == -EINVAL)
                return error_set(error, CONMON_ERROR_FAILED, "%s is not a regular file", c->path);
        if (failure == -EBUSY)
                return error_set(error, CONMON_ERROR_FAILED, "%s grew while it was read", c->path);
        return error_set_errno(error, failure, "Failed to read %s", c->path);
}
