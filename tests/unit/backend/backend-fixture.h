/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A folder of its own with a store in it, for the tests that need one. */

#include "sonde-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/store/store.h"

struct fixture {
	char dir[64];
	char path[96];
	struct sonde_store *store;
};

static inline void fixture_open(struct fixture *f)
{
	assert_ok(sonde_store_open(NULL, f->path, &f->store));
}

static inline void fixture_close(struct fixture *f)
{
	f->store = sonde_store_free(f->store);
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/sonde-test-XXXXXX");
	if (!mkdtemp(f->dir)) {
		free(f);
		return -1;
	}
	(void)snprintf(f->path, sizeof(f->path), "%s/db", f->dir);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	struct fixture *f = *state;
	char path[128];

	fixture_close(f);
	for (size_t i = 0; i < ELEMENTS_OF(suffixes); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", f->path, suffixes[i]);
		(void)unlink(path);
	}
	(void)rmdir(f->dir);
	free(f);
	return 0;
}
