#pragma once

/* The file of a file driver: appending whole messages, size limits, rotation, reopening. Also FIFOs,
 * terminals and devices, which have no size and are not renamed. */

#include "base/watch.h"
#include "log/archive.h"
#include "log/driver.h"

typedef struct LogFileLimits {
        int64_t size_max;   /* bytes; a message that would go beyond makes a new file; <= 0: none */
        /* bytes ever written, what was there at the start counted; the message that reaches it is the last
         * one; <= 0: none */
        int64_t global_max;
        int backups;        /* old files kept: name.1 is the youngest; 0: the old content goes away */
        bool compress;      /* old files become name.1.gz and so on */
        /* reopening makes a new file even if nobody has renamed the old one, as callers of -l know */
        bool renewed;
} LogFileLimits;

/* The options of file drivers, for their tables. */
#define LOG_FILE_OPTIONS                                                                                     \
        {"max-size", LOG_OPTION_SIZE, NULL, "size that a file may have", .min = 1},                          \
                {"max-file", LOG_OPTION_INT, NULL, "files that are kept, the current one counted", .min = 1, \
                 .max = 100000},                                                                             \
        {                                                                                                    \
                "compress", LOG_OPTION_BOOL, "false", "whether older files are compressed"                   \
        }

/* Reads the options, on top of what *limits says already. */
gboolean log_file_read_limits(const LogDriverConfig *config, LogFileLimits *limits, GError **error);

typedef struct LogFile {
        char *path;
        LogFileLimits limits;
        LogSink *sink;
        int fd;    /* -1: a FIFO that nobody reads, or one whose reader went away */
        int dirfd; /* the directory of a regular file */
        char *name; /* of a regular file, in dirfd, symbolic links resolved */
        bool regular;
        bool wants_new; /* somebody asked for a new file, and that failed so far */
        bool told;      /* that the file is truncated because it can't be rotated */
        int64_t size;
        int64_t total;
        Watch writable;
        LogArchive archive;
} LogFile;

/* Opens the file for appending, or makes it with mode 0640. A FIFO without reader is no error: it is opened
 * when there is something to write. Returns 0 or -errno; then there is nothing to close. */
int log_file_open(LogFile *f, const char *path, const LogFileLimits *limits, LogSink *sink);

/* In the monitor: compresses what was left. */
void log_file_start(LogFile *f);

/* The functions of a driver, see LogDriver. Rotation and reopening keep the name: a
 * new file is renamed over it. */
int log_file_send(LogFile *f, LogQueue *q);
int log_file_reopen(LogFile *f, LogQueue *q);
void log_file_finish(LogFile *f, LogQueue *q, bool sync);
void log_file_close(LogFile *f);
