/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spool's folder that no agent wrote: the input's first byte says how much of it is the cursor, the rest is one
 * segment. What comes out is not judged, only that it ends, and that the spool takes a report behind it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export/spool-files.h"
#include "export/spool.h"

#define CURSOR_BYTES 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_drop(void *ctx, const struct sonde_spool_meta *meta, enum sonde_spool_drop why)
{
}

static void on_words(void *ctx, const char *words)
{
}

static void write_file(int dir_fd, const char *name, const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0)
		(void)!sonde_pwrite_all(fd, data, n, 0);
}

static void drain(struct sonde_spool *s)
{
	struct sonde_spool_meta meta;

	for (;;) {
		_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;

		if (sonde_spool_next(s, 1000, &meta, &r) < 0)
			return;
		sonde_spool_hold(s);
		if (sonde_spool_pop(s) < 0)
			abort();
	}
}

static void use(const char *dir)
{
	const struct sonde_spool_config config = {
		.dir = dir, .max_bytes = SONDE_SPOOL_BYTES_MIN, .max_age_ms = 1000};
	const struct sonde_spool_handler handler = {on_drop, on_words, NULL};
	_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;
	_cleanup_(sonde_spool_freep) struct sonde_spool *s = NULL;
	char words[SONDE_SPOOL_WORDS_MAX];
	struct sonde_spool_stats stats;

	if (sonde_spool_open(&config, &handler, words, &s) < 0 || sonde_report_new(&r) < 0)
		return;
	drain(s);
	if (sonde_spool_put(s, r, 1000, 0, 1000) < 0)
		abort();
	drain(s);
	sonde_spool_stats(s, &stats);
	if (stats.records || stats.bytes || stats.segments)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t n_cursor = size > 0 && data[0] < CURSOR_BYTES ? data[0] : CURSOR_BYTES;
	char dir[] = "/tmp/sonde-fuzz-spool-XXXXXX";
	_cleanup_close_ int fd = -1;

	if (size < 1 + n_cursor || !mkdtemp(dir))
		return 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_file(fd, "cursor", data + 1, n_cursor);
	write_file(fd, "0000000000000001.seg", data + 1 + n_cursor, size - 1 - n_cursor);
	use(dir);
	(void)unlinkat(fd, "cursor", 0);
	(void)unlinkat(fd, "lock", 0);
	(void)unlinkat(fd, "0000000000000001.seg", 0);
	(void)unlinkat(fd, "0000000000000002.seg", 0);
	(void)rmdir(dir);
	return 0;
}
