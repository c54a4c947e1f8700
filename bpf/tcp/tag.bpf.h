/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Tag: what we know of one socket, in its socket storage. It is charged to the
 * application's own option memory, so it is small and holds no histogram.
 *
 * Addresses, ports, role and owner are written when the tag is made and are not
 * read from the socket later: at its death the ports are gone.
 */

enum tag_kind {
	TAG_BLANK = 0, /* just created, being filled on some CPU: treated as absent */
	TAG_LISTENER = 1,
	TAG_CONNECTION = 2,
	TAG_STALE =
		3, /* blank, and an event came: with its new state, or 0, from TAG_STALE_SHIFT on */
};
#define TAG_STALE_SHIFT 8

enum tag_flag {
	TAG_PROVISIONAL = 1U << 0, /* owner = the listener's, until the first I/O in task context */
	TAG_ESTABLISHED = 1U << 1,
	TAG_HAS_BASE = 1U << 2,	    /* the byte anchors are set */
	TAG_ACCEPT_WAITS = 1U << 3, /* `accepted` not yet counted: the owner may still change */
	TAG_SEED_WAITS = 1U << 4,   /* the same for `seeded` */
	TAG_FIN_SENT = 1U << 5,	    /* sent_end is the end of the payload */
	TAG_RST_RECEIVED = 1U << 6,
	TAG_CLOSED = 1U << 7,	     /* -> CLOSE was seen */
	TAG_CLOSE_COUNTED = 1U << 8, /* in closed[] */
	TAG_HALF_COUNTED = 1U << 9,  /* in half_closed */
	TAG_RTT_SOCKOPS = 1U << 10,  /* this socket's only RTT source; without it tcp_probe is */
	TAG_IN_TUPLES = 1U << 11,
	TAG_ENDING = 1U << 12,	   /* being taken off the count of connections that we follow */
	TAG_ENDED = 1U << 13,	   /* it is off */
	TAG_CLAIMED = 1U << 14,	   /* somebody fills it: who set this, alone */
	TAG_FLOW_ENDED = 1U << 15, /* told as ended, or about to be */
};
#define TAG_OPEN (TAG_ESTABLISHED | TAG_HAS_BASE) /* established, and its key is whole */

/* In a last value: the final fold was done, nothing follows. */
#define DEAD (~0ULL)
#define DEAD32 (~0U)

struct sonde_tag {
	__u32 kind;  /* enum tag_kind, written last */
	__u32 flags; /* atomically */
	__u32 pid;
	__u32 peer_pid;
	__u32 cell; /* index + 1 once the owner is sure; 0 = look it up */
	__u8 role;
	__u8 closer; /* enum sonde_tcp_close + 1 of the first closer; 0 = nobody yet */
	__u16 lport;
	__u16 rport;
	__u8 error; /* enum sonde_tcp_connect_error + 1; 0 = the connect did not fail */
	__u8 life; /* how often the socket was used before this connection, by connect(2) after a disconnect */
	union {
		__u32 handshake_us;  /* of a child, waiting with TAG_ACCEPT_WAITS; 0 = unknown */
		__u32 connect_errno; /* of a client: told while it was connecting; 0 = none */
	};
	__u8 laddr[16];
	__u8 raddr[16];
	__u64 netns;
	__u64 start_ns; /* connect(2), or the end of a server's handshake; 0 = not seen */
	/* where payload counting starts: sequence numbers, and the kernel's 64-bit counters there */
	__u64 acked_raw0;
	__u64 received_raw0;
	__u32 sent_seq0;
	__u32 acked_seq0;
	__u32 received_seq0;
	__u32 arrived_seq0;
	__u32 sent_end;
	__u32 kind_retrans;	  /* tcp_sock.total_retrans that retransmit[] already holds */
	__u32 kind_retrans_bytes; /* tcp_sock.bytes_retrans that retransmit_bytes[] already holds */
	__u32 last_rtt_us;	  /* of the last sample, plus 1; 0 = none yet */
	__u32 blind_delivered;	  /* tcp_sock.delivered that rtt_missed already holds */
	/* what only the flow record wants (flow.bpf.h) */
	__u32 rtt_count;
	__u64 rtt_sum_us;
	__u64 end_ns; /* at -> CLOSE; 0 = open */
	__u32 rtt_min_us;
	__u32 rtt_max_us;
	__u32 drops;
	__u32 segments_out0; /* the kernel's counters where the flow's begin */
	__u32 segments_in0;
	__u32 retrans0;
	/* last values: what the cells already hold of this socket */
	__u64 sent;
	__u64 acked;
	__u64 received;
	__u64 arrived;
	__u64 rtt_mstamp; /* tcp_sock.rack.mstamp of the last RTT sample */
	/* the same of the kernel's 32-bit counters, and of the low half of larger ones */
	__u32 segments_out;
	__u32 segments_in;
	union {
		__u32 retrans;
		__u32 listen_drops; /* of a listener: sock.sk_drops */
	};
	__u32 retrans_bytes;
	__u32 dsack_segments;
	__u32 out_of_order;
	__u32 active_jiffies;
	__u32 busy_jiffies;
	__u32 rwnd_jiffies;
	__u32 sndbuf_jiffies;
};
_Static_assert(sizeof(struct sonde_tag) <= 256, "tags are charged to the application");

#define TAG_STALE_RETRIES 4

/*
 * An event on another CPU finds a tag that is being filled: what it was filled with is
 * from before the event, or from after it, nobody knows. So it is filled anew.
 * @state: that the socket goes to with this event; 0 = stays in.
 * Return: false when it was filled meanwhile, and the event is to be counted.
 */
static __always_inline bool mark_stale(struct sonde_tag *tag, __u32 state)
{
	__u32 old = *(volatile __u32 *)&tag->kind, seen;
	int i;

	for (i = 0; i < TAG_STALE_RETRIES; i++) {
		if (old == TAG_CONNECTION || old == TAG_LISTENER)
			return false;
		seen = __sync_val_compare_and_swap(&tag->kind, old,
						   TAG_STALE | (state ?: old >> TAG_STALE_SHIFT)
								       << TAG_STALE_SHIFT);
		if (seen == old)
			return true;
		old = seen;
	}
	return true;
}
