/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/room.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"

#define TRY_EVERY_NS SONDE_NS_PER_S

void sonde_store_room_look(struct sonde_store_room *room, const char *path)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0)
		return;
	room->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	/* A little apart, so that it does not come and go. */
	if (room->low)
		room->low = room->free_bytes < room->reserve_bytes + room->reserve_bytes / 8;
	else
		room->low = room->free_bytes < room->reserve_bytes;
}

void sonde_store_room_note(struct sonde_store_room *room, int error, uint64_t now_ns)
{
	if (error == 0)
		room->failed = false;
	if (error == -EUCLEAN)
		room->damaged = true;
	if (error != -ENOSPC)
		return;
	room->failed = true;
	room->failed_ns = now_ns;
}

bool sonde_store_room_is_due(const struct sonde_store_room *room, uint64_t now_ns)
{
	return room->failed && now_ns - room->failed_ns >= TRY_EVERY_NS;
}

enum sonde_store_condition sonde_store_room_condition(const struct sonde_store_room *room)
{
	if (room->damaged)
		return SONDE_STORE_DAMAGED;
	return room->low || room->failed ? SONDE_STORE_FULL : SONDE_STORE_SOUND;
}

void sonde_store_room_tell(struct sonde_store_room *room, const char *path)
{
	enum sonde_store_condition now = sonde_store_room_condition(room);

	if (now == room->told)
		return;
	room->times += now == SONDE_STORE_FULL;
	room->told = now;
	room->since_ms = sonde_wall_ms();
	if (now == SONDE_STORE_FULL) {
		(void)sonde_log_err(0,
				    "the disk of %s is full (%" PRIu64 " bytes free, "
				    "limits.disk_reserve is %" PRIu64
				    "): no report and no task is taken until there is room; "
				    "agents keep what they have, and reading goes on",
				    path, room->free_bytes, room->reserve_bytes);
	} else if (now == SONDE_STORE_DAMAGED) {
		(void)sonde_log_err(0,
				    "the database %s is damaged: no report and no task is taken. "
				    "Stop the server, and look with sonde-server --check-database",
				    path);
	} else {
		sonde_log_info("the disk of %s has room again: reports and tasks are taken", path);
	}
}
