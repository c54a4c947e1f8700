/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Meters: a report's messages as bytes ("frames": each MeterDataCollection
 * behind its length as 4 bytes little-endian), decoded into an arena, and as
 * samples in a batch. All of it is hostile; the arena's limit bounds what it unpacks into.
 */

#include <stddef.h>
#include <stdint.h>

#include "backend/ingest/arena.h"
#include "base/buf.h"
#include "mal/sample.h"
#include "skywalking/v3/meter.pb-c.h"

/* Appends one MeterDataCollection. Return: 0, -EMSGSIZE (frames->max), -ENOMEM. */
int sonde_meters_frame(struct sonde_buf *frames, const uint8_t *data, size_t n) _must_check_;
/* The same for one MeterData of `collect`, where the whole stream is one collection: @frames holds only that. */
int sonde_meters_frame_one(struct sonde_buf *frames, const uint8_t *data, size_t n) _must_check_;

struct sonde_meters {
	Skywalking__V3__MeterDataCollection **collection; /* in the arena */
	size_t n;
};

/* Resets @arena first. Return: 0, -EBADMSG, -E2BIG (would take too much memory). */
int sonde_meters_decode(struct sonde_arena *arena, const uint8_t *data, size_t len,
			struct sonde_meters *ret) _must_check_;

/* Resets @batch first. Return: as sonde_mal_batch_add_collection(). */
int sonde_meters_fill(struct sonde_arena *arena, struct sonde_mal_batch *batch,
		      const Skywalking__V3__MeterDataCollection *c,
		      struct sonde_mal_refusal *why) _must_check_;
