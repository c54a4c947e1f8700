/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Relay: two network namespaces joined by a TUN device in each and a thread
 * that carries packets between them, holding each for a set time. What it
 * recorded is the truth of an RTT test: for every data segment from the client's
 * side, the time from reading the segment until the ACK that covers it was
 * written back (its own hold, the far end's answer and the return leg).
 *
 * The client's namespace has 10.9.0.1 and fd00:9::1, the server's 10.9.0.2 and
 * fd00:9::2. Needs root. One thread beside the test's; stop() joins it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_TEST_RELAY_SAMPLES_MAX 65536

struct sonde_test_relay;

enum sonde_test_side {
	SONDE_TEST_CLIENT = 0,
	SONDE_TEST_SERVER = 1,
};

/* @hold_ns: of each packet from the client's side; the way back is not held. Return: 0, -errno. */
int sonde_test_relay_new(uint64_t hold_ns, struct sonde_test_relay **ret) _must_check_;

/* Ends the thread and removes both namespaces. NULL is fine. Returns NULL. */
struct sonde_test_relay *sonde_test_relay_free(struct sonde_test_relay *r);
SONDE_DEFINE_CLEANUP(struct sonde_test_relay *, sonde_test_relay_free)

/* socket(2) in one side's namespace. Return: the descriptor, or -errno. */
int sonde_test_relay_socket(struct sonde_test_relay *r, enum sonde_test_side side, int family);

/* The next @n packets from the client's side are not carried. */
void sonde_test_relay_drop(struct sonde_test_relay *r, unsigned n);

/*
 * Copies the samples (ns, in order of the ACKs) so far. @capacity in samples.
 * Return: how many there are (more than @capacity: the rest was not copied).
 */
size_t sonde_test_relay_samples(struct sonde_test_relay *r, uint64_t *ret, size_t capacity);

/* Packets read from that side. */
uint64_t sonde_test_relay_packets(struct sonde_test_relay *r, enum sonde_test_side from);
