#pragma once

/* The old files of a log, name.1 and so on, which become name.1.gz: one at a time, the youngest first, in a
 * process of its own. What an earlier run left undone is done too. */

#include "log/compressor.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct LogArchive {
        LogCompressor compressor;
        int dirfd; /* own copies, while it is busy */
        char *name;
        char *temp;   /* the file that is being written */
        dev_t dev;    /* of the old file that is being compressed */
        ino_t ino;
        int number;   /* that it had when somebody looked */
        int backups;  /* how many old files are kept */
        int64_t budget; /* bytes for all files */
        int64_t room;   /* bytes that the compressed file may take */
        int64_t live;   /* bytes that the current file may have meanwhile */
        bool told;      /* that compressing fails */
} LogArchive;

void log_archive_init(LogArchive *a);

/* Compresses the old files that are not compressed, unless that goes on already. At no moment shall all files
 * together be longer than `budget`; what remains of that for the current file is in a->live, and if it would
 * need more, the caller calls log_archive_stop. */
void log_archive_start(LogArchive *a, int dirfd, const char *name, int backups, int64_t budget);

bool log_archive_is_busy(const LogArchive *a);

/* The log was rotated: old files have other numbers, or are gone. */
void log_archive_shift(LogArchive *a);

/* Gives up what goes on; the old file stays as it is. */
void log_archive_stop(LogArchive *a);
