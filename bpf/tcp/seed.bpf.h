/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Seeding: two passes over every descriptor of every process. LEARN notes the
 * listeners of everybody, which decide the role of connections that were there
 * before us, and enters the targets' address pairs; TAG then tags the targets'
 * sockets, so both ends of a pair find each other before their first fold.
 *
 * One reader (the worker) runs this, so the cache of the last task needs no lock.
 */

struct task_struct *sonde_seed_task;	/* compared, never followed */
__u32 sonde_seed_pid;			/* of that task if it is a target, else 0 */
static struct sonde_tag sonde_seed_tag; /* too large for the stack */

static __always_inline __u32 seed_target(struct task_struct *task)
{
	__u32 pid;

	if (sonde_seed_task == task)
		return sonde_seed_pid;
	pid = task_pid(task);
	sonde_seed_task = task;
	sonde_seed_pid = is_target(pid) ? pid : 0;
	return sonde_seed_pid;
}

static __always_inline bool is_connected(__u32 state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || has_sent_fin(state);
}

static __always_inline bool is_server_side(const struct sonde_tag *tag)
{
	struct sonde_tcp_listener_key key = {.netns = tag->netns, .port = tag->lport};
	__u32 *generation = bpf_map_lookup_elem(&sonde_listeners, &key);

	return generation && *generation == sonde_seed_generation;
}

static __always_inline void learn(struct sock *sk, __u32 pid)
{
	struct sonde_tcp_listener_key key = {};
	__u32 generation = sonde_seed_generation;
	struct sonde_tag *pair = &sonde_seed_tag;

	if (sk->__sk_common.skc_state == TCP_LISTEN) {
		key.netns = netns_cookie(&sk->__sk_common);
		key.port = sk->__sk_common.skc_num;
		if (bpf_map_update_elem(&sonde_listeners, &key, &generation, BPF_ANY))
			lose(SONDE_TCP_LOSS_TUPLE_FULL, 1);
		return;
	}
	if (!pid || !is_connected(sk->__sk_common.skc_state))
		return;
	write_identity(pair, &sk->__sk_common);
	pair->pid = pid;
	pair->role = SONDE_TCP_ROLE_UNKNOWN; /* a listener's was here */
	tuple_enter(pair);
}

/* Everything but the kind. What an event wrote of our FIN stays: it knows its place. */
static __noinline int fill_seeded(struct sock *sk, struct sonde_tag *tag, __u32 flags, __u32 state)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct reading now = {};

	if (!tp)
		return 0;
	write_identity(tag, &sk->__sk_common);
	tag->closer = 0;
	__sync_fetch_and_and(&tag->flags, TAG_FIN_SENT);
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
	return 0;
}

/* The tag is whole. False when an event came since it was begun; @state: what the socket went to with it. */
static __always_inline bool publish_seeded(struct sonde_tag *tag, __u32 *state)
{
	__u32 kind;

	if (__sync_val_compare_and_swap(&tag->kind, TAG_BLANK, TAG_CONNECTION) == TAG_BLANK)
		return true;
	kind = __sync_lock_test_and_set(&tag->kind, TAG_BLANK);
	*state = kind >> TAG_STALE_SHIFT ?: *state;
	return false;
}

/*
 * An event that looked for the tag before it was there is found by the state that it
 * left: here, or at the next snapshot. @flags: TAG_PROVISIONAL for what waits in an
 * accept queue.
 */
