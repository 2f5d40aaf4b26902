/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/sandbox.h"

bool
sandbox_is_supported(void)
{
        return false;
}

void
sandbox_enter(Sandbox sandbox)
{
}
