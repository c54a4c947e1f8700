/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Room: may the database take more? No while its file system has less free than a reserve (what ends and is
 * deleted needs some itself), and from a write that failed for want of room until one succeeds. A plain value; the
 * loop thread's. Private to store/.
 */

#include "backend/store/store.h"

struct sonde_store_room {
	uint64_t reserve_bytes, free_bytes;
	bool low, failed, damaged;
	uint64_t failed_ns; /* CLOCK_MONOTONIC of the last failure */
	enum sonde_store_condition told;
	int64_t since_ms; /* wall clock: of what was told */
	uint64_t times;	  /* that it was full */
};

/* Asks the file system of @path; unknown is not low. */
void sonde_store_room_look(struct sonde_store_room *room, const char *path);
/* What came of a write: 0 or -errno. */
void sonde_store_room_note(struct sonde_store_room *room, int error, uint64_t now_ns);
/* Failed, and it is time for a write that finds out. */
bool sonde_store_room_is_due(const struct sonde_store_room *room, uint64_t now_ns);
enum sonde_store_condition sonde_store_room_condition(const struct sonde_store_room *room);
/* Logs what has changed since it was told last, once. */
void sonde_store_room_tell(struct sonde_store_room *room, const char *path);
