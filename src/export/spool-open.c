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

/*
 * On to the first record that is not whole; that is where the segment ends for us. Return: 0, 1 (@budget is used up, there
 * is more), -errno.
 */
static int walk(struct sonde_spool *s, struct sonde_segment *seg, size_t *budget)
{
	struct sonde_spool_look *look = &s->look;
	uint8_t data[SONDE_SPOOL_HEAD_AND_META_MAX];
	struct sonde_spool_head head;
	struct sonde_spool_meta meta;

	while (look->at < look->bytes) {
		const uint64_t left = look->bytes - look->at;
		const size_t n = left < sizeof(data) ? (size_t)left : sizeof(data);
		int r;

		if (*budget == 0)
			return 1;
		--*budget;
		if (n < SONDE_SPOOL_HEAD_BYTES)
			break;
		r = sonde_pread_all(look->fd, data, n, look->at);
		if (r < 0 && !sonde_spool_is_damage(r))
			return r;
		if (r < 0 || sonde_spool_record_head(data, &head) < 0 || head.bytes > left ||
		    sonde_spool_record_meta(data, n, &meta) < 0)
			break;
		look->at += head.bytes;
		seg->records++;
	}
	seg->bytes = look->at;
	if (look->at >= look->bytes)
		return 0;
	s->stats.damaged++;
	sonde_spool_tell(s,
			 "%016" PRIx64 ".seg in '%s' ends in %" PRIu64
			 " bytes that are no whole record, as a crash leaves them: ignoring them",
			 seg->number, s->dir, look->bytes - look->at);
	return 0;
}

/* Return: 0 with look->fd open, or left at -1 where it is no segment of ours (told); -errno (it may pass). */
static int begin_look(struct sonde_spool *s, const struct sonde_segment *seg)
{
	struct sonde_spool_look *look = &s->look;
	int fd;

	fd = sonde_segment_open(s->dir_fd, seg->number, &look->bytes);
	if (fd < 0 && !sonde_spool_is_damage(fd))
		return fd;
	if (fd < 0) {
		s->stats.damaged++;
		sonde_spool_tell(
			s,
			"%016" PRIx64
			".seg in '%s' is no segment of this agent's (%s), leaving it alone",
			seg->number, s->dir, strerror(-fd));
		return 0;
	}
	look->fd = fd;
	look->at = SONDE_SEGMENT_HEAD_BYTES;
	if (seg->number == s->cursor.segment && s->cursor.offset > look->at)
		look->at = s->cursor.offset < look->bytes ? s->cursor.offset : look->bytes;
	return 0;
}

/*
 * Of a segment that is not this agent's nothing is counted: it stays on disk, and out of the list. Return: 0, 1 (there is
 * more of it), -errno (it may pass: without what cannot be read now the order would be lost).
 */
static int look_at(struct sonde_spool *s, struct sonde_segment *seg, size_t *budget, bool *ret_keep)
{
	int r = 0;

	if (s->look.fd < 0)
		r = begin_look(s, seg);
	if (r < 0 || s->look.fd < 0) {
		*ret_keep = false;
		return r;
	}
	r = walk(s, seg, budget);
	if (r != 0)
		return r;
	(void)close(TAKE_FD(s->look.fd));
	s->stats.bytes += seg->bytes;
	s->stats.records += seg->records;
	*ret_keep = true;
	return 0;
}

static int look_at_all(struct sonde_spool *s, size_t *budget)
{
	struct sonde_spool_look *look = &s->look;

	for (; look->segment < s->n; look->segment++) {
		bool keep = false;
		int r;

		if (*budget == 0)
			return 1;
		*budget -= look->fd < 0; /* to open it is a step of its own */
		r = look_at(s, &s->segments[look->segment], budget, &keep);
		if (r != 0)
			return r;
		if (keep)
			s->segments[look->kept++] = s->segments[look->segment];
	}
	s->n = look->kept;
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
	int r;

	s->cursor_fd = sonde_cursor_open(s->dir_fd, &s->cursor, &s->look.found);
	if (s->cursor_fd < 0)
		return s->cursor_fd;
	r = list_segments(s);
	if (r < 0)
		return r;
	s->next_number = s->n > 0 ? s->segments[s->n - 1].number + 1 : 1;
	if (s->next_number <= s->cursor.segment)
		s->next_number = s->cursor.segment + 1;
	s->own_number = s->next_number;
	remove_done(s, s->look.found);
	return 0;
}

/* All was looked at. */
static int end_look(struct sonde_spool *s)
{
	if (s->n > 0 && !s->look.found) {
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

int sonde_spool_look(struct sonde_spool *s, size_t max, char words[SONDE_SPOOL_WORDS_MAX])
{
	int r;

	assert(s && words && s->look.segment <= s->n);

	words[0] = '\0';
	r = look_at_all(s, &max);
	if (r == 0)
		r = end_look(s);
	if (r < 0)
		explain(r, s->dir, words);
	return r;
}

int sonde_spool_open(const struct sonde_spool_config *config,
		     const struct sonde_spool_handler *handler, char words[SONDE_SPOOL_WORDS_MAX],
		     struct sonde_spool **ret)
{
	_cleanup_(sonde_spool_freep) struct sonde_spool *s = NULL;
	int r;

	r = sonde_spool_begin(config, handler, words, &s);
	if (r == 0)
		r = sonde_spool_look(s, SIZE_MAX, words);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

int sonde_spool_begin(const struct sonde_spool_config *config,
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
		.look.fd = -1,
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
