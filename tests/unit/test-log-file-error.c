/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/file/file_error.h"

#include <errno.h>
#include <glib.h>

static void
test_permanent(void)
{
        const int errors[] = {EACCES, EPERM,   EROFS, EBUSY,        EXDEV,
                              EISDIR, ENOTDIR, ELOOP, ENAMETOOLONG, EOPNOTSUPP};
        for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
                g_assert_true(log_file_error_is_permanent(errors[i]));
                g_assert_true(log_file_error_is_permanent(-errors[i]));
        }
}

static void
test_transient(void)
{
        const int errors[] = {0,      ENOSPC, EDQUOT, EFBIG,  ENOMEM, EMFILE, ENFILE, EIO,
                              ESTALE, ENOENT, ENXIO,  EAGAIN, EINTR,  EPIPE,  4000};
        for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
                g_assert_false(log_file_error_is_permanent(errors[i]));
                g_assert_false(log_file_error_is_permanent(-errors[i]));
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/file-error/permanent", test_permanent);
        g_test_add_func("/log/file-error/transient", test_transient);
        return g_test_run();
}
