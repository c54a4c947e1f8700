/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * What the TCP collector's kernel side and user space share: the key and the
 * counters of a cell, histogram geometry, drop records and the loss ledger.
 *
 * Every counter is cumulative since the programs were attached and only grows;
 * a task is a difference of two snapshots of its targets' cells. A gauge belongs
 * to one snapshot (its epoch) and is never subtracted.
 *
 * Pids are thread group ids in the probe's own PID namespace. Addresses are 16
 * bytes in network order, IPv4 as ::ffff:a.b.c.d. Ports are in host order.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

enum sonde_tcp_role {
	SONDE_TCP_ROLE_UNKNOWN = 0, /* never in a cell's key */
	SONDE_TCP_ROLE_CLIENT = 1,
	SONDE_TCP_ROLE_SERVER = 2,
};

/*
 * A cell: one process, one role, one pair of addresses, one service port (the
 * remote port of a client, the local port of a server). Never the task, never
 * an ephemeral port. SONDE_TCP_CELL_OTHER marks the (process, role) cell that
 * takes what the full table refuses; its addresses, port and peer are 0.
 */
#define SONDE_TCP_CELL_OTHER 1
struct sonde_tcp_cell_key {
	__u64 netns;	/* net cookie of the socket's network namespace */
	__u32 pid;	/* owner */
	__u32 peer_pid; /* the other end's owner where it is a tagged socket too, else 0 */
	__u8 role;	/* enum sonde_tcp_role */
	__u8 flags;	/* SONDE_TCP_CELL_OTHER */
	__u16 port;
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 pad[3];
	__u8 laddr[16];
	__u8 raddr[16];
};
_Static_assert(sizeof(struct sonde_tcp_cell_key) == 56, "key layout");

/* Who closed first, and how. A socket is counted in exactly one of these, once. */
enum sonde_tcp_close {
	SONDE_TCP_CLOSE_LOCAL_FIN = 0,	/* ESTABLISHED -> FIN_WAIT1 */
	SONDE_TCP_CLOSE_LOCAL_RST = 1,	/* abort: RST sent, no FIN first */
	SONDE_TCP_CLOSE_REMOTE_FIN = 2, /* CLOSE_WAIT came first */
	SONDE_TCP_CLOSE_REMOTE_RST = 3, /* RST received before any FIN */
	SONDE_TCP_CLOSE_BOTH = 4,	/* simultaneous: CLOSING */
	SONDE_TCP_CLOSE_ERROR = 5,	/* timed out or any other sk_err */
	SONDE_TCP_CLOSE_MAX = 6,
};

/* sk_err at SYN_SENT -> CLOSE; ABORTED = 0: the application gave up. OTHER is the rest. */
enum sonde_tcp_connect_error {
	SONDE_TCP_CONNECT_ABORTED = 0,
	SONDE_TCP_CONNECT_ECONNREFUSED = 1,
	SONDE_TCP_CONNECT_ETIMEDOUT = 2,
	SONDE_TCP_CONNECT_EHOSTUNREACH = 3,
	SONDE_TCP_CONNECT_ENETUNREACH = 4,
	SONDE_TCP_CONNECT_ECONNRESET = 5,
	SONDE_TCP_CONNECT_OTHER = 6,
	SONDE_TCP_CONNECT_ERROR_MAX = 7,
};

/* The sum over kinds equals the growth of tcp_sock.total_retrans. */
enum sonde_tcp_retransmit {
	SONDE_TCP_RETRANSMIT_SYN = 0,
	SONDE_TCP_RETRANSMIT_SYNACK = 1,
	SONDE_TCP_RETRANSMIT_FAST = 2,
	SONDE_TCP_RETRANSMIT_RTO = 3,
	SONDE_TCP_RETRANSMIT_RTO_RECOVERY = 4,
	SONDE_TCP_RETRANSMIT_TLP = 5,
	SONDE_TCP_RETRANSMIT_OTHER = 6,
	SONDE_TCP_RETRANSMIT_MAX = 7,
};

/*
 * Histogram: two significant decimal digits. 0..9 in steps of one, then 90
 * buckets a decade (10..99 times 10^n) up to 99,999,999; larger values go into
 * the last bucket. Every SkyWalking bound (in us) is an edge.
 */
#define SONDE_HIST_DECADES 7
#define SONDE_HIST_BUCKETS (10 + 90 * SONDE_HIST_DECADES) /* 640 */

/*
 * Ages: milliseconds by their first digit. 0..9 in steps of one, then 9 buckets a decade
 * up to 99,999,999 (27 hours): each is ten neighbours of a struct sonde_tcp_hist.
 */
