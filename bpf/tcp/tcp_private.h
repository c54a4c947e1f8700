/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * What the TCP collector's kernel side and src/collect/tcp/ share beyond
 * tcp_types.h: the layout of their maps. Nobody else includes this.
 */
#include "bpf/lib/flow_types.h"
#include "bpf/lib/target_types.h"
#include "bpf/tcp/tcp_hist.h"
#include "bpf/tcp/tcp_types.h"

/* One slot of the cell array; mapped read-only by user space. A slot with used == 0 has no key yet. */
struct sonde_tcp_slot {
	struct sonde_tcp_cell_key key;
	__u64 used;
	struct sonde_tcp_cell cell;
};

/* Connections of targets by address pair, so that the server's end finds the client's owner. */
struct sonde_tcp_tuple {
	__u64 netns; /* net cookie where an address is loopback, else 0: veth pairs cross namespaces */
	__u8 laddr[16];
	__u8 raddr[16];
	__u16 lport;
	__u16 rport;
	__u32 pad;
};

/* Whose it is, and what a drop without a socket needs beside the addresses to find its cell. */
struct sonde_tcp_end {
	__u32 pid;
	__u32 peer_pid;
	__u64 netns; /* net cookie, also where the key has none */
	__u32 role;
	__u32 pad;
};

#define SONDE_TCP_PORT_PAIRS 8192 /* a power of two */

/* One counter of drops, with the name of its call site. */
#define SONDE_TCP_SITE_MAX 48
struct sonde_tcp_drop_slot {
	struct sonde_tcp_drop drop;
	char site[SONDE_TCP_SITE_MAX];
};

/* Listening (namespace, port) met when seeding. Value: the seed's generation. */
struct sonde_tcp_listener_key {
	__u64 netns;
	__u32 port;
	__u32 pad;
};

/* What a system call is to us, by its number. */
#define SONDE_TCP_SYSCALLS_MAX 512
enum sonde_tcp_syscall {
	SONDE_TCP_SYSCALL_NONE = 0,
	SONDE_TCP_SYSCALL_FAMILY = 1, /* + enum sonde_tcp_call_family */
	SONDE_TCP_SYSCALL_CONNECT = SONDE_TCP_SYSCALL_FAMILY + SONDE_TCP_CALL_FAMILIES,
	SONDE_TCP_SYSCALL_ACCEPT,
	SONDE_TCP_SYSCALL_CLOSE,
	SONDE_TCP_SYSCALL_FUNCTION, /* no number: in tcp_sendmsg() or tcp_recvmsg() */
};

/* What the programs on system calls are to see to; the rest is functions' or nobody's. */
#define SONDE_TCP_TIMING_ON (1U << 0) /* some program of the option is attached */
#define SONDE_TCP_TIMING_CALLS (1U << 1)
#define SONDE_TCP_TIMING_ACCEPT (1U << 2)
#define SONDE_TCP_TIMING_CONNECT (1U << 3)
#define SONDE_TCP_TIMING_CLOSE (1U << 4)

/* A thread of a target, in its task storage, while calls are timed. Only the thread itself writes it. */
struct sonde_tcp_thread {
	__u64 since_ns;	  /* when its call began; 0 = it is in none that is timed */
	__u64 blocked_ns; /* asleep in this call */
	__u64 asleep_ns;  /* since when; 0 = it is not */
	__u64 sock; /* connect, close: address of the socket; compared and read, never followed by type */
	__u64 address; /* connect as a function: of where to */
	__u32 cell;    /* index + 1 of the socket that it turned out to be about */
	__u32 bytes;
	__u8 kind; /* enum sonde_tcp_syscall */
	__u8 direction;
	__u8 syn_sent; /* connect: it came as far as SYN_SENT */
	__u8 seen;     /* one of its calls began or ended since it has this storage */
	__u32 pad;
};

/* One a cell, by its index: SONDE_COARSE_BUCKETS each. */
struct sonde_tcp_coarse {
	__u32 count[SONDE_TCP_CALL_HIST_COARSE][SONDE_COARSE_BUCKETS]; /* wraps modulo 2^32 */
};

/*
 * Fine histograms that few cells fill any of, so that memory is taken when one is: an enum sonde_tcp_call_hist
 * from SONDE_TCP_CALL_HIST_COARSE on, or this.
 */
#define SONDE_TCP_SPARSE_HANDSHAKE SONDE_TCP_CALL_HIST_MAX
#define SONDE_TCP_SPARSE_MAX (SONDE_TCP_CALL_HIST_MAX + 1)
#define SONDE_TCP_SPARSE_KINDS (SONDE_TCP_SPARSE_MAX - SONDE_TCP_CALL_HIST_COARSE)

/* A connection in an accept queue, by the address of its socket. */
struct sonde_tcp_waiting {
	__u64 since_ns;
	__u32 peer_pid;
	__u16 lport; /* one that is reset while it waits has none */
	__u16 pad;
};

