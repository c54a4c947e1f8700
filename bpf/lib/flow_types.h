/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Flow: one connection as it is told, of whatever protocol. Its numbers are
 * cumulative since it was first measured (its start, or where it was open before,
 * the seeding), so that the flows of a process and what is summed of the others
 * (struct sonde_flow_rest) make its cells' totals.
 *
 * Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; ports are in
 * host order, 0 = unknown; times are CLOCK_MONOTONIC.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define SONDE_FLOW_ADDRESS_BYTES 16

struct sonde_flow {
	__u64 id;    /* the socket's cookie, as `ss -e` shows it; unique while the machine runs */
	__u64 netns; /* net cookie */
	__u64 start_ns; /* connect(2), or the end of a server's handshake; 0 = before we looked */
	__u64 end_ns;	/* 0 = open */
	__u64 sent_bytes;
	__u64 received_bytes;
	__u64 segments_out;
	__u64 segments_in;
	__u64 rtt_sum_us;
	__u32 retransmits; /* segments */
	__u32 drops;	   /* skbs of class loss that were known to be this connection's */
	__u32 rtt_count;
	__u32 rtt_min_us; /* of the samples; 0 = none */
	__u32 rtt_max_us;
	__u32 pid;	/* owner */
	__u32 peer_pid; /* the other end's owner where the kernel told, else 0 */
	__u8 laddr[SONDE_FLOW_ADDRESS_BYTES];
	__u8 raddr[SONDE_FLOW_ADDRESS_BYTES];
	__u16 lport;
	__u16 rport;
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 role;     /* enum sonde_tcp_role */
	__u8 state;    /* TCP_* of the kernel; 0 for UDP */
	__u8 closer;   /* enum sonde_tcp_close + 1 of who closed first; 0 = nobody yet */
	__u8 error;    /* enum sonde_tcp_connect_error + 1: never established; 0 = it was */
	__u8 final;    /* the last record of this connection; a socket may be kept behind its end */
	__u8 pad[4];
	/* Set by user space alone: who is there where an address is translated; port 0 = not known, or not translated. */
	__u16 backend_port;
	__u8 backend[SONDE_FLOW_ADDRESS_BYTES];
};
_Static_assert(sizeof(struct sonde_flow) == 168, "flow layout");

/*
 * The flows of one process, role and protocol that are not told one by one.
 * Ended ones (open = 0) add up since the programs were attached, open ones are of
 * one snapshot.
 */
struct sonde_flow_rest_key {
	__u32 pid;
	__u8 protocol;
	__u8 role;
	__u8 open;
	__u8 pad;
};

struct sonde_flow_rest {
	__u64 connections;
	__u64 sent_bytes;
	__u64 received_bytes;
	__u64 segments_out;
	__u64 segments_in;
	__u64 retransmits;
	__u64 drops;
	__u64 rtt_count;
	__u64 rtt_sum_us;
};
