/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The old files of a log, name.1 and so on, which become name.1.gz: one at a time, the most recent first,
 * in a separate process. Files left by an earlier run are also compressed. */

#include "base/stand_in.h"
#include "log/api/driver.h"
#include "log/file/compressor.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct LogArchive {
        LogCompressor compressor;
        int dirfd; /* own copies, while it is busy */
        char *name;
        char *temp;   /* the file that is being written */
        dev_t dev;    /* of the old file that is being compressed */
        ino_t ino;
        int number;   /* that it had when last checked */
        int backups;  /* how many old files are kept */
        int64_t budget; /* bytes for all files */
        int64_t room;   /* bytes that the compressed file may take */
        int64_t live;   /* bytes that the current file may have meanwhile */
        bool failure_reported;
        LogSink *sink; /* the log file's */
} LogArchive;

/* What accesses files is done with the sink's stand-in; none of this may be called while it serves. */
void log_archive_init(LogArchive *a, LogSink *sink);

/* Compresses the old files that are not compressed, unless it is already running. The total size of all
 * files never exceeds `budget`; a->live is the part left for the current file, and if that needs more, the
 * caller calls log_archive_stop. */
void log_archive_start(LogArchive *a, int dirfd, const char *name, int backups, int64_t budget);

bool log_archive_is_busy(const LogArchive *a);

/* The log was rotated: old files have new numbers, or were removed. */
void log_archive_shift(LogArchive *a);

/* Cancels the compression; the old file is kept unchanged. */
void log_archive_stop(LogArchive *a);

/* Live upgrade: the running compression. log_archive_init is called before restoring. */
void log_archive_save(const LogArchive *a, StateWriter *w);
void log_archive_restore(LogArchive *a, StateReader *r);
