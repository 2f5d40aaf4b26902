/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/oom_score.h"

#include "base/diag.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SCORE_FILE "/proc/self/oom_score_adj"
#define NEVER_KILL "-1000"

static int
read_score(OomScore *score)
{
        autofd int fd = open(SCORE_FILE, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t n = fd_read(fd, score->text, sizeof score->text - 1);
        if (n < 0)
                return (int)n;
        score->text[n] = '\0';
        (void)g_strchomp(score->text);
        return 0;
}

/* One write(2): the kernel takes each write as a whole value. */
static int
write_score(const char *text, size_t len)
{
        autofd int fd = open(SCORE_FILE, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return write(fd, text, len) < 0 ? -errno : 0;
}

void
oom_score_protect(OomScore *ret_before)
{
        *ret_before = (OomScore){0};
        int r = read_score(ret_before);
        if (r < 0)
                diag_debug("Cannot read %s: %s", SCORE_FILE, strerror(-r));
        r = write_score(NEVER_KILL, strlen(NEVER_KILL));
        if (r < 0)
                diag_debug("Cannot lower %s, the OOM killer may choose the monitor: %s", SCORE_FILE,
                           strerror(-r));
}

const char *
oom_score_text(const OomScore *score)
{
        return *score->text ? score->text : NULL;
}
