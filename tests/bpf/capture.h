/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a wire's capture (wire.h) says: the truths that a packet reader can know.
 * All of one service port; handshakes, repeats and windows of one connection there. Pure functions.
 */

#include <stdbool.h>

#include "wire.h"

struct sonde_test_capture {
	const struct sonde_test_packet *packet;
	size_t n;
	uint16_t port; /* of the server */
};

/*
 * RTT samples of the data, and FINs, from @from's side, in ns: for each ACK that covers some anew, the time from
 * the newest segment that it covers to the ACK. Never longer than what the kernel measures, as its clocks are
 * outside of the wire's. Return: how many; those beyond @capacity are not stored.
 */
size_t sonde_test_capture_rtts(const struct sonde_test_capture *c, enum sonde_test_side from,
			       uint64_t *ret, size_t capacity);
/* From the first SYN to the SYN-ACK that was carried, and from there to the ACK; 0: not seen. */
uint64_t sonde_test_capture_handshake_ns(const struct sonde_test_capture *c,
					 enum sonde_test_side of);

struct sonde_test_repeats {
	uint64_t segments; /* with payload that was there before */
	uint64_t bytes;
	uint64_t syns; /* SYN or SYN-ACK after the first */
};
struct sonde_test_repeats sonde_test_capture_repeats(const struct sonde_test_capture *c,
						     enum sonde_test_side from);
/* Packets of which all of @set are set and none of @clear; -1 as @fate: of any. */
uint64_t sonde_test_capture_count(const struct sonde_test_capture *c, enum sonde_test_side from,
				  uint8_t set, uint8_t clear, int fate);
/* Of every packet from that side, sent again or not. */
uint64_t sonde_test_capture_payload(const struct sonde_test_capture *c, enum sonde_test_side from);

struct sonde_test_windows {
	uint64_t
		closed; /* times that an ACK of @from's announced a window of 0 after one that was not */
	uint64_t ns; /* how long in all, by the times that the announcements were written */
};
struct sonde_test_windows sonde_test_capture_windows(const struct sonde_test_capture *c,
						     enum sonde_test_side from);
