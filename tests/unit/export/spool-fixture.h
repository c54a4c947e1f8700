/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A spool in a folder of its own under the working folder, and reports for it. */

#include "sonde-test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/spool.h"

struct fixture {
	char dir[64];
	struct sonde_spool_config config;
	struct sonde_spool *spool;
	char dropped[4096]; /* "id id …" */
	enum sonde_spool_drop why;
	char words[2048];
	char refusal[SONDE_SPOOL_WORDS_MAX];
};

static inline void fixture_drop(void *ctx, const struct sonde_spool_meta *meta,
				enum sonde_spool_drop why)
{
	struct fixture *f = ctx;
	size_t n = strlen(f->dropped);

	f->why = why;
	(void)snprintf(f->dropped + n, sizeof(f->dropped) - n, "%s ", meta->id);
}

static inline void fixture_words(void *ctx, const char *words)
{
	struct fixture *f = ctx;
	size_t n = strlen(f->words);

	(void)snprintf(f->words + n, sizeof(f->words) - n, "%s\n", words);
}

static inline int fixture_open(struct fixture *f)
{
	const struct sonde_spool_handler handler = {fixture_drop, fixture_words, f};

	return sonde_spool_open(&f->config, &handler, f->refusal, &f->spool);
}

static inline int fixture_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)snprintf(f->dir, sizeof(f->dir), "spool-test-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->config = (struct sonde_spool_config){
		.dir = f->dir, .max_bytes = 8 << 20, .max_age_ms = 1000000};
	*state = f;
	return 0;
}

/* The folder is flat. */
static inline int fixture_tear_down(void **state)
{
	struct fixture *f = *state;
	const struct dirent *e;
	DIR *d;

	f->spool = sonde_spool_free(f->spool);
	(void)chmod(f->dir, 0700);
	d = opendir(f->dir);
	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		(void)closedir(d);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* A report of @bytes that do not compress, told apart by @seed. */
static inline struct sonde_report *fixture_report(const char *task, unsigned number, size_t bytes)
{
	struct sonde_report *r = NULL;
	uint64_t x = number + 1;

	assert_ok(sonde_report_new(&r));
	(void)snprintf(r->task, sizeof(r->task), "%s", task);
	(void)snprintf(r->id, sizeof(r->id), "%s/%u/x", task, number);
	r->sequence = number;
	r->task_report = SONDE_BUF_INIT(1 << 20);
	assert_ok(sonde_buf_printf(&r->task_report, "report %u", number));
	r->messages = calloc(2, sizeof(r->messages[0]));
	assert_non_null(r->messages);
	r->n_messages = 2;
	r->messages[0] = SONDE_BUF_INIT(32 << 20);
	r->messages[1] = SONDE_BUF_INIT(32 << 20);
	assert_ok(sonde_buf_printf(&r->messages[1], "end %u", number));
	assert_ok(sonde_buf_reserve(&r->messages[0], bytes));
	for (size_t i = 0; i < bytes; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		r->messages[0].data[i] = (uint8_t)(x >> 56);
	}
	r->messages[0].len = bytes;
	return r;
}
