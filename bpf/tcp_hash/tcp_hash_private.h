/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * What the kernel side of the TCP collector for kernels without socket storage in
 * tracing programs (before 5.11) and src/collect/tcp_hash/ share. Nobody else
 * includes this.
 *
 * A socket is an entry of a hash, by its address. What it counted is never folded
 * while it lives, for there is no exchange of values on such a kernel: a snapshot
 * reads it as it is, and user space adds it to the sums of those that ended.
 */
#include "bpf/lib/target_types.h"
#include "bpf/tcp/tcp_types.h"

enum sonde_hash_kind {
	SONDE_HASH_LISTENER = 1,
	SONDE_HASH_CONNECTION = 2,
};

/* All written under the socket's lock, or before the entry can be found. */
enum sonde_hash_flag {
	SONDE_HASH_ESTABLISHED = 1U << 0, /* its base is set */
	SONDE_HASH_FIN_SENT = 1U << 1,	  /* sent_end is the end of the payload */
	SONDE_HASH_RST_RECEIVED = 1U << 2,
	SONDE_HASH_CLOSED = 1U << 3, /* in the sums of its cell, but for its rest */
	SONDE_HASH_CLOSE_COUNTED = 1U << 4,
	SONDE_HASH_HALF_COUNTED = 1U << 5,
};

/* Where counting starts: sequence numbers, and the kernel's counters there. */
struct sonde_hash_base {
	__u64 acked_raw;
	__u64 received_raw;
	__u32 sent_seq;
	__u32 acked_seq;
	__u32 received_seq;
	__u32 arrived_seq;
	__u32 segments_out;
	__u32 segments_in;
	__u32 retrans;
	__u32 sent_end;
	/* where reads of what had arrived begin that follow -> CLOSE; written before its flag */
	__u64 rest_raw;
	__u32 rest_seq;
	__u32 pad;
};

struct sonde_hash_sock {
	struct sonde_tcp_cell_key key;
	__u64 id;	/* with the address: this life of the socket. Time of its first event */
	__u64 start_ns; /* connect(2); 0 = not seen */
	__u32 kind;
	__u32 flags;
	__u32 kind_retrans; /* tcp_sock.total_retrans that retransmit[] already holds */
	__u16 lport;	    /* of a listener */
	__u8 closer;	    /* enum sonde_tcp_close + 1 of the first closer; 0 = nobody yet */
	__u8 pad;
	struct sonde_hash_base base;
};

/* What the kernel has of a socket at one moment. */
struct sonde_hash_reading {
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 write_seq;
	__u32 snd_una;
	__u32 copied_seq;
	__u32 rcv_nxt;
	__u32 segments_out;
	__u32 segments_in;
	__u32 retrans;
	__u32 fin_arrived; /* 0, 1 */
	__u32 srtt_us;
	__u32 mdev_us;
	__u32 rtt_min_us; /* ~0 = none */
	__u32 pad;
};

/* What the snapshot's iterator writes of each live connection. */
struct sonde_hash_live {
	__u64 sk;
	__u64 id;
	struct sonde_tcp_cell_key key;
	__u32 flags;
	__u8 closer; /* as the entry's */
	__u8 shut;   /* 1: both ways */
	__u16 pad;
	struct sonde_hash_base base;
	struct sonde_hash_reading now;
};

/*
 * A cell: counters of events, and what ended connections moved. @begun is raised
 * before a connection's last numbers are added, @finished after it: who reads both
 * alike, before and after a walk over the live ones, missed and doubled nothing.
 */
struct sonde_hash_cell {
	__u64 begun;
	__u64 finished;
	struct sonde_tcp_cell cell;
};

/* Listening sockets, of everybody: whose children are whose, and who is a server. Address 0: any. */
struct sonde_hash_listener_key {
	__u64 netns;
	__u32 port;
	__u32 pad;
	__u8 addr[16];
};
struct sonde_hash_listener {
	__u64 members; /* sockets of targets that listen there: one, or a group (SO_REUSEPORT) */
	__u32 pid;     /* the target that owns it, of a group's the last; or 0 */
	__u32 generation;
};

enum sonde_hash_program {
	SONDE_HASH_PROGRAM_STATE = 0,
	SONDE_HASH_PROGRAM_DESTROY = 1,
	SONDE_HASH_PROGRAM_RETRANSMIT = 2,
	SONDE_HASH_PROGRAM_SYNACK = 3,
	SONDE_HASH_PROGRAM_RESET_SENT = 4,
	SONDE_HASH_PROGRAM_RESET_RECEIVED = 5,
	SONDE_HASH_PROGRAM_FORK = 6,
	SONDE_HASH_PROGRAM_EXIT = 7,
	SONDE_HASH_PROGRAM_SEED = 8,
	SONDE_HASH_PROGRAM_SNAPSHOT = 9,
	SONDE_HASH_PROGRAM_MAX = 10,
};

enum sonde_hash_seed_pass {
	SONDE_HASH_SEED_LEARN = 0, /* listeners of everybody */
	SONDE_HASH_SEED_ENTER = 1, /* the targets' sockets */
};

#define SONDE_HASH_COST_SAMPLE 1024 /* one run in so many is timed; a power of two */
