/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rescue: what an operator does with a database file. A back-up may be made while a server runs; all else
 * needs its state folder's lock, which the caller holds. Nothing is ever overwritten or deleted: what is replaced is moved
 * aside, under a name that says when. New files have mode 0600 and the owner of the folder they are in. Any thread.
 *
 * Of all: 0 or -errno; @words, of SONDE_STORE_WORDS_MAX bytes, say what went wrong, "" where errno says it all.
 */

#include "backend/store/check.h"

#define SONDE_STORE_PATH_MAX 4096

/* One state of @path, as of one moment, as the new file @to: looked at whole, synced, there only when all of it is. */
int sonde_store_backup(const char *path, const char *to, char *words) _must_check_;

/* @path and what belongs to it get another name, *@ret: as a pair that SQLite still opens. 0 too if there is none. */
int sonde_store_set_aside(const char *path, char ret[static SONDE_STORE_PATH_MAX]) _must_check_;

/* @from takes the place of @path, which goes to @aside ("": there was none, or it is where it was; on failure too). */
int sonde_store_restore(const char *path, const char *from, char aside[static SONDE_STORE_PATH_MAX],
			char *words) _must_check_;

/* What is in @path is what there is: the marker follows. Not if it is damaged. */
int sonde_store_accept(const char *path, char *words) _must_check_;

#define SONDE_STORE_SALVAGE_TABLES_MAX 32
struct sonde_store_salvage {
	size_t n;
	struct sonde_store_salvaged {
		char table[48];
		uint64_t rows;
		uint64_t faults; /* times that reading met damage: rows behind it may be lost */
	} table[SONDE_STORE_SALVAGE_TABLES_MAX];
	char aside[SONDE_STORE_PATH_MAX]; /* where the damaged file is now; "": where it was */
};

/*
 * What can be read of @path takes its place. Not if nothing can. On failure too @ret->aside is set; unless it is "", what
 * was read is @path or, if that is not there, @path.salvage.
 */
int sonde_store_salvage(const char *path, struct sonde_store_salvage *ret,
			char *words) _must_check_;

/* Of what is in rescue.c, for salvage.c. */

/* An empty file that was not there, mode 0600, of its folder's owner. Return: 0, -EEXIST, -errno. */
int sonde_store_make_file(const char *path, int *ret_fd) _must_check_;
/* The file, then its folder. Return: 0, -errno. */
int sonde_store_sync(const char *path) _must_check_;
/*
 * @fresh, whole and closed, becomes @path, which goes to @aside ("": it did not; on failure too). Ended in the midst of it,
 * sonde_store_check() finds one of both, or tells what is missing. Return: 0, -errno.
 */
int sonde_store_replace(const char *path, const char *fresh,
			char aside[static SONDE_STORE_PATH_MAX]) _must_check_;
/* The file and what SQLite may have made beside it. */
void sonde_store_remove(const char *path);
