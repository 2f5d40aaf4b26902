/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The file of a file driver: appending whole messages, size limits, rotation, reopening. Also FIFOs,
 * terminals and devices, which have no size and are not renamed. */

#include "base/watch.h"
#include "log/file/archive.h"
#include "log/api/driver.h"

typedef struct LogFileLimits {
        int64_t size_max;   /* bytes; a message that would exceed it is written to a new file; <= 0: none */
        /* total bytes written, including those at the start; the message that reaches it is the last one;
         * <= 0: none */
        int64_t global_max;
        int64_t age_max;    /* usec; the next record after that is written to a new file; <= 0: none */
        int backups;        /* old files kept: name.1 is the most recent; 0: the old content is discarded */
        bool compress;      /* old files become name.1.gz and so on */
        /* reopening creates a new file even if the old one was not renamed, as callers of -l expect */
        bool renewed;
} LogFileLimits;

typedef struct LogFileOptions {
        int64_t max_size;
        int64_t max_age; /* microseconds */
        int64_t max_file;
        bool compress;
} LogFileOptions;

/* The options of file drivers, for their tables; `member` of the struct `type` is a LogFileOptions. */
#define LOG_FILE_OPTIONS(type, member)                                                                       \
        {"max-size", {VALUE_SIZE, .min = 1}, offsetof(type, member.max_size), "",                            \
         "maximum size of a file; not set: unlimited", .adopted = true},                                     \
                {"max-age", {VALUE_DURATION, .min = 1000 * 1000}, offsetof(type, member.max_age), "",        \
                 "maximum age of a file; not set: unlimited", .adopted = true},                              \
                {"max-file", {VALUE_INT, .min = 1, .max = 100000}, offsetof(type, member.max_file), "",      \
                 "number of files to keep, including the current one; not set: 1", .adopted = true},         \
        {                                                                                                    \
                "compress", {VALUE_BOOL}, offsetof(type, member.compress), "false",                          \
                "whether to compress old files", .adopted = true                                             \
        }

/* Merges the options into *limits. */
gboolean log_file_read_limits(const LogDriverConfig *config, const LogFileOptions *o, LogFileLimits *limits,
                              GError **error);

typedef struct LogFile {
        char *path;
        LogFileLimits limits;
        LogSink *sink;
        StandIn *stand_in;
        int fd;    /* -1: a FIFO without a reader */
        int dirfd; /* the directory of a regular file */
        char *name; /* of a regular file, in dirfd, symbolic links resolved */
        bool regular;
        bool forgotten; /* reopened after ESTALE, and nothing was written since */
        bool wants_new; /* a new file was requested, or is due by age, and can't be created yet */
        bool displaced; /* when that failed, the path did not lead to the old file, which had been renamed */
        bool truncation_reported; /* the file is truncated because it can't be rotated */
        bool reopen_reported;     /* a new file can't be created, and logging continues in the old one */
        int64_t size;
        int64_t total;
        int64_t born; /* when its first record was written, wall clock, microseconds */
        Watch writable;
        Timer again; /* while it runs, the old file is used although wants_new is set */
        LogArchive archive;
} LogFile;

/* Opens the file for appending, or creates it with mode 0640. A FIFO without a reader is no error: it is
 * opened when there is something to write. Returns 0 or -errno; -ETIMEDOUT, while the container runs, if the
 * disk does not respond: the file may be created later, but nothing is written to it. */
int log_file_open(LogFile *f, const char *path, const LogFileLimits *limits, const LogDriverConfig *config);

/* From the next record on. */
void log_file_set_limits(LogFile *f, const LogFileLimits *limits);

/* Live upgrade: for LogDriver.save and .restore. */
void log_file_save(const LogFile *f, StateWriter *w);
void log_file_restore(LogFile *f, LogSink *sink, StateReader *r);

/* The transport of drivers whose instance begins with a LogFile. Rotation and reopening keep the name: a
 * new file is renamed over it. Errors are handled as in log/file/file_error.h. */
extern const LogTransport log_file_transport;
