/* SPDX-License-Identifier: Apache-2.0 */
#include "export/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "export/spool-internal.h"

#define STEPS_MAX 256	 /* of one next(): some ms */
#define IO_ERRORS_MAX 20 /* some minutes of the delivery's retries */

void sonde_spool_tell(const struct sonde_spool *s, const char *fmt, ...)
{
	char words[SONDE_SPOOL_WORDS_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	s->handler.on_words(s->handler.ctx, words);
}

static bool is_writing(const struct sonde_spool *s, size_t i)
{
	return s->write_fd >= 0 && i == s->n - 1;
}

int sonde_spool_write_cursor(struct sonde_spool *s)
{
	int r;

	s->cursor.generation++;
	r = sonde_cursor_write(s->cursor_fd, &s->cursor);
	if (r == 0 && s->config.fsync == SONDE_SPOOL_FSYNC_ALWAYS && fdatasync(s->cursor_fd) < 0)
		r = -errno;
	return r;
}

void sonde_spool_rewind(struct sonde_spool *s)
{
	s->cursor.segment = s->n > 0 ? s->segments[0].number : s->next_number;
	s->cursor.offset = SONDE_SEGMENT_HEAD_BYTES;
	s->cursor.flags = 0;
	s->cursor.has_flags = false;
	s->head_bytes = 0;
}

static int end_writing(struct sonde_spool *s)
{
	int r = 0;

	if (s->write_fd < 0)
		return 0;
	if (s->config.fsync != SONDE_SPOOL_FSYNC_NEVER &&
	    (fdatasync(s->write_fd) < 0 || fsync(s->dir_fd) < 0))
		r = -errno;
	(void)close(TAKE_FD(s->write_fd));
	return r;
}

bool sonde_spool_is_damage(int error)
{
	return error == -EBADMSG || error == -ENODATA || error == -EPERM || error == -ENOENT ||
	       error == -ELOOP || error == -ENXIO;
}

/* Out of the list; it stays on disk. */
static void leave_first(struct sonde_spool *s)
{
	const struct sonde_segment *first = &s->segments[0];

	assert(s->n > 0);

	if (is_writing(s, 0)) /* nobody will read it: no need to wait for the disk */
		(void)close(TAKE_FD(s->write_fd));
	if (s->read_fd >= 0)
		(void)close(TAKE_FD(s->read_fd));
	s->stats.bytes -= first->bytes;
	s->stats.records -= first->records;
	s->n--;
	memmove(&s->segments[0], &s->segments[1], s->n * sizeof(s->segments[0]));
	sonde_spool_rewind(s);
}

void sonde_spool_remove_first(struct sonde_spool *s)
{
	char name[SONDE_SEGMENT_NAME_MAX];

	assert(s->n > 0);

	sonde_segment_name(s->segments[0].number, name);
	if (unlinkat(s->dir_fd, name, 0) < 0 && errno != ENOENT)
		sonde_spool_tell(
			s, "cannot remove '%s/%s' (%s): remove it by hand while the agent is down",
			s->dir, name, strerror(errno));
	leave_first(s);
}

static void damaged_tail(struct sonde_spool *s, uint64_t at)
{
	struct sonde_segment *first = &s->segments[0];

	s->stats.damaged++;
	sonde_spool_tell(s,
			 "%016" PRIx64 ".seg in '%s' cannot be read from byte %" PRIu64
			 " on: up to %" PRIu64 " reports are lost, going on behind it",
			 first->number, s->dir, at, first->records);
	s->stats.records -= first->records;
	first->records = 0;
	s->cursor.offset = first->bytes;
}

/* What reading came to: said at its first time, and a sector that stays unreadable is damage in the end. */
static int note_read(struct sonde_spool *s, int error)
{
	if (error == -EIO && ++s->io_errors >= IO_ERRORS_MAX)
		error = -EBADMSG;
	if (error == 0 || sonde_spool_is_damage(error)) {
		s->read_error = 0;
		s->io_errors = 0;
	} else if (error != s->read_error) {
		s->read_error = error;
		sonde_spool_tell(s, "%016" PRIx64 ".seg in '%s' cannot be read now (%s): it waits",
				 s->segments[0].number, s->dir, strerror(-error));
	}
	return error;
}

/* Return: 0 with the oldest segment open for reading, -ENOENT (there is nothing to read), -errno (it may pass). */
static int open_first(struct sonde_spool *s)
{
	uint64_t bytes;
	int r;

	while (s->n > 0) {
		if (s->cursor.offset >= s->segments[0].bytes) {
			sonde_spool_remove_first(s);
			continue;
		}
		if (s->read_fd >= 0)
			return 0;
		r = sonde_segment_open(s->dir_fd, s->segments[0].number, &bytes);
		if (r >= 0) {
			s->read_fd = r;
			return 0;
		}
		r = note_read(s, r);
		if (!sonde_spool_is_damage(r))
			return r;
		s->stats.damaged++;
		sonde_spool_tell(s,
				 "%016" PRIx64 ".seg in '%s' cannot be opened (%s), leaving it "
				 "alone: its %" PRIu64 " reports are lost",
				 s->segments[0].number, s->dir, strerror(-r),
				 s->segments[0].records);
		leave_first(s);
	}
	return -ENOENT;
}

/*
 * Head and meta at the cursor. Return: 0, -EBADMSG (nothing behind it in this segment can be found either), -errno (it
 * may pass).
 */
static int read_meta(struct sonde_spool *s, struct sonde_spool_head *ret_head,
		     struct sonde_spool_meta *ret_meta)
{
	const uint64_t left = s->segments[0].bytes - s->cursor.offset;
	uint8_t data[SONDE_SPOOL_HEAD_AND_META_MAX];
	const size_t n = left < sizeof(data) ? (size_t)left : sizeof(data);
	struct sonde_spool_head head;
	int r;

	if (n < SONDE_SPOOL_HEAD_BYTES)
		return -EBADMSG;
	r = note_read(s, sonde_pread_all(s->read_fd, data, n, s->cursor.offset));
	if (r < 0)
		return sonde_spool_is_damage(r) ? -EBADMSG : r;
	if (sonde_spool_record_head(data, &head) < 0 || head.bytes > left ||
	    sonde_spool_record_meta(data, n, ret_meta) < 0)
		return -EBADMSG;
	if (s->cursor.has_flags)
		ret_meta->flags = s->cursor.flags;
	else if (s->doubtful == s->segments[0].number)
		ret_meta->flags |= SONDE_SPOOL_IN_DOUBT;
	ret_meta->earlier_run = s->segments[0].number < s->own_number;
	*ret_head = head;
	return 0;
}

/*
 * The same, past what is damaged. Return: 0, -ENOENT (there is nothing to read), -errno (it may pass, and nothing was
 * lost).
 */
static int find_record(struct sonde_spool *s, struct sonde_spool_head *ret_head,
		       struct sonde_spool_meta *ret_meta)
{
	int r;

	for (;;) {
		r = open_first(s);
		if (r == 0)
			r = read_meta(s, ret_head, ret_meta);
		if (r != -EBADMSG)
			return r;
		damaged_tail(s, s->cursor.offset);
	}
}

/* Past the record at the cursor, in memory only. */
static void step(struct sonde_spool *s, uint64_t bytes)
{
	struct sonde_segment *first = &s->segments[0];

	s->cursor.offset += bytes;
	s->cursor.flags = 0;
	s->cursor.has_flags = false;
	s->head_bytes = 0;
	if (first->records > 0) {
		first->records--;
		s->stats.records--;
	}
	if (s->cursor.offset >= first->bytes && !is_writing(s, 0))
		sonde_spool_remove_first(s);
	while (s->stats.records == 0 && s->n > 0) /* an empty spool takes no room */
		sonde_spool_remove_first(s);
}

/* The held record is not told: what it comes to is in other hands. Return: 0, -errno: some of it is left. */
static int drop_first_segment(struct sonde_spool *s)
{
	const uint64_t number = s->segments[0].number;
	struct sonde_spool_head head = {0};
	struct sonde_spool_meta meta = {0};
	int r;

	if (is_writing(s, 0))
		(void)close(TAKE_FD(s->write_fd));
	if (s->held) {
		s->held = false;
		s->detached = true;
		step(s, s->head_bytes);
	}
	while (s->n > 0 && s->segments[0].number == number) {
		r = find_record(s, &head, &meta);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (s->segments[0].number != number)
			return 0;
		s->stats.dropped[SONDE_SPOOL_DROP_BYTES]++;
		s->handler.on_drop(s->handler.ctx, &meta, SONDE_SPOOL_DROP_BYTES);
		step(s, head.bytes);
	}
	return 0;
}

static int make_room(struct sonde_spool *s, uint64_t bytes)
{
	bool dropped = false;
	int r = 0;

	while (r == 0 && s->n > 0 &&
	       (s->stats.bytes + bytes > s->config.max_bytes || s->n >= SONDE_SPOOL_SEGMENTS_MAX)) {
		r = drop_first_segment(s);
		dropped = true;
	}
	if (dropped)
		(void)sonde_spool_write_cursor(s);
	return r;
}

static int begin_segment(struct sonde_spool *s)
{
	struct sonde_segment *more;
	int fd;

	more = reallocarray(s->segments, s->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->segments = more;
	fd = sonde_segment_create(s->dir_fd, s->next_number);
	if (fd < 0)
		return fd;
	/* Its name; what it holds is synced by itself. */
	if (s->config.fsync == SONDE_SPOOL_FSYNC_ALWAYS && fsync(s->dir_fd) < 0) {
		const int r = -errno;
		char name[SONDE_SEGMENT_NAME_MAX];

		(void)close(fd);
		sonde_segment_name(s->next_number, name);
		(void)unlinkat(s->dir_fd, name, 0);
		return r;
	}
	s->segments[s->n++] = (struct sonde_segment){
		.number = s->next_number++,
		.bytes = SONDE_SEGMENT_HEAD_BYTES,
	};
	s->stats.bytes += SONDE_SEGMENT_HEAD_BYTES;
	s->write_fd = fd;
	if (s->n == 1 && !s->held)
		sonde_spool_rewind(s);
	return 0;
}

/* The last segment has room for @bytes. */
static int get_segment(struct sonde_spool *s, uint64_t bytes)
{
	int r = 0;

	if (s->write_fd >= 0) {
		const struct sonde_segment *last = &s->segments[s->n - 1];

		if (last->bytes + bytes > s->segment_bytes &&
		    last->bytes > SONDE_SEGMENT_HEAD_BYTES)
			r = end_writing(s);
	}
	return r == 0 && s->write_fd < 0 ? begin_segment(s) : r;
}

static int append(struct sonde_spool *s, const struct sonde_buf *record)
{
	struct sonde_segment *last = &s->segments[s->n - 1];
	int r;

	r = sonde_pwrite_all(s->write_fd, record->data, record->len, last->bytes);
	if (r == 0 && s->config.fsync == SONDE_SPOOL_FSYNC_ALWAYS && fdatasync(s->write_fd) < 0)
		r = -errno;
	if (r < 0) {
		/* Half a record would hide what comes behind it. */
		if (ftruncate(s->write_fd, (off_t)last->bytes) < 0)
			(void)close(TAKE_FD(s->write_fd));
		return r;
	}
	if (s->n == 1 && s->cursor.offset == last->bytes)
		s->head_bytes = record->len;
	last->bytes += record->len;
	last->records++;
	s->stats.bytes += record->len;
	s->stats.records++;
	return 0;
}

int sonde_spool_put(struct sonde_spool *s, const struct sonde_report *r, int64_t due_wall_ms,
		    uint32_t flags, int64_t now_wall_ms)
{
	_cleanup_buf_ struct sonde_buf record =
		SONDE_BUF_INIT(SONDE_SPOOL_HEAD_AND_META_MAX + SONDE_SPOOL_BODY_MAX);
	struct sonde_spool_meta meta = {.due_wall_ms = due_wall_ms, .flags = flags};
	int e;

	assert(s && r);

	meta.sequence = r->sequence;
	memcpy(meta.task, r->task, sizeof(meta.task));
	memcpy(meta.id, r->id, sizeof(meta.id));
	e = sonde_spool_record_encode(r, &meta, &record);
	if (e == 0 && record.len + SONDE_SEGMENT_HEAD_BYTES > s->config.max_bytes)
		e = -EMSGSIZE;
	if (e == 0)
		e = make_room(s, record.len + SONDE_SEGMENT_HEAD_BYTES);
	if (e == 0)
		e = get_segment(s, record.len);
	if (e == 0)
		e = append(s, &record);
	if (e < 0) {
		s->stats.failed++;
		return e;
	}
	s->stats.put++;
	s->stats.put_bytes += record.len;
	return 0;
}

/* One that cannot be taken apart though its head is in order: the next one may be read. */
static int read_record(struct sonde_spool *s, const struct sonde_spool_head *head,
		       struct sonde_spool_meta *meta, struct sonde_report **ret)
{
	_cleanup_free_ uint8_t *data = NULL;
	const struct sonde_spool_meta known = *meta; /* the spool's own, too */
	int r;

	assert(head->bytes >= SONDE_SPOOL_HEAD_BYTES);

	data = malloc(head->bytes);
	if (!data)
		return -ENOMEM;
	r = note_read(s, sonde_pread_all(s->read_fd, data, head->bytes, s->cursor.offset));
	if (r < 0)
		return sonde_spool_is_damage(r) ? -EBADMSG : r;
	r = sonde_spool_record_decode(data, head->bytes, meta, ret);
	*meta = known;
	return r == 0 || r == -ENOMEM ? r : -EBADMSG;
}

static bool too_old(const struct sonde_spool *s, const struct sonde_spool_meta *meta,
		    int64_t now_wall_ms)
{
	return now_wall_ms > meta->due_wall_ms &&
	       (uint64_t)(now_wall_ms - meta->due_wall_ms) > s->config.max_age_ms;
}

int sonde_spool_next(struct sonde_spool *s, int64_t now_wall_ms, struct sonde_spool_meta *ret_meta,
		     struct sonde_report **ret)
{
	struct sonde_spool_head head = {0};
	struct sonde_spool_meta meta = {0};
	unsigned steps = 0;
	int r = -ENOENT;

	assert(s && ret_meta && ret && !s->held);

	s->detached = false;
	while (s->stats.records > 0) {
		r = find_record(s, &head, &meta);
		if (r == 0 && steps == STEPS_MAX)
			r = -EAGAIN;
		if (r < 0)
			break;
		if (too_old(s, &meta, now_wall_ms)) {
			s->stats.dropped[SONDE_SPOOL_DROP_AGE]++;
			s->handler.on_drop(s->handler.ctx, &meta, SONDE_SPOOL_DROP_AGE);
		} else {
			r = read_record(s, &head, &meta, ret);
			if (r != -EBADMSG)
				break;
			s->stats.damaged++;
			sonde_spool_tell(s, "report %s in '%s' is damaged, ignoring it", meta.id,
					 s->dir);
		}
		step(s, head.bytes);
		steps++;
		r = -ENOENT;
	}
	if (steps)
		(void)sonde_spool_write_cursor(s);
	if (r < 0)
		return r;
	s->head_bytes = head.bytes;
	*ret_meta = meta;
	return 0;
}

void sonde_spool_hold(struct sonde_spool *s)
{
	struct sonde_spool_head head = {0};
	struct sonde_spool_meta meta = {0};

	assert(s && s->stats.records > 0);

	if (s->head_bytes == 0 && find_record(s, &head, &meta) == 0)
		s->head_bytes = head.bytes;
	s->held = s->head_bytes > 0;
	s->detached = !s->held;
}

bool sonde_spool_is_held(const struct sonde_spool *s)
{
	assert(s);

	return s->held;
}

int sonde_spool_mark(struct sonde_spool *s, uint32_t flags)
{
	int r;

	assert(s && (s->held || s->detached));

	if (s->detached)
		return 0;
	if (s->cursor.has_flags && s->cursor.flags == flags)
		return 0;
	s->cursor.flags = flags;
	s->cursor.has_flags = true;
	r = sonde_spool_write_cursor(s);
	/*
	 * What the backend may take from now on must not be sent again behind a power cut. The cursor says it of all
	 * before it, too. `always` has waited already.
	 */
	if (r == 0 && (flags & SONDE_SPOOL_IN_DOUBT) &&
	    s->config.fsync == SONDE_SPOOL_FSYNC_SEGMENT && fdatasync(s->cursor_fd) < 0)
		r = -errno;
	return r;
}

int sonde_spool_pop(struct sonde_spool *s)
{
	assert(s && (s->held || s->detached));

	s->stats.done++;
	if (s->detached) {
		s->detached = false;
		return 0;
	}
	s->held = false;
	step(s, s->head_bytes);
	return sonde_spool_write_cursor(s);
}

struct sonde_spool *sonde_spool_free(struct sonde_spool *s)
{
	if (!s)
		return NULL;
	(void)end_writing(s);
	closep(&s->read_fd);
	closep(&s->look.fd);
	closep(&s->cursor_fd);
	closep(&s->lock_fd);
	closep(&s->dir_fd);
	free(s->segments);
	free(s->dir);
	free(s);
	return NULL;
}

void sonde_spool_stats(const struct sonde_spool *s, struct sonde_spool_stats *ret)
{
	assert(s && ret);

	*ret = s->stats;
	ret->segments = s->n;
}
