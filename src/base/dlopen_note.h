#pragma once

/* Tells packagers which libraries a program opens by itself (the .note.dlopen convention of the UAPI
 * group, https://uapi-group.org/specifications/specs/elf_dlopen_metadata/): an ELF note of owner
 * "FDO" whose text is JSON. */

#include <stdint.h>

#define DLOPEN_NOTE_TYPE 0x407c0c0a

/* `name` is an identifier that is used once in the file; the others are string literals: the feature
 * that needs the library, what it is good for, how much it is needed (required, recommended,
 * suggested) and the library's name. */
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