#define SONDE_TCP_AGE_BUCKETS (10 + 9 * SONDE_HIST_DECADES)
struct sonde_tcp_age {
	__u32 count[SONDE_TCP_AGE_BUCKETS];
	__u32 pad;
};
_Static_assert(sizeof(struct sonde_tcp_age) % 8 == 0,
	       "a mapped array's entries begin at multiples of 8");

struct sonde_tcp_hist {
	__u32 count
		[SONDE_HIST_BUCKETS]; /* of microseconds; wraps modulo 2^32: take differences so */
};

struct sonde_tcp_cell {
	/* connections */
	__u64 seeded;	   /* found open when the programs attached */
	__u64 opened;	   /* client: SYN_SENT -> ESTABLISHED */
	__u64 accepted;	   /* server: handshake of a tagged listener's child completed */
	__u64 half_closed; /* shutdown(SHUT_WR): FIN sent while the other side still sends */
	__u64 closed[SONDE_TCP_CLOSE_MAX];
	__u64 unread_closes; /* sockets that ended with payload that nobody took */
	__u64 unread_bytes;  /* of those: arrived_bytes - received_bytes at the end */
	__u64 age_unknown;   /* ended, but seeded: no age in the histogram */
	__u64 connect_failed[SONDE_TCP_CONNECT_ERROR_MAX];
	__u64 resets_sent;
	__u64 resets_received;
	__u64 listen_drops; /* growth of the listener's sk_drops: SYNs and handshakes that it refused */
	/* handshake: client SYN_SENT -> ESTABLISHED, server SYN-ACK -> ACK */
	__u64 handshake_count;
	__u64 handshake_sum_us;
	__u64 handshake_unknown; /* SYN cookies, or the start was not seen */
	/* payload, without SYN and FIN; see kernel-facts "Bytes and calls" */
	__u64 sent_bytes;     /* accepted from the application */
	__u64 acked_bytes;    /* of those: acknowledged by the peer */
	__u64 received_bytes; /* taken by the application */
	__u64 arrived_bytes;  /* received_bytes plus what waits unread */
	__u64 segments_out;   /* with retransmissions, data_segs and pure ACKs: tcp_sock.segs_out */
	__u64 segments_in;
	__u64 retransmitted_segments;		    /* growth of tcp_sock.total_retrans */
	__u64 retransmit[SONDE_TCP_RETRANSMIT_MAX]; /* segments by kind */
	__u64 retransmitted_bytes;		    /* growth of tcp_sock.bytes_retrans: payload */
	__u64 retransmit_bytes[SONDE_TCP_RETRANSMIT_MAX];
	__u64 dsack_segments;	     /* that the peer got twice, as it says: tcp_sock.dsack_dups */
	__u64 out_of_order_segments; /* received: tcp_sock.rcv_ooopack */
	/* where the time goes, as TCP_INFO has it; in steps of a jiffy */
	__u64 busy_us;		 /* data outstanding or waiting; contains the next two */
	__u64 rwnd_limited_us;	 /* by the peer's receive window */
	__u64 sndbuf_limited_us; /* by the send buffer */
	__u64 active_us; /* time of all this, up to the last activity; the rest of it was idle */
	__u64 zero_window_sent_us; /* our window was closed because nobody read; seen by snapshots only */
	/* calls that moved payload (return > 0, no MSG_PEEK); sendfile and splice count chunks */
	__u64 write_calls;
	__u64 read_calls;
	/* RTT samples: each a real measurement, in us */
	__u64 rtt_count;
	__u64 rtt_sum_us;
	__u64 rtt_square_sum_us2; /* of samples up to 2^24 us (larger: as that), for the variance */
	__u64 rtt_firsts;	  /* samples that have none before them on their connection */
	__u64 rtt_change_sum_us;  /* sum over the others of the absolute difference to it */
	__u64 rtt_missed; /* ACKs that advanced in a state where the source is blind (half-closed, seeded) */
	/* gauges of the snapshot named by epoch, summed over the cell's live sockets */
	__u64 epoch;
	__u64 open;	   /* connections open now */
	__u64 rtt_sockets; /* of those, how many had an RTT: divisor of the next two */
	__u64 srtt_sum_us;
	__u64 rttvar_sum_us; /* tcp_sock.mdev or rttvar, the smoothed mean deviation */
	__u64 rtt_min_us;    /* smallest tcp_sock min_rtt among them; 0 = none */
	__u64 cwnd_sum;	     /* segments; over `open` */
	__u64 ssthresh_sum; /* segments; over ssthresh_sockets, those that have left slow start once */
	__u64 ssthresh_sockets;
	__u64 pacing_sum; /* bytes a second; over pacing_sockets */
	__u64 pacing_sockets;
	__u64 delivery_sum; /* bytes a second, as tcpi_delivery_rate; over delivery_sockets */
	__u64 delivery_sockets;
	__u64 delivery_app_limited; /* of those: the rate is the application's, not the path's */
	__u64 zero_window_received; /* connections whose peer's window is closed now */
	__u64 zero_window_sent;	    /* connections whose own window is closed now */
	__u64 accept_queue;	    /* of the listener: connections that wait for accept(2) */
	__u64 accept_queue_limit;
};

