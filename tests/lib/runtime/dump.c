/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "dump.h"
#include "script.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void
put_string(FILE *out, const char *text)
{
        fputc('"', out);
        for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
                if (*c == '"' || *c == '\\')
                        fprintf(out, "\\%c", *c);
                else if (*c < 0x20 || *c > 0x7e)
                        fprintf(out, "\\u%04x", *c);
                else
                        fputc(*c, out);
        }
        fputc('"', out);
}

static void
put_list(FILE *out, const char *name, char **list)
{
        fprintf(out, ",\n\"%s\": [", name);
        for (char **item = list; *item != NULL; item++) {
                fputs(item == list ? "" : ", ", out);
                put_string(out, *item);
        }
        fputc(']', out);
}

static void
put_descriptor(FILE *out, int fd, const char *separator)
{
        char path[64], target[4096];
        struct stat st;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(path, target, sizeof target - 1);
        if (len < 0 || fstat(fd, &st) < 0)
                return;
        target[len] = '\0';
        fprintf(out, "%s\"%d\": {\"target\": ", separator, fd);
        put_string(out, target);
        fprintf(out, ", \"type\": %u, \"mode\": %u, \"flags\": %d}", st.st_mode & S_IFMT, st.st_mode & 07777,
                fcntl(fd, F_GETFL));
}

static void
put_descriptors(FILE *out, int own)
{
        DIR *dir = opendir("/proc/self/fd");
        const char *separator = "";
        fputs(",\n\"fds\": {", out);
        for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
                int fd = atoi(entry->d_name);
                if (entry->d_name[0] == '.' || fd == own || fd == dirfd(dir))
                        continue;
                put_descriptor(out, fd, separator);
                separator = ", ";
        }
        fputc('}', out);
        if (dir != NULL)
                closedir(dir);
}

static void
put_status(FILE *out)
{
        static const struct {
                const char *field, *name;
        } wanted[] = {{"Umask:", "umask"}, {"SigBlk:", "blocked"}, {"SigIgn:", "ignored"}};
        FILE *status = fopen("/proc/self/status", "re");
        char line[512], value[512];
        while (status != NULL && fgets(line, sizeof line, status) != NULL) {
                for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
                        size_t len = strlen(wanted[i].field);
                        if (strncmp(line, wanted[i].field, len) == 0 &&
                            sscanf(line + len, "%511s", value) == 1)
                                fprintf(out, ",\n\"%s\": \"%s\"", wanted[i].name, value);
                }
        }
        if (status != NULL)
                fclose(status);
}

static void
put_oom_score(FILE *out)
{
        FILE *file = fopen("/proc/self/oom_score_adj", "re");
        int value;
        if (file != NULL && fscanf(file, "%d", &value) == 1)
                fprintf(out, ",\n\"oom_score_adj\": %d", value);
        if (file != NULL)
                fclose(file);
}

void
dump_write(const char *path, char **argv)
{
        char temporary[4096], cwd[4096];
        snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
        FILE *out = fopen(temporary, "we");
        if (out == NULL)
                script_fail("cannot write", path);
        fprintf(out, "{\"pid\": %d,\n\"ppid\": %d,\n\"pgid\": %d,\n\"sid\": %d", getpid(), getppid(),
                getpgrp(), getsid(0));
        if (getcwd(cwd, sizeof cwd) != NULL) {
                fputs(",\n\"cwd\": ", out);
                put_string(out, cwd);
        }
        put_list(out, "argv", argv);
        put_list(out, "env", environ);
        put_status(out);
        put_oom_score(out);
        put_descriptors(out, fileno(out));
        fputs("}\n", out);
        if (fclose(out) != 0 || rename(temporary, path) < 0)
                script_fail("cannot write", path);
}
