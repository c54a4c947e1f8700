/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export/spool-internal.h"

static int compare_segments(const void *a, const void *b)
{
	const struct sonde_segment *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int note_segment(struct sonde_spool *s, uint64_t number)
{
	struct sonde_segment *more;

	if (s->n == SONDE_SPOOL_SEGMENTS_MAX)
		return -E2BIG;
	more = reallocarray(s->segments, s->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->segments = more;
	s->segments[s->n++] = (struct sonde_segment){.number = number};
	return 0;
}

static bool is_own_name(const char *name)
{
	return name[0] == '.' || strcmp(name, "lock") == 0 || strcmp(name, "cursor") == 0;
}

static int list_segments(struct sonde_spool *s)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	size_t foreign = 0;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		(void)close(fd);
		return -ENOMEM;
	}
	for (const struct dirent *e; r == 0 && (e = readdir(d));) {
		uint64_t number;

		if (sonde_segment_parse_name(e->d_name, &number) == 0)
			r = note_segment(s, number);
		else if (!is_own_name(e->d_name))
			foreign++;
	}
	(void)closedir(d);
	if (r < 0)
		return r;
	if (s->n > 0)
		qsort(s->segments, s->n, sizeof(s->segments[0]), compare_segments);
	if (foreign)
		sonde_spool_tell(s, "%zu files in '%s' are none of the spool's, leaving them alone",
				 foreign, s->dir);
	return 0;
}

/* From @at to the first record that is not whole; that is where the segment ends for us. Return: 0, -errno. */
static int walk(struct sonde_spool *s, int fd, struct sonde_segment *seg, uint64_t at,
		uint64_t bytes)
{
	uint8_t data[SONDE_SPOOL_HEAD_AND_META_MAX];
	struct sonde_spool_head head;
	struct sonde_spool_meta meta;

	while (at < bytes) {
		const uint64_t left = bytes - at;
		const size_t n = left < sizeof(data) ? (size_t)left : sizeof(data);
		int r;

		if (n < SONDE_SPOOL_HEAD_BYTES)
			break;
		r = sonde_pread_all(fd, data, n, at);
		if (r < 0 && !sonde_spool_is_damage(r))
			return r;
		if (r < 0 || sonde_spool_record_head(data, &head) < 0 || head.bytes > left ||
		    sonde_spool_record_meta(data, n, &meta) < 0)
			break;
		at += head.bytes;
		seg->records++;
	}
	seg->bytes = at;
	if (at >= bytes)
		return 0;
	s->stats.damaged++;
	sonde_spool_tell(s,
			 "%016" PRIx64 ".seg in '%s' ends in %" PRIu64
			 " bytes that are no whole record, as a crash leaves them: ignoring them",
			 seg->number, s->dir, bytes - at);
	return 0;
}

/*
 * Of a segment that is not this agent's nothing is counted: it stays on disk, and out of the list. Return: 0, -errno
 * (it may pass: without what cannot be read now the order would be lost).
 */
static int look_at(struct sonde_spool *s, struct sonde_segment *seg, bool *ret_keep)
{
	_cleanup_close_ int fd = -1;
	uint64_t bytes, at = SONDE_SEGMENT_HEAD_BYTES;
	int r;

	fd = sonde_segment_open(s->dir_fd, seg->number, &bytes);
	if (fd < 0 && !sonde_spool_is_damage(fd))
		return fd;
	if (fd < 0) {
		s->stats.damaged++;
		sonde_spool_tell(
			s,
			"%016" PRIx64
			".seg in '%s' is no segment of this agent's (%s), leaving it alone",
			seg->number, s->dir, strerror(-fd));
		*ret_keep = false;
		return 0;
	}
	if (seg->number == s->cursor.segment && s->cursor.offset > at)
		at = s->cursor.offset < bytes ? s->cursor.offset : bytes;
	r = walk(s, fd, seg, at, bytes);
	if (r < 0)
		return r;
	s->stats.bytes += seg->bytes;
	s->stats.records += seg->records;
	*ret_keep = true;
	return 0;
}

static int look_at_all(struct sonde_spool *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		bool keep = false;
		int r = look_at(s, &s->segments[i], &keep);

		if (r < 0)
			return r;
		if (keep)
			s->segments[kept++] = s->segments[i];
	}
	s->n = kept;
	return 0;
}