/*
 * Calls: what the application's system calls on a cell's sockets did. A call is one
 * that moved payload (returned more than 0, no MSG_PEEK) or ended its socket. While
 * a task asks for call times a call is a system call, counted at its return. Else
 * it is what sock_send_length and sock_recv_length see: sendfile and splice then
 * count chunks, sendmmsg and recvmmsg messages. io_uring counts operations.
 */
enum sonde_tcp_call_direction {
	SONDE_TCP_CALL_WRITE = 0,
	SONDE_TCP_CALL_READ = 1,
	SONDE_TCP_CALL_DIRECTIONS = 2,
};
enum sonde_tcp_call_family {
	SONDE_TCP_CALL_PLAIN = 0,     /* write, read */
	SONDE_TCP_CALL_VECTOR = 1,    /* writev, readv and their p…v2 */
	SONDE_TCP_CALL_ADDRESSED = 2, /* sendto (send(3) is it), recvfrom (recv(3)) */
	SONDE_TCP_CALL_MESSAGE = 3,   /* sendmsg, recvmsg */
	SONDE_TCP_CALL_MESSAGES = 4,  /* sendmmsg, recvmmsg */
	SONDE_TCP_CALL_SENDFILE = 5,
	SONDE_TCP_CALL_SPLICE = 6,
	SONDE_TCP_CALL_IO_URING = 7,
	SONDE_TCP_CALL_OTHER = 8, /* AIO, 32-bit programs */
	SONDE_TCP_CALL_FAMILIES = 9,
};

/* What connect(2) answered before any SYN: no state change tells of it. */
enum sonde_tcp_local_error {
	SONDE_TCP_LOCAL_ENETUNREACH = 0,   /* no route */
	SONDE_TCP_LOCAL_EHOSTUNREACH = 1,  /* unreachable route */
	SONDE_TCP_LOCAL_EINVAL = 2,	   /* blackhole route */
	SONDE_TCP_LOCAL_EADDRNOTAVAIL = 3, /* no local address or port */
	SONDE_TCP_LOCAL_EACCES = 4,	   /* prohibited route; EPERM too */
	SONDE_TCP_LOCAL_OTHER = 5,
	SONDE_TCP_LOCAL_ERROR_MAX = 6,
};

enum sonde_tcp_call_hist {
	SONDE_TCP_CALL_HIST_WRITE_TIME = 0, /* of microseconds */
	SONDE_TCP_CALL_HIST_READ_TIME = 1,
	SONDE_TCP_CALL_HIST_WRITE_SIZE = 2, /* of bytes */
	SONDE_TCP_CALL_HIST_READ_SIZE = 3,
	SONDE_TCP_CALL_HIST_COARSE =
		4, /* those above: on every call, so 10 to 25 % wide (tcp_hist.h) */
	SONDE_TCP_CALL_HIST_CLOSE_TIME = 4, /* of microseconds */
	SONDE_TCP_CALL_HIST_ACCEPT_QUEUE = 5,
	SONDE_TCP_CALL_HIST_MAX = 6,
};

/* One a cell, by its index. Counters, as in the cell. */
struct sonde_tcp_calls {
	__u64 calls[SONDE_TCP_CALL_DIRECTIONS][SONDE_TCP_CALL_FAMILIES];
	/* of those: with a time, from the entry of the system call to its return */
	__u64 timed[SONDE_TCP_CALL_DIRECTIONS];
	__u64 time_sum_ns[SONDE_TCP_CALL_DIRECTIONS];
	__u64 blocked[SONDE_TCP_CALL_DIRECTIONS]; /* of the timed: that slept */
	__u64 blocked_sum_ns
		[SONDE_TCP_CALL_DIRECTIONS]; /* of time_sum_ns: asleep until it ran again */
	/* accept(2) that returned a connection; of those with a time: since its handshake was done */
	__u64 accepts;
	__u64 accept_queue_count;
	__u64 accept_queue_sum_ns;
	/* close(2) that ended its socket */
	__u64 close_count;
	__u64 close_sum_ns;
	__u64 local_failed[SONDE_TCP_LOCAL_ERROR_MAX];
};

