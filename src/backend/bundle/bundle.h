/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bundle: all of an ended task in one file, <id>.tar.zst: manifest.json (what it is, what was lost, how long each file
 * is and its SHA-256), task.json, entities.jsonl (who the ids are), series.jsonl (every bucket as the store has it, in
 * hexadecimal), flows.jsonl (likewise), and for people topology.json and ledger.json, which are not read again. Equal
 * tasks make equal files. A bundle that is read is hostile: sizes, rows, names, nesting and digests are checked before
 * anything of it is used. This file is pure; bundle-store.h knows the server.
 */

#include <jansson.h>
#include <stdint.h>

#include "backend/problem.h"
#include "base/buf.h"

#define SONDE_BUNDLE_VERSION 1
#define SONDE_BUNDLE_TYPE "application/zstd"
#define SONDE_BUNDLE_PACKED_MAX (16U << 20)
#define SONDE_BUNDLE_BYTES_MAX (64U << 20) /* unpacked; more is not written either */
#define SONDE_BUNDLE_ROWS_MAX 500000	   /* of one file */
#define SONDE_BUNDLE_LINE_MAX (4U << 20)

enum sonde_bundle_file {
	SONDE_BUNDLE_TASK = 0,
	SONDE_BUNDLE_ENTITIES,
	SONDE_BUNDLE_SERIES,
	SONDE_BUNDLE_FLOWS,
	SONDE_BUNDLE_TOPOLOGY,
	SONDE_BUNDLE_LEDGER,
	_SONDE_BUNDLE_FILE_MAX,
};

/* --- writing --- */

struct sonde_bundle_writer {
	struct sonde_buf file[_SONDE_BUNDLE_FILE_MAX];
	uint64_t rows[_SONDE_BUNDLE_FILE_MAX];
};

void sonde_bundle_writer_init(struct sonde_bundle_writer *w);
void sonde_bundle_writer_done(struct sonde_bundle_writer *w);
/* Appends @row as a line, also of a file that has one only. @row is taken, also on failure. Return: 0, -EMSGSIZE (too much), -ENOMEM. */
int sonde_bundle_add(struct sonde_bundle_writer *w, enum sonde_bundle_file file,
		     json_t *row) _must_check_;
/* @manifest: what is in it besides format, version and files; borrowed. Appends to @out. Return: 0, -EMSGSIZE, -ENOMEM, -EIO. */
int sonde_bundle_write(struct sonde_bundle_writer *w, json_t *manifest,
		       struct sonde_buf *out) _must_check_;

/* "0aff" of bytes. New reference; NULL when memory ran out. */
json_t *sonde_bundle_hex(const void *data, size_t n);
/* And back, appended to @out. Return: 0, -EBADMSG, -EMSGSIZE, -ENOMEM. */
int sonde_bundle_unhex(const char *text, struct sonde_buf *out) _must_check_;

/* --- reading --- */

struct sonde_bundle {
	struct sonde_buf tar; /* owned */
	struct {
		const uint8_t *data; /* into tar */
		size_t n;
	} file[_SONDE_BUNDLE_FILE_MAX];
	json_t *manifest; /* owned */
};

/*
 * Unpacks and checks all but the rows. sonde_bundle_done() in any case.
 * Return: 0, -EINVAL with *@problem filled (400, 413), -ENOMEM.
 */
int sonde_bundle_read(struct sonde_bundle *b, const void *data, size_t n,
		      struct sonde_problem *problem) _must_check_;
void sonde_bundle_done(struct sonde_bundle *b);

/* Calls @fn for each row, an object. Return: 0, what @fn returned, -EINVAL with *@problem filled, -ENOMEM. */
int sonde_bundle_each(const struct sonde_bundle *b, enum sonde_bundle_file file,
		      int (*fn)(void *ctx, const json_t *row), void *ctx,
		      struct sonde_problem *problem) _must_check_;
