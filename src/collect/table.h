/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Table: a mapping of the used head of a BPF array; grows with it. Read-only. Worker's thread only. */

#include <stddef.h>

#include "base/cleanup.h"

struct sonde_table {
	int fd; /* of the map; borrowed */
	size_t entry_bytes;
	size_t entries; /* of the map */
	void *map;	/* owned; NULL until the first use */
	size_t mapped;	/* entries */
	size_t mapped_bytes;
};

void sonde_table_init(struct sonde_table *t, int fd, size_t entry_bytes, size_t entries);
void sonde_table_done(struct sonde_table *t);
/* Entries [0, n) become readable. Return: 0, -EINVAL (more than it has), -errno of mmap(2). */
int sonde_table_map(struct sonde_table *t, size_t n) _must_check_;
/* Below what was mapped. */
const void *sonde_table_at(const struct sonde_table *t, size_t i);

/* Told: what was last told of each entry of a table. Zeroed at first; grows as the table is used. */
struct sonde_told {
	size_t entry_bytes;
	void *entries; /* owned; NULL until the first use */
	size_t n;
};

void sonde_told_done(struct sonde_told *t);
/* Entries [0, n) become usable; their addresses change. Return: 0, -ENOMEM. */
int sonde_told_reserve(struct sonde_told *t, size_t n) _must_check_;
/* Below what was reserved. */
void *sonde_told_at(const struct sonde_told *t, size_t i);
