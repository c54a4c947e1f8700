/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The order in which a java.util.HashMap that was filled by computeIfAbsent() is walked: it decides
 * which of several samples of an entity is "the first" and the order of floating point sums in OAP, so
 * it is part of the result. Bins that Java makes trees of (8 and more colliding keys in a table of
 * 64 slots and more) are walked as if they were none. Folder-private.
 */

#include <stdbool.h>

#include "mal/arena.h"

/*
 * @hashes: hashCode() of the @n keys in the order in which they came. @last_is_new: the very last look-up
 * put the last key in (the table grows before a look-up, not after it). @ret_order: @n indices, memory of
 * the arena. Return: 0, -ENOMEM.
 */
int mal_java_map_order(struct mal_arena *arena, const uint32_t *hashes, size_t n, bool last_is_new,
		       uint32_t **ret_order) _must_check_;
