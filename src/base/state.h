/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The state of a monitor for a live upgrade: named values in a memory file. Values are read in the order in
 * which they were written, by name; each module writes and reads its own part.
 *
 * A change of the format requires a new STATE_VERSION, and readers that support older ones (state_version).
 * A reader rejects versions newer than its own, any unexpected name, and values out of bounds. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_VERSION 1

/* ---- writing ---- */

typedef struct StateWriter StateWriter;

/* Creates the memory file. state_writer_finish reports later failures. */
StateWriter *state_writer_new(GError **error);
void state_writer_free(StateWriter *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StateWriter, state_writer_free)

/* A part of the state can't be saved now, so saving fails for this reason. Only the first reason is kept. */
void state_refuse(StateWriter *w, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Names are at most 31 bytes long. */
void state_put_uint(StateWriter *w, const char *name, uint64_t value);
void state_put_int(StateWriter *w, const char *name, int64_t value);
void state_put_bytes(StateWriter *w, const char *name, const void *bytes, size_t len);

/* NULL is allowed. */
void state_put_text(StateWriter *w, const char *name, const char *text);
void state_put_texts(StateWriter *w, const char *name, char *const *texts);

/* NULL is written as an empty string. */
void state_put_string(StateWriter *w, const char *name, const GString *s);

/* A descriptor that the next program inherits; negative: none. It still belongs to the caller. */
void state_put_fd(StateWriter *w, const char *name, int fd);

/* Values between these two calls are a group. */
void state_begin(StateWriter *w, const char *name);
void state_end(StateWriter *w);

/* Seals the memory file. */
gboolean state_writer_finish(StateWriter *w, GError **error);

/* The memory file, and the descriptors that were written (int). Both belong to the writer. */
int state_writer_fd(const StateWriter *w);

const GArray *state_writer_fds(const StateWriter *w);

/* ---- reading ---- */

typedef struct StateReader StateReader;

/* Maps a memory file, which must be complete, sealed, and written by this process or, with `check`, by its
 * parent. With `check` the descriptors of the state are not open: -1 is returned for each. */
StateReader *state_reader_new(int fd, bool check, GError **error);

/* Reads from memory, which must outlive the reader; as with `check`. */
StateReader *state_reader_new_of(const void *bytes, size_t len, GError **error);
void state_reader_free(StateReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StateReader, state_reader_free)

/* The version of the program that wrote it. */
unsigned state_version(const StateReader *r);

/* After the first failure all values are 0, NULL or empty. Modules call state_fail for values that are
 * invalid for them. */
void state_fail(StateReader *r, const char *format, ...) G_GNUC_PRINTF(2, 3);
bool state_failed(const StateReader *r);

/* True if there was no failure, and everything was read. */
gboolean state_reader_finish(StateReader *r, GError **error);

/* A value out of bounds is a failure. */
uint64_t state_get_uint(StateReader *r, const char *name, uint64_t max);
int64_t state_get_int(StateReader *r, const char *name, int64_t min, int64_t max);
bool state_get_bool(StateReader *r, const char *name);

/* The bytes live as long as the reader. */
const char *state_get_bytes(StateReader *r, const char *name, size_t *ret_len);

/* The caller frees. A string may have any bytes. state_get_string_or_null returns NULL for an empty one. */
GString *state_get_string(StateReader *r, const char *name);
GString *state_get_string_or_null(StateReader *r, const char *name);
char *state_get_text(StateReader *r, const char *name);
char **state_get_texts(StateReader *r, const char *name);

/* The descriptor, which is close-on-exec and now belongs to the caller; -1: none. */
int state_get_fd(StateReader *r, const char *name);

/* Enters a group of this name, which must come next. */
void state_enter(StateReader *r, const char *name);

/* Enters it and returns true, if it comes next. */
bool state_enter_next(StateReader *r, const char *name);

/* Leaves the group, whose end must have been reached. */
void state_leave(StateReader *r);