static __noinline int tag_connected(struct sock *sk, __u32 pid, __u32 flags)
{
	__u32 state = sk->__sk_common.skc_state;
	bool whole = false;
	struct sonde_tag *tag;
	int i;

	if (!bpf_skc_to_tcp_sock(sk) || bpf_sk_storage_get(&sonde_tags, sk, NULL, 0))
		return 0;
	tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tag) {
		lose(SONDE_TCP_LOSS_TAG_FAILED, 1);
		return 0;
	}
	if (tag->kind != TAG_BLANK)
		return 0;
	tag->pid = pid;
	for (i = 0; i < SONDE_TCP_SEED_RETRIES && !whole; i++) {
		if (!is_connected(state) && state != TCP_SYN_SENT) {
			/* Ended meanwhile: it is none that the task found open. */
			tuple_leave(tag);
			bpf_sk_storage_delete(&sonde_tags, sk);
			return 0;
		}
		fill_seeded(sk, tag, flags, state);
		whole = publish_seeded(tag, &state);
	}
	if (!whole) {
		publish(tag, TAG_CONNECTION);
		lose(SONDE_TCP_LOSS_BUSY, 1);
	}
	if (state == TCP_SYN_SENT)
		return 0;
	add(&sonde_begun, 1);
	if (*(volatile unsigned char *)&sk->__sk_common.skc_state == TCP_CLOSE &&
	    ended_before_seed(tag)) {
		take_off(sk, tag);
		return 0;
	}
	sonde_seeded++;
	sonde_probe_wanted = true;
	return 0;
}

struct accept_walk {
	struct request_sock *next;
	__u32 pid;
	__u16 port;
};

static int tag_waiting(__u32 i, struct accept_walk *walk)
{
	struct request_sock *req = walk->next;
	struct sock *child;

	if (!req)
		return 1;
	walk->next = req->dl_next;
	child = req->sk;
	if (child && child->__sk_common.skc_num == walk->port &&
	    is_connected(child->__sk_common.skc_state))
		tag_connected(child, walk->pid, TAG_PROVISIONAL);
	return 0;
}

/*
 * The queue is walked without its lock: an entry may be taken and reused under
 * us. Requests and sockets are type-stable for this grace period, so what we meet
 * is at worst another connection; only one of this listener's port is tagged.
 */
static __always_inline void tag_accept_queue(struct sock *listener, __u32 pid)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(listener);
	struct accept_walk walk = {.pid = pid};
	__u32 queued;

	if (!tp)
		return;
	walk.next = tp->inet_conn.icsk_accept_queue.rskq_accept_head;
	walk.port = listener->__sk_common.skc_num;
	bpf_loop(SONDE_TCP_ACCEPT_WALK_MAX, tag_waiting, &walk, 0);
	queued = listener->sk_ack_backlog;
	if (walk.next && queued > SONDE_TCP_ACCEPT_WALK_MAX)
		lose(SONDE_TCP_LOSS_ACCEPT_QUEUE, queued - SONDE_TCP_ACCEPT_WALK_MAX);
}

/* Made whole at once: a child that is cloned from it meanwhile must know whose it is. */
static __always_inline void tag_listener(struct sock *sk, __u32 pid)
{
	struct sonde_tag *tag = &sonde_seed_tag;

	write_identity(tag, &sk->__sk_common);
	tag->kind = TAG_LISTENER;
	tag->flags = 0; /* of the last address pair */
	tag->pid = pid;
	tag->role = SONDE_TCP_ROLE_SERVER;
	tag->listen_drops = sk->sk_drops.counter;
	if (!bpf_sk_storage_get(&sonde_tags, sk, tag, BPF_SK_STORAGE_GET_F_CREATE))
		lose(SONDE_TCP_LOSS_TAG_FAILED, 1);
	tag_accept_queue(sk, pid);
}

static __always_inline void on_file(struct task_struct *task, struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct sock *sk;
	__u32 pid, state;

	if (!socket)
		return;
	sk = socket->sk;
	if (!sk)
		return;
	if (sk->sk_protocol != PROTOCOL_TCP) {
		if (sk->sk_protocol == PROTOCOL_MPTCP && sonde_seed_pass == SONDE_TCP_SEED_TAG &&
		    seed_target(task))
			lose(SONDE_TCP_LOSS_UNTRACKED_MPTCP, 1);
		return;
	}
	pid = seed_target(task);
	if (sonde_seed_pass == SONDE_TCP_SEED_LEARN) {
		learn(sk, pid);
		return;
	}
	if (!pid)
		return;
	state = sk->__sk_common.skc_state;
	if (state == TCP_LISTEN)
		tag_listener(sk, pid);
	else if (is_connected(state) || state == TCP_SYN_SENT)
		tag_connected(sk, pid, 0);
}
