/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Secret: a program that holds tokens leaves no copy of its memory behind. Any thread. */

#include <sys/prctl.h>

/*
 * No core dump, and no other process of the same user may look into this one. A token is in more places than
 * its own string (buffers of HTTP and of TLS), so that single pages would not do. It lasts until exec(2), or a
 * change of the user id. Cannot fail with these arguments.
 */
static inline void sonde_secret_guard(void)
{
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
