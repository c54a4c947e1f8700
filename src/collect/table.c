/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

void sonde_table_init(struct sonde_table *t, int fd, size_t entry_bytes, size_t entries)
{
	*t = (struct sonde_table){.fd = fd, .entry_bytes = entry_bytes, .entries = entries};
}

void sonde_table_done(struct sonde_table *t)
{
	if (t->map)
		(void)munmap(t->map, t->mapped_bytes);
	*t = (struct sonde_table){.fd = -1};
}

/* Doubles, so that the whole of a large table only counts as ours when it is used. */
int sonde_table_map(struct sonde_table *t, size_t n)
{
	size_t wanted = t->mapped ? t->mapped : 64, page = (size_t)sysconf(_SC_PAGESIZE), bytes;
	void *map;

	if (n > t->entries)
		return -EINVAL;
	if (n <= t->mapped)
		return 0;
	while (wanted < n)
		wanted *= 2;
	if (wanted > t->entries)
		wanted = t->entries;
	bytes = (wanted * t->entry_bytes + page - 1) / page * page;
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, t->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (t->map)
		(void)munmap(t->map, t->mapped_bytes);
	t->map = map;
	t->mapped = wanted;
	t->mapped_bytes = bytes;
	return 0;
}

const void *sonde_table_at(const struct sonde_table *t, size_t i)
{
	assert(i < t->mapped);
	return (const char *)t->map + i * t->entry_bytes;
}

void sonde_told_done(struct sonde_told *t)
{
	free(t->entries);
	*t = (struct sonde_told){0};
}

int sonde_told_reserve(struct sonde_told *t, size_t n)
{
	size_t wanted = t->n ? t->n : 64;
	char *grown;

	assert(t->entry_bytes > 0);

	if (n <= t->n)
		return 0;
	while (wanted < n)
		wanted *= 2;
	grown = reallocarray(t->entries, wanted, t->entry_bytes);
	if (!grown)
		return -ENOMEM;
	memset(grown + t->n * t->entry_bytes, 0, (wanted - t->n) * t->entry_bytes);
	t->entries = grown;
	t->n = wanted;
	return 0;
}

void *sonde_told_at(const struct sonde_told *t, size_t i)
{
	assert(i < t->n);
	return (char *)t->entries + i * t->entry_bytes;
}