/* Events with a reason of the kernel's. Rare path, so a hash of its own. */
enum sonde_tcp_event {
	SONDE_TCP_EVENT_DROP = 0,
	SONDE_TCP_EVENT_RESET_SENT = 1, /* skbs counts; no segments, no bytes, no site */
	SONDE_TCP_EVENT_MAX = 2,
};
enum sonde_tcp_direction {
	SONDE_TCP_DIRECTION_RX = 0,
	SONDE_TCP_DIRECTION_TX = 1,
};
/* How the connection of a drop was found. */
enum sonde_tcp_where {
	SONDE_TCP_WHERE_SOCKET = 0, /* the kernel had the socket in hand */
	SONDE_TCP_WHERE_ELSEWHERE =
		1, /* by the packet's addresses: forward, bridge, loopback, another end's hook */
	SONDE_TCP_WHERE_LISTENER = 2, /* a listening socket: there is no connection yet */
	SONDE_TCP_WHERE_BOTH_ENDS =
		3, /* elsewhere, and both ends are ours: a TX and an RX row have the same packet */
	SONDE_TCP_WHERE_MAX = 4,
};
struct sonde_tcp_drop_key {
	__u32 cell;   /* index */
	__u32 reason; /* of EVENT_DROP: enum skb_drop_reason with the subsystem in the upper half;
		       * of EVENT_RESET_SENT: enum sk_rst_reason */
	__u64 site; /* where kfree_skb was called: a kernel address, never told outside the probe */
	__u8 direction;
	__u8 event;
	__u8 where;
	__u8 pad[5];
};
struct sonde_tcp_drop {
	__u64 skbs;
	__u64 segments; /* gso_segs, at least 1 an skb */
	__u64 bytes;	/* skb->len */
};

/*
 * Loss ledger: one array slot a site, one value a CPU. A site that is not 0
 * says which numbers of the report are lower bounds. Names and words for each
 * are in src/model/ledger.def, in this order.
 */
enum sonde_tcp_loss {
	SONDE_TCP_LOSS_TAG_FAILED = 0,	/* socket storage refused: socket not counted */
	SONDE_TCP_LOSS_CELL_FULL = 1,	/* cell table full: folded into `other` (totals exact) */
	SONDE_TCP_LOSS_OTHER_FULL = 2,	/* not even an `other` cell: delta lost */
	SONDE_TCP_LOSS_DROP_FULL = 3,	/* drop table full */
	SONDE_TCP_LOSS_TUPLE_FULL = 4,	/* peer look-up table full: peer shown as an address */
	SONDE_TCP_LOSS_TARGET_FULL = 5, /* a forked child did not fit the target table */
	SONDE_TCP_LOSS_ACCEPT_QUEUE =
		6,		       /* accept queue longer than the walk's bound when seeding */
	SONDE_TCP_LOSS_RTT_MISSED = 7, /* RTT samples that no source could see */
	SONDE_TCP_LOSS_FOREIGN =
		8, /* inherited socket first used by a process that is no target: released */
	SONDE_TCP_LOSS_UNTRACKED_MPTCP = 9, /* MPTCP descriptor: subflows not reached */
	SONDE_TCP_LOSS_BUSY = 10, /* a compare-and-exchange gave up after its bound of retries */
	SONDE_TCP_LOSS_SKIPPED_RUNS =
		11, /* the kernel skips a program that it interrupts on the same CPU: events not seen */
	SONDE_TCP_LOSS_CALL_HIST =
		12, /* a handshake, or a call's time or size, found no histogram: in the sums only */
	SONDE_TCP_LOSS_CALL_THREAD =
		13, /* a target's thread without storage: its calls have no time */
	SONDE_TCP_LOSS_END_UNSEEN =
		14, /* connections that are gone without an end that a hook saw: their last bytes and close */
	SONDE_TCP_LOSS_FLOW_FULL = 15, /* connections without a record that no sum had room for */
	SONDE_TCP_LOSS_LISTENER_FULL = 16, /* listener table full: role of older connections */
	SONDE_TCP_LOSS_CALL_WAITING =
		17, /* accepts without the time or the port that was to be kept */
	SONDE_TCP_LOSS_MAX = 18,
};

/* Own cost: one slot a program, one value a CPU. */
struct sonde_bpf_cost {
	__u64 runs;
	__u64 sampled_runs;
	__u64 sampled_ns;
	__u64 discarded_runs; /* timed, and longer than an own run can be: in none of the above but runs */
};
