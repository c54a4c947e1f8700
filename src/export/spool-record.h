/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Spool-record: one report as it lies on disk. Little-endian:
 *
 *	u32 magic, u32 meta bytes, u32 body bytes, u32 plain bytes, u64 hash of the body,
 *	u64 hash of these 24 bytes and the meta | meta | body
 *
 * The meta says whose report it is and can be read without the body; the body is one zstd stream over the TaskReport
 * and the MeterDataCollections. The hash is XXH3 (base/hash.h). A reader trusts nothing: a torn, damaged or foreign
 * record is -EBADMSG, and lengths are held against their bounds before anything is allocated. No state, any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "export/delivery.h"

#define SONDE_SPOOL_HEAD_BYTES 32
#define SONDE_SPOOL_META_MAX 512U
#define SONDE_SPOOL_BODY_MAX (16U << 20)  /* compressed */
#define SONDE_SPOOL_PLAIN_MAX (80U << 20) /* 64 collections of 1 MiB, a TaskReport, their lengths */
#define SONDE_SPOOL_MESSAGES_MAX 1024U

enum sonde_spool_flags {
	SONDE_SPOOL_EXTENSION = 1 << 0, /* made for a server with our extension */
	SONDE_SPOOL_IN_DOUBT = 1 << 1,	/* on the wire to a backend that adds, no answer seen */
	SONDE_SPOOL_TASK_REPORT_SENT = 1 << 2, /* the meters are left to send */
};

struct sonde_spool_head {
	uint32_t meta_bytes, body_bytes, plain_bytes;
	uint64_t body_hash, head_hash;
	uint64_t bytes; /* of the whole record */
};

struct sonde_spool_meta {
	char task[SONDE_TASK_ID_MAX];
	char id[SONDE_REPORT_ID_MAX];
	uint64_t sequence;
	int64_t due_wall_ms;
	uint32_t flags;	  /* enum sonde_spool_flags */
	bool earlier_run; /* of a process before this one; from the spool, not in the record */
};

/* Appends the record to @out. Return: 0, -EMSGSIZE (larger than a bound, or than out->max), -EINVAL (a control byte in a name), -ENOMEM. */
int sonde_spool_record_encode(const struct sonde_report *r, const struct sonde_spool_meta *meta,
			      struct sonde_buf *out) _must_check_;

/* Return: 0, -EBADMSG. */
int sonde_spool_record_head(const uint8_t data[SONDE_SPOOL_HEAD_BYTES],
			    struct sonde_spool_head *ret) _must_check_;

/* @data: head and meta, @n bytes (more is ignored). Return: 0, -EBADMSG. */
int sonde_spool_record_meta(const uint8_t *data, size_t n,
			    struct sonde_spool_meta *ret) _must_check_;

/*
 * @data: exactly one record. The report's own fields of delivery (due_ns, what was sent) are the caller's to fill in.
 * Return: 0, -EBADMSG, -ENOMEM.
 */
int sonde_spool_record_decode(const uint8_t *data, size_t n, struct sonde_spool_meta *ret_meta,
			      struct sonde_report **ret) _must_check_;