/* Programs, as indices of the cost table. */
enum sonde_tcp_program {
	SONDE_TCP_PROGRAM_STATE = 0,
	SONDE_TCP_PROGRAM_DESTROY = 1,
	SONDE_TCP_PROGRAM_SEND = 2,
	SONDE_TCP_PROGRAM_RECV = 3,
	SONDE_TCP_PROGRAM_SOCKOPS = 4,
	SONDE_TCP_PROGRAM_PROBE = 5,
	SONDE_TCP_PROGRAM_RETRANSMIT = 6,
	SONDE_TCP_PROGRAM_SYNACK = 7,
	SONDE_TCP_PROGRAM_RESET_SENT = 8,
	SONDE_TCP_PROGRAM_RESET_RECEIVED = 9,
	SONDE_TCP_PROGRAM_DROP = 10,
	SONDE_TCP_PROGRAM_FORK = 11,
	SONDE_TCP_PROGRAM_EXIT = 12,
	SONDE_TCP_PROGRAM_SEED = 13,
	SONDE_TCP_PROGRAM_SNAPSHOT = 14,
	SONDE_TCP_PROGRAM_DROP_SKB = 15,
	/* of the option execution time (calls.bpf.h) */
	SONDE_TCP_PROGRAM_SYS_ENTER = 16,
	SONDE_TCP_PROGRAM_SYS_EXIT = 17,
	SONDE_TCP_PROGRAM_SWITCH = 18,
	SONDE_TCP_PROGRAM_THREADS = 19,
	SONDE_TCP_PROGRAM_RESET_PLAIN = 20,
	SONDE_TCP_PROGRAM_ERROR = 21,
	/* … where functions can be traced */
	SONDE_TCP_PROGRAM_FENTRY_SEND,
	SONDE_TCP_PROGRAM_FENTRY_RECV,
	SONDE_TCP_PROGRAM_FENTRY_SENDPAGE, /* before 6.5: sendfile and splice */
	SONDE_TCP_PROGRAM_FENTRY_CLOSE,
	SONDE_TCP_PROGRAM_FEXIT_CLOSE,
	SONDE_TCP_PROGRAM_FEXIT_ACCEPT,
	SONDE_TCP_PROGRAM_FEXIT_ACCEPT_4, /* before 6.10: other arguments */
	SONDE_TCP_PROGRAM_FENTRY_CONNECT4,
	SONDE_TCP_PROGRAM_FEXIT_CONNECT4,
	SONDE_TCP_PROGRAM_FENTRY_CONNECT6,
	SONDE_TCP_PROGRAM_FEXIT_CONNECT6,
	SONDE_TCP_PROGRAM_KPROBE_SEND,
	SONDE_TCP_PROGRAM_KPROBE_RECV,
	SONDE_TCP_PROGRAM_KPROBE_CLOSE,
	SONDE_TCP_PROGRAM_KRETPROBE_CLOSE,
	SONDE_TCP_PROGRAM_KRETPROBE_ACCEPT,
	SONDE_TCP_PROGRAM_KPROBE_CONNECT4,
	SONDE_TCP_PROGRAM_KRETPROBE_CONNECT4,
	SONDE_TCP_PROGRAM_KPROBE_CONNECT6,
	SONDE_TCP_PROGRAM_KRETPROBE_CONNECT6,
	/* calls where there is no sock_send_length (before 6.3); the option's programs end before */
	SONDE_TCP_PROGRAM_FEXIT_SEND,
	SONDE_TCP_PROGRAM_FEXIT_RECV,
	SONDE_TCP_PROGRAM_FEXIT_SENDPAGE,
	/* instead of SEND and RECV where no task counts calls */
	SONDE_TCP_PROGRAM_OWNER_SEND,
	SONDE_TCP_PROGRAM_OWNER_RECV,
	SONDE_TCP_PROGRAM_MAX,
};

/* A connection that ended. @turn is one more than the place given out, written last. */
struct sonde_tcp_ended {
	__u64 turn;
	struct sonde_flow flow;
};

/* Open ones are of the snapshot @epoch; ended ones add up, and have none. */
struct sonde_tcp_flow_rest {
	__u64 epoch;
	struct sonde_flow_rest rest;
};

enum sonde_tcp_seed_pass {
	SONDE_TCP_SEED_LEARN = 0, /* listeners of everybody, address pairs of targets */
	SONDE_TCP_SEED_TAG = 1,
};

enum sonde_tcp_snapshot_mode {
	SONDE_TCP_SNAPSHOT_FOLD = 0,
	SONDE_TCP_SNAPSHOT_RELEASE =
		1, /* last fold and removal of the tags whose owner is no target */
	SONDE_TCP_SNAPSHOT_SETTLE = 2, /* no fold: what sonde_settling says begins now */
};

#define SONDE_TCP_SETTLE_RTT (1U << 0)
#define SONDE_TCP_SETTLE_RETRANSMIT (1U << 1)

#define SONDE_TCP_ENDED_SLOTS 16384 /* connections that end between two snapshots; a power of two */
#define SONDE_TCP_OPEN_SLOTS 16384  /* open connections that a snapshot tells apart */
#define SONDE_TCP_FLOW_RESTS 1024   /* (process, role, open or ended) */
#define SONDE_TCP_LOSS_REASON_WORDS 4  /* 256 drop reasons */
#define SONDE_TCP_SEED_RETRIES 6       /* events that a seeded tag may be filled anew for */
#define SONDE_TCP_ACCEPT_WALK_MAX 4096 /* connections of one listener's accept queue */
#define SONDE_TCP_COST_SAMPLE 1024     /* one run in so many is timed; a power of two */
