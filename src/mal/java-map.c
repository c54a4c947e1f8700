/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/java-map.h"

#include <errno.h>

#define SLOTS_AT_FIRST 16U
#define TREE_BIN 8U	   /* keys of a bin from which on Java makes a tree of it */
#define TREE_SLOTS_MIN 64U /* in a smaller table it grows the table instead */

static uint32_t slot_of(uint32_t hash, size_t slots)
{
	return (hash ^ (hash >> 16)) & (uint32_t)(slots - 1);
}

static size_t count_in_bin(const uint32_t *hashes, size_t n, size_t slots, uint32_t slot)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += slot_of(hashes[i], slots) == slot;
	return count;
}

/* Slots at the end. Only while the table is small, crowded bins count: @n is below 48 then. */
static size_t table_size(const uint32_t *hashes, size_t n, bool last_is_new)
{
	size_t slots = SLOTS_AT_FIRST;

	for (size_t i = 0; i < n && slots < TREE_SLOTS_MIN; i++) {
		if (i > slots / 4 * 3)
			slots *= 2;
		if (slots < TREE_SLOTS_MIN &&
		    count_in_bin(hashes, i, slots, slot_of(hashes[i], slots)) >= TREE_BIN - 1)
			slots *= 2;
	}
	while (n - last_is_new > slots / 4 * 3)
		slots *= 2;
	return slots;
}

int mal_java_map_order(struct mal_arena *arena, const uint32_t *hashes, size_t n, bool last_is_new,
		       uint32_t **ret_order)
{
	size_t slots = n ? table_size(hashes, n, last_is_new) : 1;
	uint32_t *order = mal_arena_array(arena, n ? n : 1, sizeof(*order));
	uint32_t *start = mal_arena_zalloc(arena, (slots + 1) * sizeof(*start));

	if (!order || !start)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		start[slot_of(hashes[i], slots) + 1]++;
	for (size_t i = 0; i < slots; i++)
		start[i + 1] += start[i];
	for (size_t i = n; i-- > 0;) /* a new key goes to the head of its bin */
		order[start[slot_of(hashes[i], slots)]++] = (uint32_t)i;
	*ret_order = order;
	return 0;
}
