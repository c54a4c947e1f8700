/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The scenes, in the order of the table, and what they share. */

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "bpf/veth.h"
#include "link.h"
#include "truth.h"
#include "words.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER

/* Two namespaces, the test on the client's side; open while the scenes run. */
extern struct veth truth_veth;

/* clang-format off */
#define TRUTH_SCENES(scene) \
	scene(bytes) \
	scene(connections) \
	scene(connect_failures) \
	scene(handshakes) \
	scene(rtt) \
	scene(rtt_gauges) \
	scene(rtt_netem) \
	scene(retransmits) \
	scene(drops) \
	scene(corruption) \
	scene(disorder) \
	scene(copies) \
	scene(why_slow) \
	scene(gauges) \
	scene(accept_queue) \
	scene(ends) \
	scene(calls) \
	scene(udp) \
	scene(udp_wire) \
	scene(ledger) \
	scene(rover)
/* clang-format on */

#define DECLARE(name) void truth_scene_##name(void **state);
TRUTH_SCENES(DECLARE)
#undef DECLARE
