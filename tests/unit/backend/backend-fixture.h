/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A folder of its own with a store in it, for the tests that need one. */

#include "sonde-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/store/store.h"
#include "test-folder.h"

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
	if (sonde_test_folder_make(f->dir) < 0) {
		free(f);
		return -1;
	}
	(void)snprintf(f->path, sizeof(f->path), "%s/db", f->dir);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	int r;

	fixture_close(f);
	r = sonde_test_folder_remove(f->dir);
	free(f);
	return r;
}
