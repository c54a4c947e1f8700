/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Found: a connection that was there before its tag, met by a seed or by a target's
 * first call on it. Its base line is what it has counted until then.
 */

static __always_inline bool is_connected(__u32 state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || has_sent_fin(state);
}

static __always_inline bool is_server_side(const struct sonde_tag *tag)
{
	struct sonde_tcp_listener_key key = {.netns = tag->netns, .port = tag->lport};
	__u32 *generation = bpf_map_lookup_elem(&sonde_listeners, &key);

	/* While the next LEARN is under way, what the last one met counts, too. */
	return generation && *generation >= *(volatile __u32 *)&sonde_seed_learnt;
}

/*
 * Everything but the kind. What an event wrote of our FIN stays: it knows its place.
 * So do the addresses under which an earlier turn entered the pair: it leaves by them.
 */
static __noinline int fill_found(struct sock *sk, struct sonde_tag *tag, __u32 flags, __u32 state,
				 int moved)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct reading now = {};

	if (!tp)
		return 0;
	if (!(tag->flags & TAG_IN_TUPLES))
		write_identity(tag, &sk->__sk_common);
	tag->closer = 0;
	__sync_fetch_and_and(&tag->flags, TAG_FIN_SENT | TAG_CLAIMED | TAG_IN_TUPLES);
	if (state == TCP_SYN_SENT) {
		/* Nothing of it was counted yet: `opened` and its bytes follow. */
		tag->role = SONDE_TCP_ROLE_CLIENT;
		tag->segments_out = tp->segs_out;
		tag->retrans = tp->total_retrans;
		tag->segments_out0 = tp->segs_out;
		tag->retrans0 = tp->total_retrans;
		tag->kind_retrans = tp->total_retrans;
		tag->retrans_bytes = tp->bytes_retrans;
		tag->kind_retrans_bytes = tp->bytes_retrans;
		return 0;
	}
	tag->role = flags & TAG_PROVISIONAL || is_server_side(tag) ? SONDE_TCP_ROLE_SERVER
								   : SONDE_TCP_ROLE_CLIENT;
	tag->peer_pid = tuple_peer(tag);
	if (has_sent_fin(state)) {
		payload_ends(sk, tag, 1);
		flags |= TAG_HALF_COUNTED;
		tag->closer = SONDE_TCP_CLOSE_LOCAL_FIN + 1;
	}
	if (state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK)
		tag->closer = SONDE_TCP_CLOSE_REMOTE_FIN + 1;
	__sync_fetch_and_or(&tag->flags, flags | TAG_ESTABLISHED | TAG_SEED_WAITS);
	tuple_enter(tag); /* again, with the role: what learn() entered was for tuple_peer() */
	read_socket(sk, tp, tag, &now);
	base_seeded(&now, tag);
	if (moved > 0)
		tag->sent_seq0 -= moved;
	else
		tag->received_seq0 += moved;
	return 0;
}

/* The tag is whole. False when an event came since it was begun; @state: what the socket went to with it. */
static __always_inline bool publish_found(struct sonde_tag *tag, __u32 *state)
{
	__u32 kind;

	if (__sync_val_compare_and_swap(&tag->kind, TAG_BLANK, TAG_CONNECTION) == TAG_BLANK)
		return true;
	kind = __sync_lock_test_and_set(&tag->kind, TAG_BLANK);
	*state = kind >> TAG_STALE_SHIFT ?: *state;
	return false;
}

struct found {
	struct sock *sk;
	struct sonde_tag *tag;
	__u32 state;
	__u32 flags;
	int moved;
	bool whole;
	bool ended;
};

/* A loop of the kernel's: one of ours is verified turn by turn, twenty times the instructions. */
static int fill_once(__u32 i, struct found *found)
{
	if (!is_connected(found->state) && found->state != TCP_SYN_SENT) {
		found->ended = true;
		return 1;
	}
	fill_found(found->sk, found->tag, found->flags, found->state, found->moved);
	found->whole = publish_found(found->tag, &found->state);
	return found->whole;
}

/*
 * An event that looked for the tag before it was there is found by the state that it
 * left: here, or at the next snapshot. @flags: TAG_PROVISIONAL for what waits in an
 * accept queue. @moved: bytes that the call which found it sent, or less than 0:
 * received; they count. Return: 1 = found, 0 = not, or another CPU's.
 */
static __noinline int tag_found(struct sock *sk, __u32 pid, __u32 flags, int moved)
{
	struct found found = {
		.sk = sk,
		.state = sk->__sk_common.skc_state,
		.flags = flags,
		.moved = moved,
	};
	struct sonde_tag *tag;

	if (!bpf_skc_to_tcp_sock(sk) || bpf_sk_storage_get(&sonde_tags, sk, NULL, 0))
		return 0;
	tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tag) {
		lose(SONDE_TCP_LOSS_TAG_FAILED, 1);
		return 0;
	}
	if (__sync_fetch_and_or(&tag->flags, TAG_CLAIMED) & TAG_CLAIMED)
		return 0;
	tag->pid = pid;
	found.tag = tag;
	bpf_loop(SONDE_TCP_SEED_RETRIES, fill_once, &found, 0);
	if (found.ended) {
		/* Meanwhile: it is none that the task found open. */
		tuple_leave(tag);
		bpf_sk_storage_delete(&sonde_tags, sk);
		return 0;
	}
	if (!found.whole) {
		publish(tag, TAG_CONNECTION);
		lose(SONDE_TCP_LOSS_BUSY, 1);
	}
	if (found.state == TCP_SYN_SENT)
		return 0;
	add(&sonde_begun, 1);
	if (*(volatile unsigned char *)&sk->__sk_common.skc_state == TCP_CLOSE &&
	    ended_before_seed(tag)) {
		take_off(sk, tag);
		return 0;
	}
	sonde_probe_wanted = true;
	return 1;
}
