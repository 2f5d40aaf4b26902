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
        for (size_t i = 0; i < n; i++) {
                char *at = log_block_room(block, f->max_encoded_len(self, records[i].len));
                if (!at)
                        return i;
                log_block_add(block, (size_t)(f->put(self, &records[i], at) - at), &records[i]);
        }
        return n;
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
