/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/trust.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The owner that a user namespace shows for each id that is not mapped. */
#define UNMAPPED_ID 65534

/* In the initial user namespace each id is mapped to itself. */
bool
trust_in_user_namespace(void)
{
        static const char first[] = "0 0 4294967295";
        char map[64];
        autofd int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -errno : fd_read(fd, map, sizeof map - 1);
        if (n < 0)
                return false; /* a kernel without user namespaces, or no /proc */
        map[n] = '\0';
        g_auto(GStrv) words = g_strsplit_set(g_strstrip(map), " ", -1);
        g_autoptr(GString) joined = g_string_new(NULL);
        for (char **word = words; *word; word++)
                if (**word)
                        g_string_append_printf(joined, "%s%s", joined->len ? " " : "", *word);
        return strcmp(joined->str, first) != 0;
}

/* A group with the same id as the owner is private. */
const char *
trust_find_stranger(const struct stat *st, bool system)
{
        bool unmapped = system && st->st_uid == UNMAPPED_ID && trust_in_user_namespace();
        if (st->st_mode & S_IWOTH)
                return "everybody may write to it";
        if ((st->st_mode & S_IWGRP) && (st->st_gid != st->st_uid || unmapped))
                return "its group may write to it";
        if (st->st_uid != 0 && st->st_uid != geteuid() && !unmapped)
                return "it belongs to another user";
        return NULL;
}
