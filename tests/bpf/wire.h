/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Wire: a tunnel (tunnel.h) and a thread that carries its packets, with known
 * faults: it holds, drops, repeats, delays behind others or corrupts them, each at a
 * place that is set and not by chance. What it keeps of each packet is a capture,
 * and the truth of tests: what went in, what came out, when.
 *
 * Needs root. One thread beside the test's; _free() joins it. Every other call may
 * come from any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "tunnel.h"

#define SONDE_TEST_CAPTURE_MAX 131072 /* packets; those behind are carried, not kept */

/*
 * Of one direction. "Each n-th" is of packets with payload, 0 = none; a packet meets one fault: a loss
 * before a corruption, that before a copy, that before a reordering.
 */
struct sonde_test_faults {
	uint64_t hold_ns;   /* of each packet */
	uint64_t jitter_ns; /* held longer by: each second packet with payload; order is kept */
	unsigned int drop_every;
	unsigned int corrupt_every; /* the last byte of payload, not the checksum */
	unsigned int duplicate_every;
	unsigned int reorder_every;
	uint64_t reorder_ns; /* held longer by, so that the next ones pass it */
};

enum sonde_test_fate {
	SONDE_TEST_CARRIED = 0,
	SONDE_TEST_DROPPED = 1,
	SONDE_TEST_CORRUPTED = 2,
	SONDE_TEST_DUPLICATED = 3,
	SONDE_TEST_REORDERED = 4,
};

struct sonde_test_packet {
	uint64_t read_ns;    /* CLOCK_MONOTONIC, after it was read */
	uint64_t written_ns; /* before it was written; 0: it was not (yet) */
	uint32_t seq, ack;   /* TCP; 0 with UDP */
	uint16_t source, dest;
	uint16_t payload; /* bytes */
	uint16_t window;  /* as in the header, without its scale */
	uint8_t flags;	  /* TH_FIN, … */
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP, or 0: another */
	uint8_t from;	  /* enum sonde_test_side */
	uint8_t fate;	  /* enum sonde_test_fate */
};

struct sonde_test_wire;

/* Return: 0, -errno. */
int sonde_test_wire_new(uint64_t hold_ns, struct sonde_test_wire **ret) _must_check_;
/* Ends the thread and removes both namespaces. NULL is fine. Returns NULL. */
struct sonde_test_wire *sonde_test_wire_free(struct sonde_test_wire *w);
SONDE_DEFINE_CLEANUP(struct sonde_test_wire *, sonde_test_wire_free)

const struct sonde_test_tunnel *sonde_test_wire_tunnel(const struct sonde_test_wire *w);
/* From now on; counts of "each n-th" begin anew. */
void sonde_test_wire_set(struct sonde_test_wire *w, enum sonde_test_side from,
			 const struct sonde_test_faults *faults);
/* The next @n packets with payload from that side are dropped, before any other fault. */
void sonde_test_wire_drop(struct sonde_test_wire *w, enum sonde_test_side from, unsigned int n);

/* From now on nothing comes out: what is held, and what comes in, waits until it is called with false. */
void sonde_test_wire_stop(struct sonde_test_wire *w, bool stopped);

/*
 * A copy of what was kept so far, in the order of reading, for the caller to free; *@ret_n packets. What the
 * kernel was given is in it before anyone can see the effect. NULL: no memory.
 */
struct sonde_test_packet *sonde_test_wire_capture(struct sonde_test_wire *w, size_t *ret_n);
