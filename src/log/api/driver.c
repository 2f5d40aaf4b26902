/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/driver.h"

void *
log_driver_open(const LogDriver *driver, const LogDriverConfig *config, GError **error)
{
        void *self = g_malloc0(driver->size);
        if (driver->open(self, config, error))
                return self;
        log_driver_close(driver, self);
        return NULL;
}

size_t
log_driver_encode(const LogDriver *driver, void *self, const LogRecord *records, size_t n, LogBlock *block)
{
        const LogFormat *f = &driver->format;
        if (f->encode)
                return f->encode(self, records, n, block);
        return log_format_encode_each(f->put, f->max_encoded_len, self, records, n, block);
}

void
log_driver_close(const LogDriver *driver, void *self)
{
        if (!self)
                return;
        driver->transport->close(self);
        if (driver->done)
                driver->done(self);
        g_free(self);
}
