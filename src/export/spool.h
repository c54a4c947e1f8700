/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Spool: reports that wait on disk, oldest first, over the end of the process and, as far as the fsync policy says, of
 * the machine. In one folder that belongs to one agent at a time (mode 0700, files 0600):
 *
 *	lock			flock(2) while an agent uses the folder
 *	cursor			which record is the oldest that is not done, and what is known of it (two slots in turn)
 *	<16 hex digits>.seg	"SPOOLSG1", u64 number, then records (spool-record.h); never appended to after a restart
 *
 * Bounded in bytes and age: the oldest segment makes room, each record in it is told to on_drop(). What is torn, damaged
 * or foreign is told in words and skipped, what cannot be read for another reason (no descriptor, no memory) waits;
 * nothing in the folder is trusted. A write that fails leaves the spool as it
 * was: the caller keeps the report.
 *
 * What blocks: put() compresses and writes one record (at most 16 MiB; of 1,000 peers 100 KB) to the page cache and, with
 * fsync `always`, waits for the disk; `segment` waits once a segment of at most 4 MiB. next() reads one record.
 * mark() and pop() write 64 bytes; mark() with IN_DOUBT waits for the disk, unless fsync is `never`. open() walks the records' heads, which is a read of a page each where they are not
 * cached; begin() and look() do that in parts. A folder on a network that hangs hangs the loop: it has to be local.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "export/spool-record.h"

#define SONDE_SPOOL_WORDS_MAX 512
#define SONDE_SPOOL_SEGMENTS_MAX 4096
#define SONDE_SPOOL_SEGMENT_BYTES_MAX (4UL << 20) /* a larger record has one of its own */
#define SONDE_SPOOL_BYTES_MIN (1UL << 20)

enum sonde_spool_fsync {
	/* When a segment is full: a power cut costs the last one. And the cursor where it says IN_DOUBT. */
	SONDE_SPOOL_FSYNC_SEGMENT = 0,
	SONDE_SPOOL_FSYNC_ALWAYS, /* each record, and each step of the cursor */
	SONDE_SPOOL_FSYNC_NEVER,  /* the kernel's own time: some 30 s */
};

enum sonde_spool_drop {
	SONDE_SPOOL_DROP_BYTES = 0, /* made room */
	SONDE_SPOOL_DROP_AGE,
	_SONDE_SPOOL_DROP_MAX,
};

struct sonde_spool_handler {
	void (*on_drop)(void *ctx, const struct sonde_spool_meta *meta, enum sonde_spool_drop why);
	/* What a person should hear, once an event: torn, damaged, foreign files. Never per record. */
	void (*on_words)(void *ctx, const char *words);
	void *ctx; /* borrowed */
};

struct sonde_spool_config {
	const char
		*dir; /* borrowed for open() and for words; made if only its last part is missing */
	uint64_t max_bytes;  /* SONDE_SPOOL_BYTES_MIN at least */
	uint64_t max_age_ms; /* behind the report's due time */
	enum sonde_spool_fsync fsync;
};

struct sonde_spool;

/*
 * on_words() may run before this returns, on_drop() never. @words: on failure what is wrong and what to do.
 * Return: 0, -EBUSY (another agent has the folder), -EPERM (others may write in it), -errno.
 */
int sonde_spool_open(const struct sonde_spool_config *config,
		     const struct sonde_spool_handler *handler, char words[SONDE_SPOOL_WORDS_MAX],
		     struct sonde_spool **ret) _must_check_;
/*
 * The same without a look at what the folder holds: that is sonde_spool_look()'s. Until it has returned 0 nothing else
 * may be called but sonde_spool_free().
 */
int sonde_spool_begin(const struct sonde_spool_config *config,
		      const struct sonde_spool_handler *handler, char words[SONDE_SPOOL_WORDS_MAX],
		      struct sonde_spool **ret) _must_check_;
/* At @max records and segments more. @words as above. Return: 0 = it is open, 1 = there are more, -errno. */
int sonde_spool_look(struct sonde_spool *s, size_t max,
		     char words[SONDE_SPOOL_WORDS_MAX]) _must_check_;
/* What is in it stays on disk. NULL is fine. Returns NULL. */
struct sonde_spool *sonde_spool_free(struct sonde_spool *s);
SONDE_DEFINE_CLEANUP(struct sonde_spool *, sonde_spool_free)

/*
 * Appends @r. @flags: what is known of it, enum sonde_spool_flags. Return: 0, -EMSGSIZE (never fits), -EINVAL (a control byte in its names), -ENOSPC, -EROFS,
 * -EIO, -ENOMEM, -errno.
 */
int sonde_spool_put(struct sonde_spool *s, const struct sonde_report *r, int64_t due_wall_ms,
		    uint32_t flags, int64_t now_wall_ms) _must_check_;

/*
 * sonde_spool_next() - the oldest record; it stays until sonde_spool_pop()
 *
 * Drops what is too old, skips what is damaged. *@ret_meta has the flags as last marked.
 * Return: 0, -ENOENT (empty), -ENOMEM, -EMFILE, -EIO, -errno: an error that may pass; nothing is lost by it.
 * -EAGAIN: many were dropped or skipped, and there are more; the loop is to have its turn first.
 */
int sonde_spool_next(struct sonde_spool *s, int64_t now_wall_ms, struct sonde_spool_meta *ret_meta,
		     struct sonde_report **ret) _must_check_;

/*
 * The record that next() gave, or the only one, just put, is in the caller's hands: it can be marked and popped, and is
 * not told to on_drop() if it has to make room.
 */
void sonde_spool_hold(struct sonde_spool *s);

/* False also behind a put() that needed the room of its segment: it is on disk no more. */
bool sonde_spool_is_held(const struct sonde_spool *s);

/* Notes of the held record what has to outlive the process. Return: 0, -errno (the process itself knows it). */
int sonde_spool_mark(struct sonde_spool *s, uint32_t flags) _must_check_;

/* The held record is done. Return: 0, -errno: after a restart it would come again. */
int sonde_spool_pop(struct sonde_spool *s) _must_check_;

struct sonde_spool_stats {
	uint64_t records,
		bytes; /* that wait; bytes as on disk, with what is done but not yet unlinked */
	size_t segments;
	uint64_t put, put_bytes, done;
	uint64_t dropped[_SONDE_SPOOL_DROP_MAX];
	uint64_t damaged; /* records, and tails of segments */
	uint64_t failed;  /* writes */
};
void sonde_spool_stats(const struct sonde_spool *s, struct sonde_spool_stats *ret);