/* What the cursor has passed is done, if it could not be removed then. */
static void remove_done(struct sonde_spool *s, bool found)
{
	size_t done = 0;

	while (found && done < s->n && s->segments[done].number < s->cursor.segment) {
		const uint64_t number = s->segments[done++].number;
		char name[SONDE_SEGMENT_NAME_MAX];
		uint64_t bytes;
		int fd = sonde_segment_open(s->dir_fd, number, &bytes);

		if (fd < 0) /* none of ours, or it cannot be told now */
			continue;
		(void)close(fd);
		sonde_segment_name(number, name);
		(void)unlinkat(s->dir_fd, name, 0);
	}
	if (done == 0)
		return;
	s->n -= done;
	memmove(s->segments, s->segments + done, s->n * sizeof(s->segments[0]));
}

static int load(struct sonde_spool *s)
{
	bool found = false;
	int r;

	s->cursor_fd = sonde_cursor_open(s->dir_fd, &s->cursor, &found);
	if (s->cursor_fd < 0)
		return s->cursor_fd;
	r = list_segments(s);
	if (r < 0)
		return r;
	s->next_number = s->n > 0 ? s->segments[s->n - 1].number + 1 : 1;
	if (s->next_number <= s->cursor.segment)
		s->next_number = s->cursor.segment + 1;
	s->own_number = s->next_number;
	remove_done(s, found);
	r = look_at_all(s);
	if (r < 0)
		return r;
	if (s->n > 0 && !found) {
		s->doubtful = s->segments[0].number;
		sonde_spool_tell(
			s,
			"the cursor in '%s' is lost: to a SkyWalking OAP the reports of the oldest segment "
			"count as sent already",
			s->dir);
	}
	while (s->n > 0 && s->segments[0].records == 0)
		sonde_spool_remove_first(s);
	if (s->n == 0 || s->segments[0].number != s->cursor.segment)
		sonde_spool_rewind(s);
	return sonde_spool_write_cursor(s);
}

static void explain(int error, const char *dir, char words[SONDE_SPOOL_WORDS_MAX])
{
	const char *hint;

	switch (error) {
	case -EBUSY:
		hint = "another agent uses it: name another folder with spool.dir";
		break;
	case -EPERM:
		hint = "it, or a file in it, is another user's, or others may write there: give it to the "
		       "agent's user, mode 0700";
		break;
	case -EACCES:
		hint = "the agent's user may not write there, and it has no capability: give it to that "
		       "user";
		break;
	case -EROFS:
		hint = "the file system is read-only: name a folder that is not with spool.dir";
		break;
	case -ENOSPC:
	case -EDQUOT:
		hint = "the disk is full: make room";
		break;
	case -E2BIG:
		hint = "there are too many segments in it: move the files away";
		break;
	case -ENOENT:
		hint = "its parent does not exist: make it, or name another folder with spool.dir";
		break;
	case -ENOTDIR:
	case -ELOOP:
		hint = "it is no folder, or a link";
		break;
	default:
		hint = "see the error";
	}
	(void)snprintf(words, SONDE_SPOOL_WORDS_MAX, "cannot use the spool '%.250s': %s", dir,
		       hint);
}

static int open_all(struct sonde_spool *s)
{
	s->dir_fd = sonde_spool_open_dir(s->dir);
	if (s->dir_fd < 0)
		return s->dir_fd;
	s->lock_fd = sonde_spool_lock(s->dir_fd);
	if (s->lock_fd < 0)
		return s->lock_fd;
	return load(s);
}

int sonde_spool_open(const struct sonde_spool_config *config,
		     const struct sonde_spool_handler *handler, char words[SONDE_SPOOL_WORDS_MAX],
		     struct sonde_spool **ret)
{
	_cleanup_(sonde_spool_freep) struct sonde_spool *s = NULL;
	int r;

	assert(config && config->dir && handler && handler->on_drop && handler->on_words && ret);
	assert(config->max_bytes >= SONDE_SPOOL_BYTES_MIN);

	words[0] = '\0';
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct sonde_spool){
		.config = *config,
		.handler = *handler,
		.dir_fd = -1,
		.lock_fd = -1,
		.cursor_fd = -1,
		.read_fd = -1,
		.write_fd = -1,
		.segment_bytes = config->max_bytes / 16,
	};
	if (s->segment_bytes > SONDE_SPOOL_SEGMENT_BYTES_MAX)
		s->segment_bytes = SONDE_SPOOL_SEGMENT_BYTES_MAX;
	s->dir = strdup(config->dir);
	r = s->dir ? open_all(s) : -ENOMEM;
	if (r < 0) {
		explain(r, config->dir, words);
		return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}
