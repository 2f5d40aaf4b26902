/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/file/file_error.h"

#include <errno.h>
#include <stdlib.h>

bool
log_file_error_is_permanent(int error)
{
        switch (abs(error)) {
        case EACCES:
        case EPERM:
        case EROFS:
        case EBUSY:
        case EXDEV:
        case EISDIR:
        case ENOTDIR:
        case ELOOP:
        case ENAMETOOLONG:
        case EINVAL:
        case EOPNOTSUPP:
        case ENOSYS:
                return true;
        default:
                return false;
        }
}
