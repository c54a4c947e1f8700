/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * What the UDP collector's kernel side and src/collect/udp/ share beyond
 * udp_types.h: the layout of their maps. Nobody else includes this.
 */
#include "bpf/lib/flow_types.h"
#include "bpf/lib/target_types.h"
#include "bpf/udp/udp_types.h"

/* A client's first send that takes longer to return names its end too late: the port may be another socket's by then. */
#define SONDE_UDP_LATE_NS 1000000000ULL

/*
 * One slot of the cell array; mapped read-only by user space. A slot with used == 0 has no key yet.
 * @owner, @sole: of a server's cell without a peer (late.bpf.h). Where sole is 0 and owner is not, all that it counted
 * is of owner's ends; who reads it takes the counts first.
 */
struct sonde_udp_slot {
	struct sonde_tcp_cell_key key;
	__u64 used;
	struct sonde_udp_cell cell;
	__u32 sole;  /* 0 = every end in it is the owner's; else which one is not */
	__u32 owner; /* pid; 0 = none yet */
};

/* Programs, as indices of the cost table. */
enum sonde_udp_program {
	SONDE_UDP_PROGRAM_SEND = 0,
	SONDE_UDP_PROGRAM_RECV = 1,
	SONDE_UDP_PROGRAM_TO4 = 2,
	SONDE_UDP_PROGRAM_TO6 = 3,
	SONDE_UDP_PROGRAM_FROM4 = 4,
	SONDE_UDP_PROGRAM_FROM6 = 5,
	SONDE_UDP_PROGRAM_FAIL = 6,    /* names the datagram */
	SONDE_UDP_PROGRAM_FAIL_SK = 7, /* only the socket */
	SONDE_UDP_PROGRAM_FORK = 8,
	SONDE_UDP_PROGRAM_EXIT = 9,
	SONDE_UDP_PROGRAM_SEED = 10,
	SONDE_UDP_PROGRAM_RELEASE = 11,
	SONDE_UDP_PROGRAM_SENT4 = 12,
	SONDE_UDP_PROGRAM_SENT6 = 13,
	SONDE_UDP_PROGRAM_READ4 = 14,
	SONDE_UDP_PROGRAM_READ6 = 15,
	SONDE_UDP_PROGRAM_TAKEN = 16,
	SONDE_UDP_PROGRAM_BIND4 = 17,
	SONDE_UDP_PROGRAM_BIND6 = 18,
	SONDE_UDP_PROGRAM_ENTER_SEND4 = 19,
	SONDE_UDP_PROGRAM_ENTER_SEND6 = 20,
	SONDE_UDP_PROGRAM_ENTER_READ4 = 21,
	SONDE_UDP_PROGRAM_ENTER_READ6 = 22,
	SONDE_UDP_PROGRAM_SYSCALL = 23,
	SONDE_UDP_PROGRAM_MAX = 24,
};

struct sonde_udp_flow {
	struct sonde_flow flow;
	__u64 last_ns; /* of its last call or drop */
};

#define SONDE_UDP_FLOWS 16384	  /* that are not yet told to have ended */
#define SONDE_UDP_FLOW_RESTS 1024 /* (process, role) */

#define SONDE_UDP_COST_SAMPLE 1024 /* one run in so many is timed; a power of two */
