/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Classifies errors of log files, for opening, reopening, rotation and writing. */

#include <stdbool.h>

/* True if the call that failed with this errno value (positive, or negative as in a result) will fail in the
 * same way until the system is changed, so that the caller uses its fallback instead of waiting:
 *
 *   EACCES, EPERM            the directory belongs to another user, or the file is immutable
 *   EROFS                    the file system is mounted read-only
 *   EBUSY                    the file is a mount of its own, which can't be renamed or replaced
 *   EXDEV                    the same, where the mount hides another file system
 *   EISDIR, ENOTDIR, ELOOP   the file or its directory is something else
 *   ENAMETOOLONG, EINVAL     the name is invalid, or the file system does not support the operation
 *   EOPNOTSUPP, ENOSYS
 *
 * Everything else is transient: no space (ENOSPC, EDQUOT, EFBIG), no memory or descriptors (ENOMEM, EMFILE,
 * ENFILE, ENOBUFS), a disk or server that fails (EIO, ESTALE, ETIMEDOUT), a directory that is gone (ENOENT),
 * a FIFO without reader (ENXIO, EPIPE). Unknown errors are transient as well.
 *
 * Consequences:
 *
 *   first open   both: reported to the caller of the monitor, and no container is started
 *   reopening    writing continues in the open file; transient: until the next attempts succeed, or, if the
 *                open file was removed, records wait in the queue
 *   max-size     permanent: the file is truncated; transient: records wait in the queue
 *   max-age      as for reopening
 *   write        ESTALE: the file is opened again; all others: records wait in the queue, because there is
 *                no alternative */
bool log_file_error_is_permanent(int error);
