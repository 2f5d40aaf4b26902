/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "conmonctl/monitor_info.h"

#include "base/fd.h"
#include "core/options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COMMAND      "conmon"
#define SHORT_ID_LEN 12

/* The longest argument vector and environment that execve(2) takes: 3/4 of 8 MiB. */
#define COMMAND_LINE_MAX (6 << 20)

static void
monitor_info_free(MonitorInfo *m)
{
        g_free(m->cid);
        g_free(m->name);
        g_free(m->directory);
        g_free(m->persist_directory);
        monitor_status_free(m->status);
        g_free(m);
}

/* Reads a file of a process in /proc; NULL if that fails. */
static char *
read_proc(pid_t pid, const char *file, size_t max, size_t *ret_len)
{
        char path[64];
        char *text = NULL;
        (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
        return fd_read_file(path, max, &text, ret_len) == 0 ? text : NULL;
}

/* Splits a command line from /proc, where each argument ends with a NUL. */
static char **
split_arguments(char *text, size_t len)
{
        GPtrArray *arguments = g_ptr_array_new();
        for (char *at = text; at < text + len; at += strlen(at) + 1)
                g_ptr_array_add(arguments, at);
        g_ptr_array_add(arguments, NULL);
        return (char **)g_ptr_array_free(arguments, FALSE);
}

static gint64
clock_usec(clockid_t clock)
{
        struct timespec now = {0};
        (void)clock_gettime(clock, &now);
        return (gint64)now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

/* Parent and start time, fields 4 and 22 of proc_pid_stat(5). The name in field 2 may contain anything. */
static bool
read_stat(MonitorInfo *m)
{
        g_autofree char *text = read_proc(m->pid, "stat", 4096, NULL);
        const char *rest = text ? strrchr(text, ')') : NULL;
        unsigned long long start = 0;
        int parent = 0;
        if (!rest ||
            sscanf(rest + 1,
                   " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                   &parent, &start) != 2)
                return false;
        m->parent = (pid_t)parent;
        m->started_usec = clock_usec(CLOCK_REALTIME) - clock_usec(CLOCK_BOOTTIME) +
                          (gint64)(start * G_USEC_PER_SEC / (unsigned long long)sysconf(_SC_CLK_TCK));
        return true;
}

static bool
same_mount_namespace(pid_t pid)
{
        struct stat own, other;
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
        return stat("/proc/self/ns/mnt", &own) == 0 && stat(path, &other) == 0 && own.st_ino == other.st_ino;
}

/* Returns a path of the monitor as this process can open it. */
static char *
reachable(pid_t pid, const char *path)
{
        if (!path || !g_path_is_absolute(path))
                return NULL;
        if (same_mount_namespace(pid))
                return g_strdup(path);
        g_autofree char *there = g_strdup_printf("/proc/%d/root%s", (int)pid, path);
        return access(there, F_OK) == 0 ? g_steal_pointer(&there) : g_strdup(path);
}

static bool
has_part(const char *path, const char *part)
{
        return path && strstr(path, part);
}

static const char *
engine_of(const Options *o)
{
        const char *program = o->exit_command ? strrchr(o->exit_command, '/') : NULL;
        if (program && g_str_has_prefix(program + 1, "podman"))
                return "podman";
        if (has_part(o->exit_dir, "/libpod/") || has_part(o->socket_dir_path, "/libpod/"))
                return "podman";
        if (has_part(o->exit_dir, "/crio/") || has_part(o->socket_dir_path, "/crio"))
                return "cri-o";
        return "-";
}

int
monitor_info_open(const MonitorInfo *m, const char *path, int flags, mode_t type)
{
        struct stat st;
        char found[64];
        autofd int place = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (place < 0 || fstat(place, &st) < 0)
                return -errno;
        if ((st.st_mode & S_IFMT) != type || st.st_uid != m->uid)
                return -EPERM;
        (void)snprintf(found, sizeof found, "/proc/self/fd/%d", place);
        int fd = open(found, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

static pid_t
read_pid_file(const MonitorInfo *m, const char *path)
{
        g_autofree char *text = NULL;
        autofd int fd = path ? monitor_info_open(m, path, O_RDONLY, S_IFREG) : -1;
        if (fd < 0 || fd_read_text(fd, 32, &text, NULL) < 0)
                return 0;
        gint64 pid = g_ascii_strtoll(text, NULL, 10);
        return pid > 0 && pid <= G_MAXINT ? (pid_t)pid : 0;
}

/* True if the executed file was removed or replaced. */
static bool
is_outdated(pid_t pid)
{
        char link[64], target[4096];
        struct stat running, installed;
        (void)snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
        ssize_t len = readlink(link, target, sizeof target - 1);
        if (len < 0 || stat(link, &running) < 0)
                return false;
        target[len] = '\0';
        if (g_str_has_suffix(target, " (deleted)"))
                return true;
        return stat(target, &installed) == 0 &&
               (installed.st_ino != running.st_ino || installed.st_dev != running.st_dev);
}

static gint64
private_memory(pid_t pid)
{
        g_autofree char *text = read_proc(pid, "smaps_rollup", 1 << 16, NULL);
        const char *line = text ? strstr(text, "\nPrivate_Dirty:") : NULL;
        return line ? g_ascii_strtoll(line + strlen("\nPrivate_Dirty:"), NULL, 10) * 1024 : -1;
}

/* Takes the members that the command line determines. */
static bool
take_options(MonitorInfo *m, char **argv)
{
        Options o = {0};
        bool ok = options_parse(&o, (int)g_strv_length(argv), argv, NULL) && o.cid && *o.cid;
        if (ok) {
                g_autofree char *pid_file = reachable(m->pid, o.container_pidfile);
                m->cid = g_strdup(o.cid);
                m->name = g_strdup(o.name);
                m->exec = o.exec;
                m->engine = engine_of(&o);
                m->directory = reachable(m->pid, o.bundle);
                m->persist_directory = reachable(m->pid, o.persist_dir);
                m->container_pid = read_pid_file(m, pid_file);
        }
        options_clear(&o);
        return ok;
}

/* Called for every process of the host, so this is checked first. */
static bool
is_called_conmon(pid_t pid)
{
        char path[64], name[32];
        (void)snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t len = fd >= 0 ? fd_read(fd, name, sizeof name) : -1;
        return len == sizeof COMMAND && memcmp(name, COMMAND "\n", sizeof COMMAND) == 0;
}

/* NULL if the process is not a monitor, belongs to another user, or has exited. */
static MonitorInfo *
read_monitor(pid_t pid)
{
        struct stat st;
        char path[64];
        size_t len = 0;
        (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
        if (!is_called_conmon(pid) || stat(path, &st) < 0 || (geteuid() != 0 && st.st_uid != geteuid()))
                return NULL;
        MonitorInfo *m = g_new0(MonitorInfo, 1);
        g_autofree char *command_line = read_proc(pid, "cmdline", COMMAND_LINE_MAX, &len);
        g_autofree char **argv = command_line ? split_arguments(command_line, len) : NULL;
        m->pid = pid;
        m->uid = st.st_uid;
        if (!argv || !argv[0] || !read_stat(m) || !take_options(m, argv)) {
                monitor_info_free(m);
                return NULL;
        }
        m->outdated = is_outdated(pid);
        m->memory = private_memory(pid);
        return m;
}

static gint
compare(gconstpointer a, gconstpointer b)
{
        const MonitorInfo *left = *(MonitorInfo *const *)a, *right = *(MonitorInfo *const *)b;
        int names = g_strcmp0(left->name ? left->name : left->cid, right->name ? right->name : right->cid);
        if (names != 0)
                return names;
        int ids = strcmp(left->cid, right->cid);
        return ids != 0 ? ids : left->exec != right->exec ? left->exec - right->exec : left->pid - right->pid;
}

/* A child of a monitor has the same command line until it executes a program, if it ever does. */
static bool
is_child_of_another(const MonitorInfo *m, const GPtrArray *all)
{
        for (guint i = 0; i < all->len; i++) {
                const MonitorInfo *other = g_ptr_array_index(all, i);
                if (other->pid == m->parent && strcmp(other->cid, m->cid) == 0 && other->exec == m->exec)
                        return true;
        }
        return false;
}

GPtrArray *
monitor_info_list(void)
{
        GPtrArray *all = g_ptr_array_new();
        GPtrArray *monitors = g_ptr_array_new_with_free_func((GDestroyNotify)monitor_info_free);
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; proc && (entry = readdir(proc));) {
                MonitorInfo *m =
                        g_ascii_isdigit(*entry->d_name) ? read_monitor((pid_t)atoi(entry->d_name)) : NULL;
                if (m)
                        g_ptr_array_add(all, m);
        }
        if (proc)
                (void)closedir(proc);
        GPtrArray *children = g_ptr_array_new_with_free_func((GDestroyNotify)monitor_info_free);
        for (guint i = 0; i < all->len; i++) {
                MonitorInfo *m = g_ptr_array_index(all, i);
                g_ptr_array_add(is_child_of_another(m, all) ? children : monitors, m);
        }
        g_ptr_array_unref(children);
        g_ptr_array_unref(all);
        g_ptr_array_sort(monitors, compare);
        return monitors;
}

char *
monitor_info_short_id(const MonitorInfo *m)
{
        return g_strndup(m->cid, SHORT_ID_LEN);
}

bool
monitor_info_matches(const MonitorInfo *m, const char *text)
{
        if (strcmp(m->cid, text) == 0 || (strlen(text) >= ID_PREFIX_MIN && g_str_has_prefix(m->cid, text)))
                return true;
        return m->name && fnmatch(text, m->name, 0) == 0;
}
