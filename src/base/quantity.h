#pragma once

/* Numbers as people write them on command lines and in configuration files. */

#include <stdbool.h>
#include <stdint.h>

/* Reads a size as Docker does: 512, 10k, 1.5m, 2GiB. `unit` is 1000 or 1024, whatever the letters
 * say. False if it is none. */
bool quantity_parse_size(const char *text, int unit, int64_t *ret_bytes);

/* Reads a duration as Go does: 500ms, 2s, 1m30s. False if it is none or negative. */
bool quantity_parse_duration(const char *text, int64_t *ret_usec);

/* Reads true, false, yes, no, t, f, 1 or 0, in any case. False if it is none of them. */
bool quantity_parse_bool(const char *text, bool *ret_value);
