/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * UDP collector, shared by BPF and user space: what a cell counts and the loss
 * ledger. A cell's key is that of the TCP collector (tcp_types.h) with
 * IPPROTO_UDP in it.
 *
 * Datagrams are those of the kernel's own counters: a send with UDP_SEGMENT is one
 * of UdpOutDatagrams, a read with UDP_GRO one of UdpInDatagrams, and so they are
 * here. All counters are cumulative since attach, each is added to at its event:
 * there are no gauges and nothing waits for a socket's end.
 */
#include "bpf/tcp/tcp_types.h"

/* What a call failed with. OTHER is the rest. */
enum sonde_udp_error {
	SONDE_UDP_ECONNREFUSED = 0, /* of an earlier datagram, told by ICMP */
	SONDE_UDP_EAGAIN = 1,	    /* send: the send buffer is full. An empty read is no failure */
	SONDE_UDP_EMSGSIZE = 2,
	SONDE_UDP_ENETUNREACH = 3,
	SONDE_UDP_EHOSTUNREACH = 4,
	SONDE_UDP_EPERM = 5, /* a packet filter or a cgroup program */
	SONDE_UDP_ENOBUFS = 6,
	SONDE_UDP_EINVAL = 7,
	SONDE_UDP_EOTHER = 8,
	SONDE_UDP_ERROR_MAX = 9,
};

struct sonde_udp_cell {
	__u64 sent_datagrams;
	__u64 sent_bytes; /* payload that the kernel took */
	__u64 received_datagrams;
	__u64 received_bytes; /* what the reads returned: of a datagram that was cut only what was copied */
	/* calls that returned 0 or more, no MSG_PEEK; each message of sendmmsg and recvmmsg is one */
	__u64 write_calls;
	__u64 read_calls;
	__u64 send_errors[SONDE_UDP_ERROR_MAX];
	__u64 receive_errors[SONDE_UDP_ERROR_MAX];
	/* of the calls, those that were timed, waiting included; only while a task asks for that */
	__u64 write_timed_calls;
	__u64 write_time_ns;
	__u64 read_timed_calls;
	__u64 read_time_ns;
	/* for which there was no room in the receive buffer, or no memory for UDP at all: UdpRcvbufErrors, UdpMemErrors */
	__u64 buffer_dropped_datagrams;
	__u64 buffer_dropped_bytes; /* of payload */
};

/* Sites of the ledger; names and words in src/model/ledger.def. */
enum sonde_udp_loss {
	SONDE_UDP_LOSS_TAG_FAILED = 0,	/* socket storage refused: socket not counted */
	SONDE_UDP_LOSS_CELL_FULL = 1,	/* cell table full: counted in `other` (totals exact) */
	SONDE_UDP_LOSS_OTHER_FULL = 2,	/* not even an `other` cell: lost */
	SONDE_UDP_LOSS_TARGET_FULL = 3, /* a forked child did not fit the target table */
	SONDE_UDP_LOSS_PEER_UNKNOWN =
		4, /* datagrams whose sender no hook names: in the port's `other` */
	SONDE_UDP_LOSS_BUSY = 5,
	SONDE_UDP_LOSS_SKIPPED_RUNS =
		6, /* the kernel skips a program that it interrupts on the same CPU */
	SONDE_UDP_LOSS_FLOW_FULL = 7, /* in no flow and no sum of them: in the cells only */
	SONDE_UDP_LOSS_MAX = 8,
};
