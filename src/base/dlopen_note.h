/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Declares for packagers which libraries a program loads at run time, according to the UAPI group's
 * specification (https://uapi-group.org/specifications/specs/elf_dlopen_metadata/): an ELF note of owner
 * "FDO" whose text is JSON. */

#include <stdint.h>

#define DLOPEN_NOTE_TYPE 0x407c0c0a

/* `name` is an identifier that is unique in the file. The others are string literals: the feature that needs
 * the library, its purpose, its priority (required, recommended, suggested) and the library's name. */
#define DLOPEN_NOTE(name, feature, description, priority, library)                            \
        __attribute__((used, section(".note.dlopen"), aligned(4))) static const struct {      \
                uint32_t owner_len, text_len, type;                                           \
                char owner[4];                                                                \
                char text[sizeof DLOPEN_NOTE_TEXT(feature, description, priority, library)];  \
        } name = {                                                                            \
                .owner_len = 4,                                                               \
                .text_len = sizeof DLOPEN_NOTE_TEXT(feature, description, priority, library), \
                .type = DLOPEN_NOTE_TYPE,                                                     \
                .owner = "FDO",                                                               \
                .text = DLOPEN_NOTE_TEXT(feature, description, priority, library),            \
        }

#define DLOPEN_NOTE_TEXT(feature, description, priority, library)                                    \
        "[{\"feature\":\"" feature "\",\"description\":\"" description "\",\"priority\":\"" priority \
        "\",\"soname\":[\"" library "\"]}]"
