/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Ownership by scope: _cleanup_() frees what a local owns, TAKE_*() hands it on. */

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((__cleanup__(fn)))
#define _must_check_ __attribute__((__warn_unused_result__))
#define _printf_(fmt, args) __attribute__((__format__(__printf__, fmt, args)))

/* Steal: hand the value on and leave the local empty, so its cleanup is a no-op. */
#define TAKE(var, empty)                                                                           \
	({                                                                                         \
		__typeof__(var) _taken = (var);                                                    \
		(var) = (empty);                                                                   \
		_taken;                                                                            \
	})
#define TAKE_PTR(p) TAKE(p, NULL)
#define TAKE_FD(fd) TAKE(fd, -1)

/* SONDE_DEFINE_CLEANUP(struct foo *, foo_free) makes foo_freep() for use with _cleanup_(). */
#define SONDE_DEFINE_CLEANUP(type, func)                                                           \
	static inline void func##p(type *p)                                                        \
	{                                                                                          \
		if (*p)                                                                            \
			*p = func(*p);                                                             \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(freep)

static inline void closep(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
#define _cleanup_close_ _cleanup_(closep)

#define ELEMENTS_OF(a) (sizeof(a) / sizeof((a)[0]))
